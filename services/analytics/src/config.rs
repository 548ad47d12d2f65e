//! Analytics' settings; `defaults.toml` holds every default.

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
    /// The document store.
    pub mongo: store::mongo::Config,
    /// Recomputing.
    #[validate(nested)]
    pub rollups: RollupsConfig,
    /// Who counts as active.
    #[validate(nested)]
    pub players: PlayersConfig,
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

/// `[rollups]`.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, Validate)]
pub struct RollupsConfig {
    /// How often touched buckets are recomputed: their cost is per interval and not per bet.
    #[validate(range(min = 10, max = 60_000))]
    pub interval_ms: u64,
    /// How often to look for buckets that a dead process had marked and not recomputed.
    #[validate(range(min = 10, max = 3_600_000))]
    pub takeover_interval_ms: u64,
    /// How old such a mark has to be; longer than a living process ever needs.
    #[validate(range(min = 10, max = 86_400_000))]
    pub takeover_after_ms: u64,
}

/// `[players]`.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, Validate)]
pub struct PlayersConfig {
    /// A player is active who did something in so long.
    #[validate(range(min = 1_000, max = 86_400_000))]
    pub active_window_ms: u64,
    /// How many are counted at most; it bounds memory.
    #[validate(range(min = 1, max = 1_000_000))]
    pub active_max: usize,
}
