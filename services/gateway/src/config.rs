//! Configuration of gateway. Its own defaults are in `defaults.toml`, those of shared sections in their crates.

use chassis::config::{Secret, ServiceConfig};
use serde::{Deserialize, Serialize};
use url::Url;
use validator::{Validate, ValidationError};

/// All settings of gateway.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
pub struct Config {
    /// The broker for commands and outcome events.
    pub kafka: bus::Config,
    /// The cache of replies.
    pub redis: store::redis::Config,
    /// The services that the gateway calls.
    #[validate(nested)]
    pub peers: Peers,
    /// Tokens and keys.
    #[validate(nested)]
    pub security: Security,
    /// Waiting for the outcomes of writes.
    #[validate(nested)]
    pub bets: Bets,
    /// The cache of open sessions.
    #[validate(nested)]
    pub sessions: Sessions,
    /// Rate limits.
    #[validate(nested)]
    pub limits: Limits,
}

/// Addresses of the services that the gateway calls over HTTP.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
pub struct Peers {
    /// The user service: sessions, profiles, history.
    #[validate(custom(function = "chassis::config::http_url"))]
    pub user: Url,
    /// The game service: bets by id, pay tables.
    #[validate(custom(function = "chassis::config::http_url"))]
    pub game: Url,
    /// The payment service: balances, payments by id, the card provider's webhook.
    #[validate(custom(function = "chassis::config::http_url"))]
    pub payment: Url,
    /// The analytics service: debug faults.
    #[validate(custom(function = "chassis::config::http_url"))]
    pub analytics: Url,
    /// The notification service: debug faults.
    #[validate(custom(function = "chassis::config::http_url"))]
    pub notification: Url,
    /// The recorder's pages as a browser reaches them. The gateway only links to them.
    #[validate(custom(function = "chassis::config::http_url"))]
    pub recorder: Url,
    /// Time limit of one call.
    #[validate(range(min = 10, max = 60_000))]
    pub deadline_ms: u64,
}

/// Secrets and the identities that they prove.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
pub struct Security {
    /// Signs and verifies players' tokens. HS256 needs a secret at least as long as the hash.
    #[validate(length(min = 32, message = "at least 32 bytes are needed (`./pitboss up` makes one)"))]
    pub jwt_secret: Secret,
    /// `iss` of every token.
    #[validate(length(min = 1))]
    pub jwt_issuer: String,
    /// `aud` of every token.
    #[validate(length(min = 1))]
    pub jwt_audience: String,
    /// The operator's token. An empty token disables the operator.
    #[validate(custom(function = "empty_or_long"))]
    pub operator_token: Secret,
    /// Token of the calls between Pitboss services.
    #[validate(length(min = 32, message = "at least 32 bytes are needed (`./pitboss up` makes one)"))]
    pub internal_token: Secret,
    /// Public keys of our Sentry projects, comma-separated.
    pub public_keys: String,
}

impl Security {
    /// Returns the individual keys of [`Security::public_keys`].
    pub fn public_keys(&self) -> impl Iterator<Item = &str> {
        self.public_keys.split(',').map(str::trim).filter(|key| !key.is_empty())
    }
}

/// Waiting for the outcomes of writes, and the admission of bets.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
#[validate(schema(function = "check_bets", skip_on_field_errors = false))]
pub struct Bets {
    /// Time after which a write is answered with 202.
    #[validate(range(min = 1, max = 30_000))]
    pub wait_ms: u64,
    /// Largest number of writes that wait at the same time.
    #[validate(range(min = 1, max = 1_000_000))]
    pub waiters_max: usize,
    /// Time that a reply stays in the cache.
    #[validate(range(min = 1))]
    pub reply_ttl_s: u64,
    /// Number of bets in flight below which a first overload is never assumed.
    #[validate(range(min = 1, max = 1_000_000))]
    pub in_flight_min: usize,
    /// Time to an outcome that is slow, as a multiple of the time of the quickest tenth.
    #[validate(range(min = 2, max = 1_000))]
    pub slow_ratio: u32,
    /// Time for which most outcomes have to be slow before a first overload is assumed.
    #[validate(range(min = 1, max = 60_000))]
    pub overload_after_ms: u64,
}

/// The cache of open sessions.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
pub struct Sessions {
    /// Time that an open session stays cached. A session that was ended elsewhere is accepted here for as long. 0 disables the
    /// cache.
    #[validate(range(max = 60_000))]
    pub known_for_ms: u64,
    /// Largest number of cached sessions.
    #[validate(range(min = 1, max = 10_000_000))]
    pub known_max: u64,
}

/// Rate limits.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
pub struct Limits {
    /// Sustained rate of one player.
    #[validate(range(min = 1))]
    pub per_player_per_s: u32,
    /// Burst of one player.
    #[validate(range(min = 1))]
    pub per_player_burst: u32,
    /// Sustained rate of one address.
    #[validate(range(min = 1))]
    pub per_address_per_s: u32,
    /// Burst of one address.
    #[validate(range(min = 1))]
    pub per_address_burst: u32,
    /// Sustained rate of log-ins and registrations of one address. The limit is separate from the address's other requests,
    /// because each of these costs a password hash.
    #[validate(range(min = 1))]
    pub credentials_per_address_per_s: u32,
    /// Burst of log-ins and registrations of one address.
    #[validate(range(min = 1))]
    pub credentials_per_address_burst: u32,
    /// Of the requests of one address that were refused at a limit per address or in overload, the number per second that gets a
    /// transaction. The others are only counted, so that a flood does not become a flood of telemetry.
    #[validate(range(min = 1))]
    pub refusals_recorded_per_address_per_s: u32,
    /// The same number for all addresses together.
    #[validate(range(min = 1))]
    pub refusals_recorded_per_s: u32,
    /// Sustained rate of debug faults, of all operators together.
    #[validate(range(min = 1))]
    pub debug_per_min: u32,
    /// Burst of debug faults.
    #[validate(range(min = 1))]
    pub debug_burst: u32,
    /// Largest number of keys in each limit's map of players or addresses.
    #[validate(range(min = 1, max = 1_000_000))]
    pub keys_max: usize,
}

impl ServiceConfig for Config {}

/// Without this rule bets would be refused for want of waiters before an overload could be noticed.
fn check_bets(bets: &Bets) -> Result<(), ValidationError> {
    if bets.in_flight_min <= bets.waiters_max {
        return Ok(());
    }
    let message = "bets.in_flight_min must be at most bets.waiters_max: more bets are never in flight";
    Err(ValidationError::new("in_flight_min").with_message(message.into()))
}

/// A short token could be guessed. An empty one disables the operator.
fn empty_or_long(token: &Secret) -> Result<(), ValidationError> {
    if token.is_empty() || token.expose().len() >= 16 {
        return Ok(());
    }
    Err(ValidationError::new("length").with_message("at least 16 bytes are needed, or an empty value".into()))
}
