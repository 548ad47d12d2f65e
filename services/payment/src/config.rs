//! Configuration of payment. Its own defaults are in `defaults.toml`, those of shared sections in their crates.

use chassis::config::{Secret, ServiceConfig};
use serde::{Deserialize, Serialize};
use validator::Validate;

use crate::provider::pool;

/// All settings of payment.
#[derive(Debug, Clone, Serialize, Deserialize, Validate)]
pub struct Config {
    /// Connection to the broker.
    pub kafka: bus::Config,
    /// Connection to the document store.
    pub mongo: store::mongo::Config,
    /// Addresses of other services.
    pub peers: Peers,
    /// Tokens and webhook secrets.
    #[validate(nested)]
    pub security: Security,
    /// Pool that sends requests to the card provider.
    #[validate(nested)]
    pub provider: pool::Config,
    /// Trimming and sweeping of account tails.
    #[validate(nested)]
    pub ledger: LedgerConfig,
}

/// Addresses of other services.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Peers {
    /// Base URL of the card provider, such as `http://127.0.0.1:8116`.
    pub partners: String,
}

/// Secrets shared with other services and the card provider.
#[derive(Debug, Clone, Serialize, Deserialize, Validate)]
pub struct Security {
    /// Token that every request to this service carries. Payment sends the same token to the partners.
    #[validate(length(min = 32, message = "at least 32 bytes are needed (`./pitboss up` makes one)"))]
    pub internal_token: Secret,
    /// Secret that the provider signs its webhooks with. Webhooks are refused when both webhook secrets are empty.
    #[serde(default)]
    pub webhook_secret: Secret,
    /// Previous webhook secret, accepted while the provider changes over. An empty value is ignored.
    #[serde(default)]
    pub webhook_secret_old: Secret,
}

/// Intervals of trimming and sweeping.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, Validate)]
pub struct LedgerConfig {
    /// Longest time that a relayed decision stays in its account's tail.
    #[validate(range(min = 1, max = 60_000))]
    pub trim_interval_ms: u64,
    /// Interval between two sweeps.
    #[validate(range(min = 10, max = 600_000))]
    pub sweep_interval_ms: u64,
    /// Age at which the sweeper takes over a decision. Well above `trim_interval_ms`, or events are published twice.
    #[validate(range(min = 100, max = 600_000))]
    pub sweep_older_than_ms: u64,
}

impl ServiceConfig for Config {}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_with(concurrent_max: &str) -> Result<Config, chassis::config::ConfigErrors> {
        let environment = [
            ("PITBOSS__SECURITY__INTERNAL_TOKEN", "a token of thirty-two bytes at least"),
            ("PITBOSS__PROVIDER__CONCURRENT_MAX", concurrent_max),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        chassis::config::load(include_str!("defaults.toml"), None, environment.into())
    }

    #[test]
    fn pool_of_one_slot_is_refused() {
        assert_eq!(load_with("2").unwrap().provider.concurrent_max, 2);
        let refused = load_with("1").unwrap_err();
        assert!(refused.lines().iter().all(|line| line.starts_with("provider.concurrent_max")), "{refused}");
    }
}
