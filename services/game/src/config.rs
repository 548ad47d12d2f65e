//! Game's settings; `defaults.toml` holds every default.

use chassis::config::{Drain, Http, Ops, ServiceConfig};
use chassis::internal::Security;
use serde::{Deserialize, Serialize};
use validator::{Validate, ValidationError};

use crate::domain::bet::StakeLimits;

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
    /// Who may ask.
    #[validate(nested)]
    pub security: Security,
    /// The broker.
    pub kafka: bus::Config,
    /// The document store.
    pub mongo: store::mongo::Config,
    /// What may be staked.
    #[validate(nested)]
    pub stakes: Stakes,
    /// Asking payment again.
    #[validate(nested)]
    pub sweeper: SweeperConfig,
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

/// `[stakes]`: what one bet may stake, in minor units of any currency.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, Validate)]
#[validate(schema(function = "in_order"))]
pub struct Stakes {
    /// The least.
    #[validate(range(min = 1))]
    pub minor_min: i64,
    /// The most; the largest multiplier times this has to stay countable.
    #[validate(range(min = 1, max = 1_000_000_000))]
    pub minor_max: i64,
}

impl Stakes {
    /// The same for the domain.
    #[must_use]
    pub fn limits(self) -> StakeLimits {
        StakeLimits { minor_min: self.minor_min, minor_max: self.minor_max }
    }
}

fn in_order(stakes: &Stakes) -> Result<(), ValidationError> {
    if stakes.minor_min <= stakes.minor_max {
        return Ok(());
    }
    Err(ValidationError::new("order").with_message("minor_min is larger than minor_max".into()))
}

/// `[sweeper]`: bets that payment has not answered are asked for again, slowly and not for ever.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
pub struct SweeperConfig {
    /// How often to look.
    #[validate(range(min = 10, max = 3_600_000))]
    pub interval_ms: u64,
    /// How long payment has before it is asked again. Nobody is asked while payment has commands unread, or game has answers
    /// unread, that are older.
    #[validate(range(min = 100, max = 3_600_000))]
    pub first_after_ms: u64,
    /// The longest time between two askings; each is twice as long as the one before.
    #[validate(range(min = 100, max = 86_400_000))]
    pub interval_ms_max: u64,
    /// How many commands this process may repeat in a second.
    #[validate(range(min = 1, max = 100))]
    pub per_second_max: u32,
    /// How often one bet is asked for again before that is reported and given up.
    #[validate(range(min = 1, max = 100))]
    pub repeats_max: i32,
}
