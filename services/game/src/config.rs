//! Configuration of game. Its own defaults are in `defaults.toml`, those of shared sections in their crates.

use chassis::config::ServiceConfig;
use chassis::internal::Security;
use serde::{Deserialize, Serialize};
use validator::{Validate, ValidationError};

use crate::domain::bet::StakeLimits;

/// Bound of every largest stake. The product of a stake with the largest multiplier must not overflow.
const MINOR_MAX_BOUND: i64 = 1_000_000_000;

/// All settings of game.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
pub struct Config {
    /// Token of the internal interface.
    #[validate(nested)]
    pub security: Security,
    /// Kafka broker.
    pub kafka: bus::Config,
    /// Document store.
    pub mongo: store::mongo::Config,
    /// Allowed stakes.
    #[validate(nested)]
    pub stakes: Stakes,
    /// Repetition of commands to payment.
    #[validate(nested)]
    pub sweeper: SweeperConfig,
}

impl ServiceConfig for Config {}

/// `[stakes]`: limits of one bet's stake, in minor units of any currency.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, Validate)]
#[validate(schema(function = "check_order", skip_on_field_errors = false))]
pub struct Stakes {
    /// Smallest stake.
    #[validate(range(min = 1))]
    pub minor_min: i64,
    /// Largest stake.
    #[validate(range(min = 1, max = MINOR_MAX_BOUND))]
    pub minor_max: i64,
}

impl Stakes {
    /// Converts the settings for the domain.
    #[must_use]
    pub fn limits(self) -> StakeLimits {
        StakeLimits::new(self.minor_min, self.minor_max)
    }
}

fn check_order(stakes: &Stakes) -> Result<(), ValidationError> {
    if stakes.minor_min <= stakes.minor_max {
        return Ok(());
    }
    Err(ValidationError::new("order").with_message("minor_min is larger than minor_max".into()))
}

/// `[sweeper]`: repeats commands for bets that payment has not answered, slowly and a limited number of times.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
#[validate(schema(function = "check_waits", skip_on_field_errors = false))]
pub struct SweeperConfig {
    /// Interval between two sweeps.
    #[validate(range(min = 10, max = 3_600_000))]
    pub interval_ms: u64,
    /// Wait for payment's answer before the first repetition. Nothing is repeated while payment has unread commands, or game has
    /// unread answers, that are older than half of it.
    #[validate(range(min = 100, max = 3_600_000))]
    pub first_after_ms: u64,
    /// Longest wait between two repetitions of a bet. The wait doubles each time.
    #[validate(range(min = 100, max = 86_400_000))]
    pub interval_ms_max: u64,
    /// Commands that this process may repeat per second.
    #[validate(range(min = 1, max = 100))]
    pub per_second_max: u32,
    /// Repetitions for one bet. After the last one, the bet is reported and not repeated any more.
    #[validate(range(min = 1, max = 100))]
    pub repeats_max: i32,
}

fn check_waits(sweeper: &SweeperConfig) -> Result<(), ValidationError> {
    if sweeper.first_after_ms <= sweeper.interval_ms_max {
        return Ok(());
    }
    Err(ValidationError::new("order").with_message("first_after_ms is larger than interval_ms_max".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(name: &str, value: &str) -> String {
        let environment =
            [("PITBOSS__SECURITY__INTERNAL_TOKEN", "a token of thirty-two bytes at least"), (name, value)];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let loaded = chassis::config::load::<Config>(include_str!("defaults.toml"), None, environment.into());
        loaded.err().map(|errors| errors.to_string()).unwrap_or_default()
    }

    #[test]
    fn smallest_stake_above_largest_is_refused() {
        assert_eq!(errors("PITBOSS__STAKES__MINOR_MIN", "100000"), "");
        let refused = errors("PITBOSS__STAKES__MINOR_MIN", "100001");
        assert!(refused.contains("minor_min is larger than minor_max"), "{refused}");
    }

    #[test]
    fn first_wait_above_longest_is_refused() {
        assert_eq!(errors("PITBOSS__SWEEPER__FIRST_AFTER_MS", "600000"), "");
        let refused = errors("PITBOSS__SWEEPER__FIRST_AFTER_MS", "600001");
        assert!(refused.contains("first_after_ms is larger than interval_ms_max"), "{refused}");
    }
}
