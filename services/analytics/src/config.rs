//! Configuration of analytics. Its own defaults are in `defaults.toml`, those of shared sections in their crates.

use chassis::config::{Secret, ServiceConfig};
use serde::{Deserialize, Serialize};
use validator::{Validate, ValidationError};

/// All settings of analytics.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
pub struct Config {
    /// Kafka broker.
    pub kafka: bus::Config,
    /// Document store.
    pub mongo: store::mongo::Config,
    /// Recomputing of rollups.
    #[validate(nested)]
    pub rollups: RollupsConfig,
    /// Active players.
    #[validate(nested)]
    pub players: PlayersConfig,
    /// Secrets.
    #[serde(default)]
    pub security: Security,
}

/// `[security]`: secrets.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Security {
    /// Token that the debug endpoints require. While it is empty, they refuse every request. The figures need no token.
    #[serde(default)]
    pub internal_token: Secret,
}

impl ServiceConfig for Config {}

/// `[rollups]`: intervals of recomputing.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, Validate)]
#[validate(schema(function = "check_takeover", skip_on_field_errors = false))]
pub struct RollupsConfig {
    /// Interval of recomputing touched buckets. The cost is per interval and not per bet.
    #[validate(range(min = 10, max = 60_000))]
    pub interval_ms: u64,
    /// Interval of checks for buckets that a dead process had marked and not recomputed.
    #[validate(range(min = 10, max = 3_600_000))]
    pub takeover_interval_ms: u64,
    /// Minimum age of such a mark. It has to exceed the time that a living process needs.
    #[validate(range(min = 10, max = 86_400_000))]
    pub takeover_after_ms: u64,
}

/// `[players]`: limits of the count of active players.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, Validate)]
pub struct PlayersConfig {
    /// A player is active for this long after an event.
    #[validate(range(min = 1_000, max = 86_400_000))]
    pub active_window_ms: u64,
    /// Maximum number of players counted, which bounds memory.
    #[validate(range(min = 1, max = 1_000_000))]
    pub active_max: usize,
}

fn check_takeover(rollups: &RollupsConfig) -> Result<(), ValidationError> {
    if rollups.takeover_after_ms > rollups.interval_ms {
        return Ok(());
    }
    Err(ValidationError::new("order").with_message("takeover_after_ms has to exceed interval_ms".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takeover_before_recomputing_is_refused() {
        let errors = |takeover_after_ms: &str| {
            let environment =
                [("PITBOSS__ROLLUPS__TAKEOVER_AFTER_MS".to_owned(), takeover_after_ms.to_owned())];
            let loaded =
                chassis::config::load::<Config>(include_str!("defaults.toml"), None, environment.into());
            loaded.err().map(|errors| errors.to_string()).unwrap_or_default()
        };
        assert_eq!(errors("1001"), "");
        assert!(errors("1000").contains("takeover_after_ms has to exceed interval_ms"));
    }
}
