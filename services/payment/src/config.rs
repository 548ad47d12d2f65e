//! Configuration of payment. Its own defaults are in `defaults.toml`, those of shared sections in their crates.

use chassis::config::{Secret, ServiceConfig};
use contracts::payments::OPEN_MS_MAX;
use serde::{Deserialize, Serialize};
use validator::{Validate, ValidationError};

use crate::provider::rounds;

/// All settings of payment.
#[derive(Debug, Clone, Serialize, Deserialize, Validate)]
pub struct Config {
    /// Connection to the broker.
    pub kafka: bus::Config,
    /// Connection to the document store.
    pub mongo: store::mongo::Config,
    /// Addresses of other services.
    #[validate(nested)]
    pub peers: Peers,
    /// Tokens and webhook secrets.
    #[validate(nested)]
    pub security: Security,
    /// Pool that sends requests to the card provider.
    #[validate(nested)]
    pub provider: ProviderConfig,
    /// Trimming and sweeping of account tails.
    #[validate(nested)]
    pub ledger: LedgerConfig,
    /// Limits that players set.
    #[validate(nested)]
    pub limits: LimitsConfig,
}

/// Addresses of other services.
#[derive(Debug, Clone, Serialize, Deserialize, Validate)]
pub struct Peers {
    /// Base URL of the card provider, such as `http://127.0.0.1:8116`.
    #[validate(custom(function = "chassis::config::http_url"))]
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

/// `[provider]`: limits of the pool.
#[derive(Debug, Clone, Serialize, Deserialize, Validate)]
#[validate(schema(function = "check_times", skip_on_field_errors = false))]
pub struct ProviderConfig {
    /// Largest number of requests in flight. At most half and at least a quarter of them are for due payments. A single slot
    /// would have to serve both kinds, and new payments would always take it.
    #[validate(range(min = 2, max = 256))]
    pub concurrent_max: usize,
    /// Time-out of one request.
    #[validate(range(min = 10, max = 60_000))]
    pub timeout_ms: u64,
    /// Largest number of new payments that wait for the pool. The sweeper finds the rest.
    #[validate(range(min = 1, max = 65_536))]
    pub waiting_max: usize,
    /// Lease of a claimed payment. It must be longer than all rounds together.
    #[validate(range(min = 100, max = 600_000))]
    pub lease_ms: u64,
    /// Interval between two sweeps for due payments.
    #[validate(range(min = 10, max = 600_000))]
    pub sweep_interval_ms: u64,
    /// Attempts without an outcome after which a payment is parked. An attempt that did not reach the provider never parks it.
    /// All attempts and reports together have to fit into the time for which a payment may be open.
    #[validate(range(min = 1, max = 1_000_000))]
    pub attempts_max: i64,
    /// Age at which an open payment is reported, once.
    #[validate(range(min = 100, max = 86_400_000))]
    pub escalate_after_ms: u64,
}

fn check_times(provider: &ProviderConfig) -> Result<(), ValidationError> {
    check_lease(provider)?;
    check_open_time(provider)
}

fn check_lease(provider: &ProviderConfig) -> Result<(), ValidationError> {
    let longest_ms = rounds::longest_ms(provider.timeout_ms);
    if provider.lease_ms > longest_ms {
        return Ok(());
    }
    let message = format!(
        "lease_ms has to exceed {longest_ms}, the time of all rounds with this timeout_ms and a margin"
    );
    Err(ValidationError::new("lease").with_message(message.into()))
}

/// Other parts rely on the longest time until a payment ends or is parked.
fn check_open_time(provider: &ProviderConfig) -> Result<(), ValidationError> {
    let open_ms = rounds::open_ms_max(provider);
    if open_ms <= OPEN_MS_MAX {
        return Ok(());
    }
    let message = format!(
        "with this attempts_max, timeout_ms, lease_ms and sweep_interval_ms a payment can be open for {open_ms} ms, and the longest time is {OPEN_MS_MAX} ms"
    );
    Err(ValidationError::new("open_time").with_message(message.into()))
}

/// Smallest ratio of `sweep_older_than_ms` to `trim_interval_ms`.
const SWEEP_RATIO_MIN: u64 = 2;

/// Intervals of trimming and sweeping.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, Validate)]
#[validate(schema(function = "check_sweep", skip_on_field_errors = false))]
pub struct LedgerConfig {
    /// Longest time that a relayed decision stays in its account's tail.
    #[validate(range(min = 1, max = 60_000))]
    pub trim_interval_ms: u64,
    /// Interval between two sweeps.
    #[validate(range(min = 10, max = 600_000))]
    pub sweep_interval_ms: u64,
    /// Age at which the sweeper takes over a decision. At least twice `trim_interval_ms`, or events are published twice.
    #[validate(range(min = 100, max = 600_000))]
    pub sweep_older_than_ms: u64,
}

fn check_sweep(ledger: &LedgerConfig) -> Result<(), ValidationError> {
    if ledger.sweep_older_than_ms >= ledger.trim_interval_ms.saturating_mul(SWEEP_RATIO_MIN) {
        return Ok(());
    }
    let message = "sweep_older_than_ms has to be at least twice trim_interval_ms";
    Err(ValidationError::new("order").with_message(message.into()))
}

/// `[limits]`: limits that players set for themselves.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, Validate)]
pub struct LimitsConfig {
    /// Wait before a limit that becomes looser counts. The old one binds until then. At most 30 days.
    #[validate(range(min = 1_000, max = 2_592_000_000_i64))]
    pub loosen_after_ms: i64,
}

impl ServiceConfig for Config {}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_with(name: &str, value: &str) -> Result<Config, chassis::config::ConfigErrors> {
        let environment =
            [("PITBOSS__SECURITY__INTERNAL_TOKEN", "a token of thirty-two bytes at least"), (name, value)];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        chassis::config::load(include_str!("defaults.toml"), None, environment.into())
    }

    #[test]
    fn pool_of_one_slot_is_refused() {
        let load_with = |slots| load_with("PITBOSS__PROVIDER__CONCURRENT_MAX", slots);
        assert_eq!(load_with("2").unwrap().provider.concurrent_max, 2);
        let refused = load_with("1").unwrap_err();
        assert!(refused.lines().iter().all(|line| line.starts_with("provider.concurrent_max")), "{refused}");
    }

    /// Every request would be refused as one that could end after the lease.
    #[test]
    fn lease_shorter_than_all_rounds_is_refused() {
        assert!(load_with("PITBOSS__PROVIDER__LEASE_MS", "19301").is_ok());
        for (name, value) in [("LEASE_MS", "19300"), ("TIMEOUT_MS", "60000")] {
            let refused = load_with(&format!("PITBOSS__PROVIDER__{name}"), value).unwrap_err().to_string();
            assert!(refused.contains("lease_ms has to exceed"), "{name}: {refused}");
        }
    }

    /// Otherwise a second start would be needed to find the second problem.
    #[test]
    fn range_error_hides_no_rule_of_two_settings() {
        let refused = load_with("PITBOSS__PROVIDER__TIMEOUT_MS", "60001").unwrap_err().to_string();
        assert!(refused.contains("provider.timeout_ms"), "{refused}");
        assert!(refused.contains("lease_ms has to exceed"), "{refused}");
    }

    #[test]
    fn settings_with_a_longer_open_time_are_refused() {
        let open_ms = |attempts_max: i64| {
            let loaded = load_with("PITBOSS__PROVIDER__ATTEMPTS_MAX", &attempts_max.to_string());
            loaded.map(|config| rounds::open_ms_max(&config.provider))
        };
        let by_default = open_ms(60).unwrap();
        assert!((47 * 60_000..=OPEN_MS_MAX).contains(&by_default), "{by_default}");
        let refused = open_ms(62).unwrap_err().to_string();
        assert!(refused.contains("a payment can be open for"), "{refused}");
    }

    #[test]
    fn looser_limits_wait_a_day_by_default() {
        let wait = |text| load_with("PITBOSS__LIMITS__LOOSEN_AFTER_MS", text);
        let unchanged = load_with("PITBOSS__LEDGER__TRIM_INTERVAL_MS", "1000").unwrap();
        assert_eq!(unchanged.limits.loosen_after_ms, 24 * 60 * 60 * 1_000);
        assert_eq!(wait("1000").unwrap().limits.loosen_after_ms, 1_000);
        for text in ["999", "2592000001"] {
            let refused = wait(text).unwrap_err().to_string();
            assert!(refused.contains("limits.loosen_after_ms"), "{refused}");
        }
    }

    /// As bad configuration, before anything connects. None of the values may be shown.
    #[test]
    fn invalid_addresses_are_refused() {
        for (name, setting) in [
            ("PITBOSS__MONGO__URI", "mongo.uri"),
            ("PITBOSS__KAFKA__BOOTSTRAP_SERVERS", "kafka.bootstrap_servers"),
            ("PITBOSS__PEERS__PARTNERS", "peers.partners"),
        ] {
            for value in ["hunter2://hunter2", "hunter2:hunter2", "mongodb://u:hunter2"] {
                let refused = load_with(name, value).expect_err(name);
                let [line] = refused.lines() else { panic!("{refused}") };
                assert!(line.starts_with(&format!("{setting}: ")) && !line.contains("hunter2"), "{line}");
            }
        }
        let options = load_with("PITBOSS__MONGO__URI", "mongodb://h/?w=-1").expect_err("refused").to_string();
        assert!(options.contains("mongo.uri: has an option with an invalid value"), "{options}");
    }

    #[test]
    fn sweep_soon_after_trim_is_refused() {
        assert!(load_with("PITBOSS__LEDGER__TRIM_INTERVAL_MS", "2500").is_ok());
        let refused = load_with("PITBOSS__LEDGER__TRIM_INTERVAL_MS", "2501").unwrap_err().to_string();
        assert!(refused.contains("at least twice trim_interval_ms"), "{refused}");
    }
}
