//! Configuration: embedded defaults, then an optional file, then the environment — read once, without side effects.
//!
//! * The defaults are TOML inside the program and document every field.
//! * `PITBOSS_CONFIG` names a TOML file; a setting in it that nothing reads is refused, because somebody mistyped it.
//! * `PITBOSS__<SECTION>__<FIELD>` comes last. All parts of the platform share one environment, so what another part reads
//!   is no error here.
//!
//! All errors are collected, not only the first: one round of fixing, not many.

mod load;
mod redact;
mod secret;
mod sections;

use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};
use validator::Validate;

pub use redact::redacted;
pub use secret::Secret;
pub use sections::{Drain, Http, Ops};

/// The variable that names the optional configuration file.
pub const FILE_VARIABLE: &str = "PITBOSS_CONFIG";

/// Connections of a further listener of which nothing else is said.
const MORE_CONNECTIONS_MAX: usize = 64;

/// What the chassis must know of a service's configuration to start and to end it.
pub trait ServiceConfig: DeserializeOwned + Serialize + Validate + Send + 'static {
    /// The service's own HTTP interface.
    fn http(&self) -> &Http;
    /// The ops listener.
    fn ops(&self) -> &Ops;
    /// How long an orderly end may take.
    fn drain(&self) -> &Drain;
    /// Further listeners, by name; they appear in [`crate::Edges::more`].
    fn more_addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        Vec::new()
    }
    /// How many connections those further listeners accept, all together: the process makes sure that it may open so many files.
    fn more_connections_max(&self) -> usize {
        MORE_CONNECTIONS_MAX.saturating_mul(self.more_addresses().len())
    }
}

/// What a configuration is made from, as values, so that tests need no environment.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The embedded defaults, TOML.
    pub defaults: String,
    /// The file that lies over them.
    pub file: Option<PathBuf>,
    /// The environment that lies over both; only `PITBOSS__*` is looked at.
    pub environment: HashMap<String, String>,
}

impl Sources {
    /// The given defaults under this process's environment and the file that it names.
    #[must_use]
    pub fn of_process(defaults: &str) -> Self {
        // `vars` panics on a variable that is not UTF-8, and nobody's foreign variable may stop a service.
        let environment: HashMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let file = environment.get(FILE_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
        Self { defaults: defaults.to_owned(), file, environment }
    }
}

/// Everything that is wrong with a configuration, one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub(crate) Vec<String>);

impl ConfigErrors {
    /// The lines.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration is refused ({} to fix)", self.0.len())?;
        self.0.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

impl std::error::Error for ConfigErrors {}

/// Loads, checks and returns a configuration from explicit sources.
///
/// # Errors
/// All that is wrong: unreadable file, wrong types, unknown settings of the file, broken rules.
pub fn load_from<C: DeserializeOwned + Serialize + Validate>(sources: &Sources) -> Result<C, ConfigErrors> {
    load::load(sources)
}

/// As [`load_from`], in the three layers' own words.
///
/// # Errors
/// See [`load_from`].
pub fn load<C: DeserializeOwned + Serialize + Validate>(
    defaults: &str,
    file: Option<&Path>,
    environment: HashMap<String, String>,
) -> Result<C, ConfigErrors> {
    load_from(&Sources { defaults: defaults.to_owned(), file: file.map(Path::to_owned), environment })
}
