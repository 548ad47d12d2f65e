//! Loads a service's configuration from embedded defaults, an optional file and the environment, in this order.
//!
//! Loading happens once and has no side effects.
//!
//! * The defaults are TOML inside the program, with a comment on each of the service's own fields. Shared sections have most of
//!   their defaults in code ([`Http`], [`Drain`], `bus::Config`).
//! * `PITBOSS_CONFIG` names a TOML file. A setting in it that the service does not know is refused as a likely typing error.
//! * `PITBOSS__<SECTION>__<FIELD>` variables come last. All parts of the platform share one environment, so a variable of another
//!   part is not an error.
//!
//! A setting with a number is refused when it is given as a word (`on`), and an integer when it is given as a fraction.
//!
//! All errors are collected, so that an operator can fix them in one round.

mod addresses;
mod load;
mod numbers;
mod redact;
mod secret;
mod sections;

use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use validator::Validate;

pub use addresses::{host_and_port, http_url};
pub use redact::redacted;
pub use secret::Secret;
pub use sections::{
    Budget, DebugConfig, Drain, FaultsConfig, Http, Ops, Start, StartBudget, TelemetryConfig,
};

/// Environment variable that names the optional configuration file.
pub const FILE_VARIABLE: &str = "PITBOSS_CONFIG";

/// Default limit of connections for each further listener.
const MORE_CONNECTIONS_MAX: usize = 64;

/// Sections that every service has. The chassis reads them, so that no service's configuration repeats them.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
pub struct Common {
    /// The service's own HTTP interface.
    #[validate(nested)]
    pub http: Http,
    /// The ops listener.
    pub ops: Ops,
    /// Time limit of a start.
    #[serde(default)]
    #[validate(nested)]
    pub start: Start,
    /// Time limit of an orderly shutdown.
    #[serde(default)]
    #[validate(nested)]
    pub drain: Drain,
    /// Faults that an operator arms.
    #[serde(default)]
    #[validate(nested)]
    pub faults: FaultsConfig,
    /// Errors that an operator causes on purpose.
    #[serde(default)]
    pub debug: DebugConfig,
    /// What the process tells Sentry about itself.
    #[serde(default)]
    #[validate(nested)]
    pub telemetry: TelemetryConfig,
}

/// The sections of one service, beside [`Common`].
pub trait ServiceConfig: DeserializeOwned + Serialize + Validate + Send + 'static {
    /// Further listeners, by the name of their setting. They appear in [`crate::Listeners::more`].
    fn more_addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        Vec::new()
    }
    /// Number of connections that those listeners accept together. The process raises its limit of open files accordingly.
    fn more_connections_max(&self) -> usize {
        MORE_CONNECTIONS_MAX.saturating_mul(self.more_addresses().len())
    }
}

/// A loaded configuration.
#[derive(Clone, Debug)]
pub struct Loaded<C> {
    /// The sections that every service has.
    pub common: Common,
    /// The service's own sections.
    pub own: C,
}

/// Inputs of a configuration, as values, so that tests need no environment.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The embedded defaults, TOML.
    pub defaults: String,
    /// The file that overrides the defaults.
    pub file: Option<PathBuf>,
    /// The environment, which overrides both. Only `PITBOSS__*` variables are read.
    pub environment: HashMap<String, String>,
}

impl Sources {
    /// The given defaults, this process's environment, and the file that the environment names.
    #[must_use]
    pub fn of_process(defaults: &str) -> Self {
        // `vars` panics on a variable that is not UTF-8, and a variable of another program must not stop a service.
        let environment: HashMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let file = environment.get(FILE_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
        Self { defaults: defaults.to_owned(), file, environment }
    }
}

/// All errors of a configuration, one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub(crate) Vec<String>);

impl ConfigErrors {
    /// One line for each error.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid configuration (errors: {})", self.0.len())?;
        self.0.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

impl std::error::Error for ConfigErrors {}

/// Loads, validates and returns a configuration from explicit sources.
///
/// # Errors
/// All errors together: an unreadable file, wrong types, unknown settings in the file, violated rules.
pub fn load_from<C: DeserializeOwned + Serialize + Validate>(
    sources: &Sources,
) -> Result<Loaded<C>, ConfigErrors> {
    load::load(sources)
}

/// Does the same as [`load_from`] with the three layers as separate arguments, and returns the service's own sections.
pub fn load<C: DeserializeOwned + Serialize + Validate>(
    defaults: &str,
    file: Option<&Path>,
    environment: HashMap<String, String>,
) -> Result<C, ConfigErrors> {
    let sources = Sources { defaults: defaults.to_owned(), file: file.map(Path::to_owned), environment };
    load_from(&sources).map(|loaded| loaded.own)
}
