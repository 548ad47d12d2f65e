//! Changes of a player's standing: the request, the decision, and the event.

use contracts::proto::players::v1::{
    KycStatusChanged, LimitsChanged, PreferencesChanged, SelfExclusionStarted,
};
use contracts::{KycStatus, Message};
use money::Money;

use super::Standing;

/// Shortest self-exclusion. A shorter one could end before the ledger enforces it.
const EXCLUSION_MS_MIN: i64 = 60 * 1_000;
/// Longest self-exclusion: ten years. A longer one is taken for a typing error.
const EXCLUSION_MS_MAX: i64 = 10 * 366 * 24 * 60 * 60 * 1_000;
/// Highest limit, in minor units. A limit above the largest transfer limits nothing.
const LIMIT_MINOR_MAX: i64 = contracts::TRANSFER_MINOR_MAX;

/// A change that the player or an operator requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The complete new limits. An absent limit is removed.
    Limits {
        /// Largest stake of one bet.
        max_stake: Option<Money>,
        /// Largest loss in one day.
        daily_loss: Option<Money>,
    },
    /// Exclusion from betting and depositing.
    SelfExclusion {
        /// End of the exclusion.
        until_epoch_ms: i64,
    },
    /// Messages that the player wants.
    Preferences {
        /// True when e-mail may be sent.
        email_enabled: bool,
    },
    /// Status of the identity check (KYC).
    Kyc {
        /// The new status.
        status: KycStatus,
    },
}

/// Reason for refusing a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A limit of zero or less.
    LimitNotPositive,
    /// A limit that no player can reach: a mistyped number, or one that only looks like a limit.
    LimitTooHigh,
    /// An exclusion that ends in the past.
    ExclusionInThePast,
    /// An exclusion that may end before it is enforced.
    ExclusionTooShort,
    /// An exclusion of more than ten years.
    ExclusionTooLong,
    /// An exclusion that ends before the one in force, which protects the player from exactly this.
    ExclusionShorter,
}

impl Change {
    /// Prefix in the command id, so that two kinds of change never collide under one key.
    pub const fn route(&self) -> &'static str {
        match self {
            Self::Limits { .. } => "user/limits",
            Self::SelfExclusion { .. } => "user/self-exclusion",
            Self::Preferences { .. } => "user/preferences",
            Self::Kyc { .. } => "user/kyc-status",
        }
    }

    /// The event for this change.
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

    /// Returns the standing after the change, or the reason for refusing it.
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
