//! Changes of a player's standing: what is asked for, whether it may be, and the event that tells of it.

use contracts::proto::players::v1::{
    KycStatusChanged, LimitsChanged, PreferencesChanged, SelfExclusionStarted,
};
use contracts::{KycStatus, Message};
use money::Money;

use super::Standing;

/// The shortest self-exclusion: one that ends before the ledger has heard of it protects nobody.
const EXCLUSION_MS_MIN: i64 = 60 * 1_000;
/// The longest self-exclusion: ten years. Beyond that it is a mistyped number.
const EXCLUSION_MS_MAX: i64 = 10 * 366 * 24 * 60 * 60 * 1_000;
/// The highest limit, in minor units: ten billion euros limit nothing.
const LIMIT_MINOR_MAX: i64 = 1_000_000_000_000;

/// Something that a player, or somebody about them, wants changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// All limits as they are to be; an absent one is none.
    Limits {
        /// Most that one bet may stake.
        max_stake: Option<Money>,
        /// Most that may be lost in a day.
        daily_loss: Option<Money>,
    },
    /// Exclusion from betting and depositing.
    SelfExclusion {
        /// Until when.
        until_epoch_ms: i64,
    },
    /// What the player wants to hear from us.
    Preferences {
        /// Whether mail may be sent.
        email_enabled: bool,
    },
    /// What we know about the player.
    Kyc {
        /// How far.
        status: KycStatus,
    },
}

/// Why a change may not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A limit of nothing, or less.
    LimitNotPositive,
    /// A limit that nobody can reach: a mistyped number, or one that is to look like a limit.
    LimitTooHigh,
    /// An exclusion that has ended before it began.
    ExclusionInThePast,
    /// An exclusion that may end before it is enforced.
    ExclusionTooShort,
    /// An exclusion of more than ten years.
    ExclusionTooLong,
    /// An exclusion that ends sooner than the one in force: it protects the player from exactly this.
    ExclusionShorter,
}

impl Change {
    /// Its place in the idempotency key's space: two kinds of change never meet under one key.
    pub const fn route(&self) -> &'static str {
        match self {
            Self::Limits { .. } => "user/limits",
            Self::SelfExclusion { .. } => "user/self-exclusion",
            Self::Preferences { .. } => "user/preferences",
            Self::Kyc { .. } => "user/kyc-status",
        }
    }

    /// What the world is told.
    pub fn message(&self, player_id: &str) -> Message {
        let player_id = player_id.to_owned();
        match *self {
            Self::Limits { max_stake, daily_loss } => LimitsChanged {
                player_id,
                max_stake: max_stake.map(Into::into),
                daily_loss: daily_loss.map(Into::into),
            }
            .into(),
            Self::SelfExclusion { until_epoch_ms } => {
                SelfExclusionStarted { player_id, until_epoch_ms }.into()
            }
            Self::Preferences { email_enabled } => PreferencesChanged { player_id, email_enabled }.into(),
            Self::Kyc { status } => KycStatusChanged { player_id, status: status.into() }.into(),
        }
    }

    /// The standing after the change, if it may be.
    pub fn decide(&self, standing: &Standing, now_epoch_ms: i64) -> Result<Standing, Refusal> {
        let mut after = *standing;
        match *self {
            Self::Limits { max_stake, daily_loss } => {
                if [max_stake, daily_loss].into_iter().flatten().any(|limit| !limit.is_positive()) {
                    return Err(Refusal::LimitNotPositive);
                }
                if [max_stake, daily_loss].into_iter().flatten().any(|limit| limit.minor() > LIMIT_MINOR_MAX)
                {
                    return Err(Refusal::LimitTooHigh);
                }
                after.max_stake = max_stake;
                after.daily_loss = daily_loss;
            }
            Self::SelfExclusion { until_epoch_ms } => {
                if until_epoch_ms <= now_epoch_ms {
                    return Err(Refusal::ExclusionInThePast);
                }
                if until_epoch_ms.saturating_sub(now_epoch_ms) < EXCLUSION_MS_MIN {
                    return Err(Refusal::ExclusionTooShort);
                }
                if until_epoch_ms.saturating_sub(now_epoch_ms) > EXCLUSION_MS_MAX {
                    return Err(Refusal::ExclusionTooLong);
                }
                if standing.self_excluded_until_epoch_ms.is_some_and(|until| until > until_epoch_ms) {
                    return Err(Refusal::ExclusionShorter);
                }
                after.self_excluded_until_epoch_ms = Some(until_epoch_ms);
            }
            Self::Preferences { email_enabled } => after.email_enabled = email_enabled,
            Self::Kyc { status } => after.kyc_status = status,
        }
        Ok(after)
    }
}
