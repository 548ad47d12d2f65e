//! Configuration of telemetry, from code or from Sentry's standard environment variables.

use std::env;

use crate::lifecycle::TraceLifecycle;
use crate::profiler::Lifecycle as ProfileLifecycle;

/// Format of log lines on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people at a terminal.
    #[default]
    Pretty,
    /// One JSON object a line, for machines.
    Json,
}

/// Set-up of one process's telemetry.
#[derive(Debug, Clone)]
pub struct Config {
    /// The service's name, as operators know it (`game`).
    pub service: String,
    /// Sentry's DSN. Without one nothing is sent, but traces still propagate.
    pub dsn: Option<String>,
    /// Name and version of the program, as `name@version`. Sentry compares releases by it.
    pub release: String,
    /// The environment it runs in (`local`, `production`).
    pub environment: String,
    /// Share of NEW traces that is recorded. A trace that began elsewhere keeps the decision made there.
    pub traces_sample_rate: f64,
    /// Share of recorded transactions that get a CPU profile ([`crate::profile`]), as far as its limits allow.
    pub profiles_sample_rate: f64,
    /// Share of processes that record a continuous CPU profile. A process decides once, at its start.
    pub profile_session_sample_rate: f64,
    /// What starts and ends the continuous profile of such a process.
    pub profile_lifecycle: ProfileLifecycle,
    /// Form in which spans are sent. A service reads it from its setting `telemetry.trace_lifecycle`.
    pub trace_lifecycle: TraceLifecycle,
    /// Sends sessions of the process and of its requests ([`crate::sessions`]).
    pub sessions: bool,
    /// Format of log lines.
    pub log_format: LogFormat,
    /// Filter for log lines, in `RUST_LOG` syntax.
    pub log_filter: String,
    /// Crates whose stack frames are marked as in-app in an issue.
    pub in_app: Vec<&'static str>,
    /// Limits of the transport.
    pub transport: crate::transport::Limits,
    /// Invalid values in the environment. [`crate::init`] returns an error if there are any.
    pub problems: Vec<String>,
}

/// The Pitboss crates, whose frames matter most in an issue. `telemetry` is left out: its frames report an error or take a profile, and
/// never cause it.
const IN_APP: &[&str] = &[
    "analytics",
    "bus",
    "chassis",
    "contracts",
    "faults",
    "game",
    "gateway",
    "lagwatch",
    "money",
    "notification",
    "partners",
    "payment",
    "recorder",
    "store",
    "user",
    "wire",
];

const LOG_FILTER_DEFAULT: &str =
    "info,rdkafka=warn,librdkafka=warn,hyper=warn,reqwest=warn,mongodb=warn,pprof=warn";

impl Config {
    /// A configuration that sends nothing, as a base for tests and tools.
    pub fn silent(service: &str) -> Self {
        Self {
            service: service.to_owned(),
            dsn: None,
            release: format!("{service}@{}", env!("CARGO_PKG_VERSION")),
            environment: "local".to_owned(),
            traces_sample_rate: 1.0,
            profiles_sample_rate: 0.0,
            profile_session_sample_rate: 0.0,
            profile_lifecycle: ProfileLifecycle::default(),
            trace_lifecycle: TraceLifecycle::default(),
            sessions: false,
            log_format: LogFormat::Pretty,
            log_filter: LOG_FILTER_DEFAULT.to_owned(),
            in_app: IN_APP.to_vec(),
            transport: crate::transport::Limits::default(),
            problems: Vec::new(),
        }
    }

    /// Reads `SENTRY_DSN`, `SENTRY_RELEASE`, `SENTRY_ENVIRONMENT`, `SENTRY_TRACES_SAMPLE_RATE`, `SENTRY_PROFILES_SAMPLE_RATE`,
    /// `SENTRY_PROFILE_SESSION_SAMPLE_RATE`, `SENTRY_PROFILE_LIFECYCLE` (`manual` or `trace`), `RUST_LOG` and `PITBOSS_LOG_FORMAT`
    /// (`pretty` or `json`). Invalid values are listed in `problems`.
    pub fn from_env(service: &str) -> Self {
        Self::from_lookup(service, |name| env::var(name).ok())
    }

    /// Does the same with any source of variables, so that tests need not change the process's environment.
    pub fn from_lookup(service: &str, lookup: impl Fn(&str) -> Option<String>) -> Self {
        let var = |name: &str| lookup(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
        let mut config = Self::silent(service);
        config.dsn = var("SENTRY_DSN");
        if let Some(dsn) = &config.dsn
            && dsn.parse::<sentry::types::Dsn>().is_err()
        {
            config.problems.push("SENTRY_DSN is not a DSN (http://key@host:port/project)".to_owned());
        }
        if let Some(release) = var("SENTRY_RELEASE") {
            config.release = release;
        }
        if let Some(environment) = var("SENTRY_ENVIRONMENT") {
            config.environment = environment;
        }
        for (name, rate) in [
            ("SENTRY_TRACES_SAMPLE_RATE", &mut config.traces_sample_rate),
            ("SENTRY_PROFILES_SAMPLE_RATE", &mut config.profiles_sample_rate),
            ("SENTRY_PROFILE_SESSION_SAMPLE_RATE", &mut config.profile_session_sample_rate),
        ] {
            let Some(text) = var(name) else { continue };
            match text.parse::<f64>() {
                Ok(given) if (0.0..=1.0).contains(&given) => *rate = given,
                _ => config.problems.push(format!("{name} is {text:?}, not a number from 0 to 1")),
            }
        }
        if let Some(name) = var("SENTRY_PROFILE_LIFECYCLE") {
            match ProfileLifecycle::from_name(&name) {
                Some(given) => config.profile_lifecycle = given,
                None => {
                    config.problems.push(format!("SENTRY_PROFILE_LIFECYCLE is {name:?}, not manual or trace"))
                }
            }
        }
        if let Some(filter) = var("RUST_LOG") {
            config.log_filter = filter;
        }
        match var("PITBOSS_LOG_FORMAT").as_deref() {
            None | Some("pretty") => {}
            Some("json") => config.log_format = LogFormat::Json,
            Some(other) => {
                config.problems.push(format!("PITBOSS_LOG_FORMAT is {other:?}, not pretty or json"))
            }
        }
        config
    }
}

/// Facts about the process, which every transaction contains.
#[derive(Debug, Clone)]
pub(crate) struct About {
    pub(crate) service: String,
    pub(crate) release: String,
    pub(crate) environment: String,
    /// Crates whose stack frames are marked as in-app.
    pub(crate) in_app: Vec<&'static str>,
}

impl About {
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            service: config.service.clone(),
            release: config.release.clone(),
            environment: config.environment.clone(),
            in_app: config.in_app.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_standard_variables() {
        let config = Config::from_lookup("game", |name| match name {
            "SENTRY_DSN" => Some("http://abc@127.0.0.1:8101/3".into()),
            "SENTRY_RELEASE" => Some("game@9".into()),
            "SENTRY_ENVIRONMENT" => Some("drill".into()),
            "SENTRY_TRACES_SAMPLE_RATE" => Some("0.25".into()),
            "SENTRY_PROFILES_SAMPLE_RATE" => Some("0.5".into()),
            "SENTRY_PROFILE_SESSION_SAMPLE_RATE" => Some("0.1".into()),
            "SENTRY_PROFILE_LIFECYCLE" => Some("trace".into()),
            "PITBOSS_LOG_FORMAT" => Some("json".into()),
            _ => None,
        });
        assert_eq!(config.problems, Vec::<String>::new());
        assert_eq!((config.release.as_str(), config.environment.as_str()), ("game@9", "drill"));
        assert_eq!((config.traces_sample_rate, config.profiles_sample_rate), (0.25, 0.5));
        assert_eq!(config.profile_session_sample_rate, 0.1);
        assert_eq!(config.profile_lifecycle, ProfileLifecycle::Trace);
        let defaults = Config::from_lookup("game", |_| None);
        assert_eq!((defaults.profiles_sample_rate, defaults.profile_session_sample_rate), (0.0, 0.0), "off");
        assert_eq!(config.log_format, LogFormat::Json);
    }

    #[test]
    fn collects_every_invalid_value() {
        let config = Config::from_lookup("game", |name| match name {
            "SENTRY_DSN" => Some("nonsense".into()),
            "SENTRY_TRACES_SAMPLE_RATE" => Some("150%".into()),
            "SENTRY_PROFILES_SAMPLE_RATE" => Some("1.5".into()),
            "SENTRY_PROFILE_SESSION_SAMPLE_RATE" => Some("-1".into()),
            "SENTRY_PROFILE_LIFECYCLE" => Some("always".into()),
            "PITBOSS_LOG_FORMAT" => Some("xml".into()),
            _ => None,
        });
        assert_eq!(config.problems.len(), 6, "{:?}", config.problems);
    }
}
