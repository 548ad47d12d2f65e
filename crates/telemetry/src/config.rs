//! What telemetry must know, and where it comes from: values by hand, or Sentry's standard variables.

use std::env;

/// How log lines look on standard output.
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
    /// Where Sentry is; without one nothing is sent, but traces still propagate.
    pub dsn: Option<String>,
    /// What runs, as `name@version`; releases are compared by it.
    pub release: String,
    /// Where it runs (`local`, `production`).
    pub environment: String,
    /// The share of NEW traces that is recorded; a trace begun elsewhere keeps the decision made there.
    pub traces_sample_rate: f64,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which log lines appear, in `RUST_LOG` syntax.
    pub log_filter: String,
    /// Crates whose stack frames are "ours" in an issue.
    pub in_app: Vec<&'static str>,
    /// Limits of the way out.
    pub transport: crate::transport::Limits,
    /// What was wrong with the environment's values; [`crate::init`] refuses to start with any.
    pub problems: Vec<String>,
}

/// Our crates: a frame in one of them is what a reader of an issue wants to see first.
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
];

const LOG_FILTER_DEFAULT: &str = "info,rdkafka=warn,librdkafka=warn,hyper=warn,reqwest=warn,mongodb=warn";

impl Config {
    /// A configuration that sends nothing: what tests and tools start from.
    pub fn silent(service: &str) -> Self {
        Self {
            service: service.to_owned(),
            dsn: None,
            release: format!("{service}@{}", env!("CARGO_PKG_VERSION")),
            environment: "local".to_owned(),
            traces_sample_rate: 1.0,
            log_format: LogFormat::Pretty,
            log_filter: LOG_FILTER_DEFAULT.to_owned(),
            in_app: IN_APP.to_vec(),
            transport: crate::transport::Limits::default(),
            problems: Vec::new(),
        }
    }

    /// Reads `SENTRY_DSN`, `SENTRY_RELEASE`, `SENTRY_ENVIRONMENT`, `SENTRY_TRACES_SAMPLE_RATE`, `RUST_LOG` and
    /// `PITBOSS_LOG_FORMAT` (`pretty` or `json`). Wrong values are kept in `problems`.
    pub fn from_env(service: &str) -> Self {
        Self::from_lookup(service, |name| env::var(name).ok())
    }

    /// The same from any source of variables, so that it can be tested without touching the process.
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
        if let Some(rate) = var("SENTRY_TRACES_SAMPLE_RATE") {
            match rate.parse::<f64>() {
                Ok(rate) if (0.0..=1.0).contains(&rate) => config.traces_sample_rate = rate,
                _ => config
                    .problems
                    .push(format!("SENTRY_TRACES_SAMPLE_RATE is {rate:?}, not a number from 0 to 1")),
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
            "PITBOSS_LOG_FORMAT" => Some("json".into()),
            _ => None,
        });
        assert_eq!(config.problems, Vec::<String>::new());
        assert_eq!((config.release.as_str(), config.environment.as_str()), ("game@9", "drill"));
        assert_eq!(config.traces_sample_rate, 0.25);
        assert_eq!(config.log_format, LogFormat::Json);
    }

    #[test]
    fn collects_every_wrong_value() {
        let config = Config::from_lookup("game", |name| match name {
            "SENTRY_DSN" => Some("nonsense".into()),
            "SENTRY_TRACES_SAMPLE_RATE" => Some("150%".into()),
            "PITBOSS_LOG_FORMAT" => Some("xml".into()),
            _ => None,
        });
        assert_eq!(config.problems.len(), 3, "{:?}", config.problems);
    }
}
