//! The settings of `user`; `defaults.toml` holds every default.

use chassis::config::{Drain, Http, Ops, ServiceConfig};
use chassis::internal::Security;
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
    /// The cache of sessions, and where replicas count wrong passwords together.
    pub redis: store::redis::Config,
    /// Who may ask.
    #[validate(nested)]
    pub security: Security,
    /// How passwords are hashed.
    #[validate(nested)]
    pub passwords: Passwords,
    /// How often an account may be tried.
    #[validate(nested)]
    pub attempts: Attempts,
    /// How long a log-in lasts.
    #[validate(nested)]
    pub sessions: Sessions,
    /// Publishing what a dead process left.
    #[validate(nested)]
    pub sweeper: Sweeper,
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

/// `[passwords]`: argon2id. The memory is held all the time: `concurrency` times `memory_kib`.
///
/// `concurrency` is the most; one core always stays free of hashing, where there is more than one.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, Validate)]
pub struct Passwords {
    /// Memory of one hash.
    #[validate(range(min = 1_024, max = 65_536))]
    pub memory_kib: u32,
    /// Passes over it.
    #[validate(range(min = 1, max = 32))]
    pub iterations: u32,
    /// How many are computed at a time.
    #[validate(range(min = 1, max = 16))]
    pub concurrency: usize,
    /// How many requests may wait or be computed at a time; further ones are answered with 503.
    #[validate(range(min = 1, max = 10_000))]
    pub waiting_max: usize,
    /// How long a request may wait for its turn before it is answered with 503. Less than what its caller waits: nothing is
    /// computed for somebody who has given up.
    #[validate(range(min = 1, max = 600_000))]
    pub wait_ms: u64,
}

/// `[attempts]`: wrong passwords of one account.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, Validate)]
pub struct Attempts {
    /// How many from one network in one window, before that network waits.
    #[validate(range(min = 1, max = 1_000))]
    pub failures_max: u32,
    /// How many from all networks together, before the account waits for everybody.
    #[validate(range(min = 1, max = 100_000))]
    pub account_failures_max: u32,
    /// The window.
    #[validate(range(min = 1, max = 86_400))]
    pub window_s: u32,
    /// The first wait; each further one is twice as long.
    #[validate(range(min = 1, max = 86_400))]
    pub wait_s_min: u32,
    /// The longest wait: after it the right password is let in, whatever was before.
    #[validate(range(min = 1, max = 86_400))]
    pub wait_s_max: u32,
    /// The most accounts, and networks at accounts, that are counted at a time.
    #[validate(range(min = 2, max = 1_000_000))]
    pub accounts_max: usize,
}

/// `[sessions]`.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, Validate)]
pub struct Sessions {
    /// From log-in to expiry.
    #[validate(range(min = 1, max = 31_536_000))]
    pub lifetime_s: u32,
    /// How long the cache may answer for the truth.
    #[validate(range(min = 1, max = 86_400))]
    pub cache_ttl_s: u32,
}

/// `[sweeper]`.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, Validate)]
pub struct Sweeper {
    /// How often to look.
    #[validate(range(min = 10, max = 3_600_000))]
    pub interval_ms: u64,
    /// What is younger is still in somebody's hands: in peace nothing is published twice.
    #[validate(range(min = 10, max = 3_600_000))]
    pub age_ms: u32,
    /// How many players one look may take.
    #[validate(range(min = 1, max = 10_000))]
    pub batch_max: u32,
}
