//! Closed list of the faults.

use std::fmt;
use std::str::FromStr;

use crate::definition::Definition;
use crate::registry::{analytics, consumer, game, notification, payment, user};

/// A fault that can be armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FaultId {
    /// A share of the payments fails.
    PaymentRandomFailure,
    /// The card provider answers late.
    PaymentProviderSlow,
    /// Valid sessions are answered with 401.
    UserUnauthorized,
    /// The history reads each bet with a query of its own.
    UserNPlusOne,
    /// A spin burns CPU time.
    GameCpuSpike,
    /// The pay table pays less than the published one.
    GameRtpDrift,
    /// Payouts are too high by a factor.
    GamePayoutScale,
    /// Player metrics read each bet with a query of its own.
    AnalyticsNPlusOne,
    /// A consumer takes longer for each record.
    ConsumerSlow,
    /// A consumer handles each record twice.
    ConsumerDuplicate,
    /// The mail server refuses every e-mail for now.
    NotificationProviderDown,
    /// The mail server answers late.
    NotificationProviderSlow,
}

/// Error: a text that names no fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no fault `{0}`. `./pitboss fault list` shows all of them")]
pub struct UnknownFault(pub String);

impl FaultId {
    /// All faults, in the order of the enum.
    pub const ALL: [Self; 12] = [
        Self::PaymentRandomFailure,
        Self::PaymentProviderSlow,
        Self::UserUnauthorized,
        Self::UserNPlusOne,
        Self::GameCpuSpike,
        Self::GameRtpDrift,
        Self::GamePayoutScale,
        Self::AnalyticsNPlusOne,
        Self::ConsumerSlow,
        Self::ConsumerDuplicate,
        Self::NotificationProviderDown,
        Self::NotificationProviderSlow,
    ];

    /// Name in the flag file, on the command line and in Sentry.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PaymentRandomFailure => "payment.random-failure",
            Self::PaymentProviderSlow => "payment.provider-slow",
            Self::UserUnauthorized => "user.unauthorized",
            Self::UserNPlusOne => "user.n-plus-one",
            Self::GameCpuSpike => "game.cpu-spike",
            Self::GameRtpDrift => "game.rtp-drift",
            Self::GamePayoutScale => "game.payout-scale",
            Self::AnalyticsNPlusOne => "analytics.n-plus-one",
            Self::ConsumerSlow => "consumer.slow",
            Self::ConsumerDuplicate => "consumer.duplicate",
            Self::NotificationProviderDown => "notification.provider-down",
            Self::NotificationProviderSlow => "notification.provider-slow",
        }
    }

    /// Description of the fault.
    #[must_use]
    pub fn definition(self) -> &'static Definition {
        match self {
            Self::PaymentRandomFailure => &payment::RANDOM_FAILURE,
            Self::PaymentProviderSlow => &payment::PROVIDER_SLOW,
            Self::UserUnauthorized => &user::UNAUTHORIZED,
            Self::UserNPlusOne => &user::N_PLUS_ONE,
            Self::GameCpuSpike => &game::CPU_SPIKE,
            Self::GameRtpDrift => &game::RTP_DRIFT,
            Self::GamePayoutScale => &game::PAYOUT_SCALE,
            Self::AnalyticsNPlusOne => &analytics::N_PLUS_ONE,
            Self::ConsumerSlow => &consumer::SLOW,
            Self::ConsumerDuplicate => &consumer::DUPLICATE,
            Self::NotificationProviderDown => &notification::PROVIDER_DOWN,
            Self::NotificationProviderSlow => &notification::PROVIDER_SLOW,
        }
    }
}

impl fmt::Display for FaultId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for FaultId {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        Self::ALL.into_iter().find(|id| id.as_str() == text).ok_or_else(|| UnknownFault(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_follows_enum() {
        for (place, id) in FaultId::ALL.into_iter().enumerate() {
            assert_eq!(id as usize, place, "{id}");
        }
    }

    #[test]
    fn name_is_parsed_back() {
        for id in FaultId::ALL {
            assert_eq!(id.as_str().parse(), Ok(id));
        }
        let error = "payment.random".parse::<FaultId>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no fault `payment.random`. `./pitboss fault list` shows all of them"
        );
    }
}
