//! The gateway's configuration; `defaults.toml` says what each field is for.

use chassis::config::{Drain, Http, Ops, Secret, ServiceConfig};
use serde::{Deserialize, Serialize};
use url::Url;
use validator::{Validate, ValidationError};

/// Everything that can be set.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
pub struct Config {
    /// The public interface.
    #[validate(nested)]
    pub http: Http,
    /// The ops listener.
    pub ops: Ops,
    /// The orderly end.
    #[serde(default)]
    #[validate(nested)]
    pub drain: Drain,
    /// Where commands go and outcomes come from.
    pub kafka: bus::Config,
    /// The cache of replies.
    pub redis: store::redis::Config,
    /// The services behind.
    #[validate(nested)]
    pub peers: Peers,
    /// Tokens and keys.
    #[validate(nested)]
    pub security: Security,
    /// How writes wait for their outcome.
    #[validate(nested)]
    pub bets: Bets,
    /// What is remembered of sessions.
    #[validate(nested)]
    pub sessions: Sessions,
    /// Who may ask how often.
    #[validate(nested)]
    pub limits: Limits,
}

/// The services that are asked over HTTP.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
pub struct Peers {
    /// Sessions, profiles, history.
    pub user: Url,
    /// Bets by id, pay tables.
    pub game: Url,
    /// Balances, payments by id, the card provider's webhook.
    pub payment: Url,
    /// The recorder's pages as a browser reaches them; only linked to.
    pub recorder: Url,
    /// How long one call may take.
    #[validate(range(min = 10, max = 60_000))]
    pub deadline_ms: u64,
}

/// What is secret, and whom it makes somebody.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
pub struct Security {
    /// Signs and checks players' tokens (HS256: as long as the hash, or longer).
    #[validate(length(min = 32, message = "at least 32 bytes are needed (`./pitboss up` makes one)"))]
    pub jwt_secret: Secret,
    /// `iss` of every token.
    #[validate(length(min = 1))]
    pub jwt_issuer: String,
    /// `aud` of every token.
    #[validate(length(min = 1))]
    pub jwt_audience: String,
    /// The operator's token; empty: nobody is the operator.
    #[validate(custom(function = "empty_or_long"))]
    pub operator_token: Secret,
    /// What our own services ask each other with.
    #[validate(length(min = 32, message = "at least 32 bytes are needed (`./pitboss up` makes one)"))]
    pub internal_token: Secret,
    /// Our Sentry projects' public keys, comma-separated.
    pub public_keys: String,
}

impl Security {
    /// [`Security::public_keys`], taken apart.
    pub fn public_keys(&self) -> impl Iterator<Item = &str> {
        self.public_keys.split(',').map(str::trim).filter(|key| !key.is_empty())
    }
}

/// How writes wait.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
pub struct Bets {
    /// The limit after which the answer is 202.
    #[validate(range(min = 1, max = 30_000))]
    pub wait_ms: u64,
    /// The most writes that wait at a time.
    #[validate(range(min = 1, max = 1_000_000))]
    pub waiters_max: usize,
    /// How long a reply stays in the cache.
    #[validate(range(min = 1))]
    pub reply_ttl_s: u64,
}

/// What is remembered of sessions.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
pub struct Sessions {
    /// For how long a session that stood is taken to stand still: for so long one that was ended elsewhere lives on here. 0: user
    /// is asked each time.
    #[validate(range(max = 60_000))]
    pub known_for_ms: u64,
    /// The most that are remembered at a time.
    #[validate(range(min = 1, max = 10_000_000))]
    pub known_max: u64,
}

/// Rate limits.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
pub struct Limits {
    /// Lasting rate of one player.
    #[validate(range(min = 1))]
    pub per_player_per_s: u32,
    /// What a player may ask at once after a pause.
    #[validate(range(min = 1))]
    pub per_player_burst: u32,
    /// Lasting rate of one address.
    #[validate(range(min = 1))]
    pub per_address_per_s: u32,
    /// What an address may ask at once after a pause.
    #[validate(range(min = 1))]
    pub per_address_burst: u32,
    /// Lasting rate of log-ins and registrations of one address: each costs a password's hash, and none of them counts as one
    /// of the other requests.
    #[validate(range(min = 1))]
    pub credentials_per_address_per_s: u32,
    /// How many of those an address may ask at once after a pause.
    #[validate(range(min = 1))]
    pub credentials_per_address_burst: u32,
    /// The most players, and the most addresses, told apart at a time.
    #[validate(range(min = 1, max = 1_000_000))]
    pub keys_max: usize,
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

/// A short token could be guessed; none at all cannot.
fn empty_or_long(token: &Secret) -> Result<(), ValidationError> {
    if token.is_empty() || token.expose().len() >= 16 {
        return Ok(());
    }
    Err(ValidationError::new("length").with_message("at least 16 bytes, or none".into()))
}
