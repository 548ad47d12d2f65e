//! Configuration of user. Its own defaults are in `defaults.toml`, those of shared sections in their crates.

use chassis::config::ServiceConfig;
use chassis::internal::Security;
use serde::{Deserialize, Serialize};
use validator::{Validate, ValidationError};

/// All settings of user.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
pub struct Config {
    /// The broker.
    pub kafka: bus::Config,
    /// The document store.
    pub mongo: store::mongo::Config,
    /// The cache of sessions and the replicas' shared counts of wrong passwords.
    pub redis: store::redis::Config,
    /// The internal token of callers.
    #[validate(nested)]
    pub security: Security,
    /// Hashing of passwords.
    #[validate(nested)]
    pub passwords: Passwords,
    /// Limits of wrong passwords.
    #[validate(nested)]
    pub attempts: Attempts,
    /// Lifetime of sessions.
    #[validate(nested)]
    pub sessions: Sessions,
    /// Publishing of events that a dead process left.
    #[validate(nested)]
    pub sweeper: Sweeper,
}

impl ServiceConfig for Config {}

/// `[passwords]`: argon2id. `concurrency` times `memory_kib` of memory is held permanently.
///
/// `concurrency` is a maximum. On a machine with several cores one core always stays free of hashing.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, Validate)]
pub struct Passwords {
    /// Memory of one hash.
    #[validate(range(min = 1_024, max = 65_536))]
    pub memory_kib: u32,
    /// Passes over the memory.
    #[validate(range(min = 1, max = 32))]
    pub iterations: u32,
    /// Largest number of hashes computed at the same time.
    #[validate(range(min = 1, max = 16))]
    pub concurrency: usize,
    /// Largest number of requests that wait or are computed at the same time. Further ones are answered with 503.
    #[validate(range(min = 1, max = 10_000))]
    pub waiting_max: usize,
    /// Longest wait in the queue before the answer is 503. It is shorter than the caller's time-out, so no hash is computed for a
    /// caller that has given up.
    #[validate(range(min = 1, max = 600_000))]
    pub wait_ms: u64,
}

/// `[attempts]`: wrong passwords of one account.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, Validate)]
#[validate(schema(function = "check_attempts", skip_on_field_errors = false))]
pub struct Attempts {
    /// Failures from one network in one window before that network waits.
    #[validate(range(min = 1, max = 1_000))]
    pub failures_max: u32,
    /// Failures from all networks together before the account waits for all of them.
    #[validate(range(min = 1, max = 100_000))]
    pub account_failures_max: u32,
    /// Length of the window.
    #[validate(range(min = 1, max = 86_400))]
    pub window_s: u32,
    /// The first wait. Each further one is twice as long.
    #[validate(range(min = 1, max = 86_400))]
    pub wait_s_min: u32,
    /// The longest wait. After it the right password is accepted, whatever happened before.
    #[validate(range(min = 1, max = 86_400))]
    pub wait_s_max: u32,
    /// Largest number of counts in memory, for accounts and for networks at accounts.
    #[validate(range(min = 2, max = 1_000_000))]
    pub accounts_max: usize,
}

/// `[sessions]`.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, Validate)]
#[validate(schema(function = "check_lifetime", skip_on_field_errors = false))]
pub struct Sessions {
    /// Time from log-in to expiry.
    #[validate(range(min = 1, max = 31_536_000))]
    pub lifetime_s: u32,
    /// Time for which a cached session is used without reading the store.
    #[validate(range(min = 1, max = 86_400))]
    pub cache_ttl_s: u32,
}

/// `[sweeper]`.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, Validate)]
pub struct Sweeper {
    /// Interval between sweeps.
    #[validate(range(min = 10, max = 3_600_000))]
    pub interval_ms: u64,
    /// Age from which events are swept. A younger one is left to its own process, so normally none is published twice.
    #[validate(range(min = 10, max = 3_600_000))]
    pub age_ms: u32,
    /// Largest number of players in one sweep.
    #[validate(range(min = 1, max = 10_000))]
    pub batch_max: u32,
}

fn check_attempts(attempts: &Attempts) -> Result<(), ValidationError> {
    let message = if attempts.wait_s_min > attempts.wait_s_max {
        "wait_s_min is larger than wait_s_max"
    } else if attempts.failures_max > attempts.account_failures_max {
        "failures_max is larger than account_failures_max"
    } else {
        return Ok(());
    };
    Err(ValidationError::new("order").with_message(message.into()))
}

fn check_lifetime(sessions: &Sessions) -> Result<(), ValidationError> {
    if sessions.cache_ttl_s <= sessions.lifetime_s {
        return Ok(());
    }
    Err(ValidationError::new("order").with_message("cache_ttl_s is larger than lifetime_s".into()))
}
