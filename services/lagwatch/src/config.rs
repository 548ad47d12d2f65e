//! Lagwatch's settings; `defaults.toml` holds every default.

use chassis::config::{Drain, Http, Ops, ServiceConfig};
use serde::{Deserialize, Serialize};
use validator::Validate;

/// All of them.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
pub struct Config {
    /// The internal interface.
    #[validate(nested)]
    pub http: Http,
    /// Liveness, readiness, metrics.
    pub ops: Ops,
    /// The orderly end.
    #[serde(default)]
    #[validate(nested)]
    pub drain: Drain,
    /// The broker.
    pub kafka: bus::Config,
    /// Looking.
    #[validate(nested)]
    pub watch: WatchConfig,
}

impl ServiceConfig for Config {
    fn http(&self) -> &Http {
        &self.http
    }

    fn ops(&self) -> &Ops {
        &self.ops
    }

    fn drain(&self) -> &Drain {
        &self.drain
    }
}

/// `[watch]`.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, Validate)]
pub struct WatchConfig {
    /// How often every group is looked at.
    #[validate(range(min = 100, max = 600_000))]
    pub interval_ms: u64,
    /// How old a reading may be and still be given as an answer.
    #[validate(range(min = 100, max = 3_600_000))]
    pub answer_age_ms_max: u64,
}
