//! Configuration of lagwatch. Its own defaults are in `defaults.toml`, those of shared sections in their crates.

use chassis::config::ServiceConfig;
use serde::{Deserialize, Serialize};
use validator::Validate;

/// All settings of lagwatch.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
pub struct Config {
    /// Kafka broker.
    pub kafka: bus::Config,
    /// Interval and age of readings.
    #[validate(nested)]
    pub watch: WatchConfig,
}

impl ServiceConfig for Config {}

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
