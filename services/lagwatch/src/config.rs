//! Configuration of lagwatch. `defaults.toml` holds every default.

use chassis::config::{Drain, Http, Ops, ServiceConfig};
use serde::{Deserialize, Serialize};
use validator::Validate;

/// All settings of lagwatch.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
pub struct Config {
    /// Internal HTTP interface.
    #[validate(nested)]
    pub http: Http,
    /// Ops interface: liveness, readiness, metrics.
    pub ops: Ops,
    /// Drain at shutdown.
    #[serde(default)]
    #[validate(nested)]
    pub drain: Drain,
    /// Kafka broker.
    pub kafka: bus::Config,
    /// Interval and age of readings.
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

/// `[watch]`: interval and age of readings.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, Validate)]
pub struct WatchConfig {
    /// Interval between two readings of every group.
    #[validate(range(min = 100, max = 600_000))]
    pub interval_ms: u64,
    /// Maximum age of a reading in a response.
    #[validate(range(min = 100, max = 3_600_000))]
    pub answer_age_ms_max: u64,
}
