//! What payment can be told from outside; the defaults and their reasons stand in `defaults.toml`.

use chassis::config::{Drain, Http, Ops, Secret, ServiceConfig};
use serde::{Deserialize, Serialize};
use validator::Validate;

use crate::provider::pool;

/// The whole configuration.
#[derive(Debug, Clone, Serialize, Deserialize, Validate)]
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
    /// Who else there is.
    pub peers: Peers,
    /// Secrets.
    #[validate(nested)]
    pub security: Security,
    /// How the provider is asked.
    #[validate(nested)]
    pub provider: pool::Config,
    /// How the ledger cleans up behind itself.
    #[validate(nested)]
    pub ledger: LedgerConfig,
}

/// Addresses of others.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Peers {
    /// Where the card provider is: `http://127.0.0.1:8108`.
    pub partners: String,
}

/// What nobody else may know.
#[derive(Debug, Clone, Serialize, Deserialize, Validate)]
pub struct Security {
    /// What every request to this service, and of it to the partners, has to carry.
    #[validate(length(min = 32, message = "at least 32 bytes are needed (`./pitboss up` makes one)"))]
    pub internal_token: Secret,
    /// What the provider signs its webhooks with; empty: webhooks are refused.
    #[serde(default)]
    pub webhook_secret: Secret,
    /// What the provider signed them with before, for as long as it is changing over; empty: nothing else.
    #[serde(default)]
    pub webhook_secret_old: Secret,
}

/// Trim and sweep.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, Validate)]
pub struct LedgerConfig {
    /// The longest that a relayed decision stays in its account's tail.
    #[validate(range(min = 1, max = 60_000))]
    pub trim_interval_ms: u64,
    /// How often the sweeper looks.
    #[validate(range(min = 10, max = 600_000))]
    pub sweep_interval_ms: u64,
    /// What is younger is somebody's work in hand. Well above `trim_interval_ms`, or decisions are published twice in peace.
    #[validate(range(min = 100, max = 600_000))]
    pub sweep_older_than_ms: u64,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn with(concurrent_max: &str) -> Result<Config, chassis::config::ConfigErrors> {
        let environment = [
            ("PITBOSS__SECURITY__INTERNAL_TOKEN", "a token of thirty-two bytes at least"),
            ("PITBOSS__PROVIDER__CONCURRENT_MAX", concurrent_max),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        chassis::config::load(include_str!("defaults.toml"), None, environment.into())
    }

    #[test]
    fn pool_of_one_slot_is_refused() {
        assert_eq!(with("2").unwrap().provider.concurrent_max, 2);
        let refused = with("1").unwrap_err();
        assert!(refused.lines().iter().all(|line| line.starts_with("provider.concurrent_max")), "{refused}");
    }
}
