//! A player's limits, exclusion, preferences and KYC status.

use contracts::KycStatus;
use money::Money;

/// Everything that a [`super::Change`] can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Largest stake of one bet.
    pub max_stake: Option<Money>,
    /// Largest loss in one day.
    pub daily_loss: Option<Money>,
    /// End of the self-exclusion.
    pub self_excluded_until_epoch_ms: Option<i64>,
    /// Result of the identity check (KYC).
    pub kyc_status: KycStatus,
    /// True when e-mail may be sent.
    pub email_enabled: bool,
}

impl Standing {
    /// Standing of a new player.
    pub const NEW: Self = Self {
        max_stake: None,
        daily_loss: None,
        self_excluded_until_epoch_ms: None,
        kyc_status: KycStatus::Pending,
        email_enabled: true,
    };
}

/// Name of a status in documents and over HTTP.
pub const fn kyc_name(status: KycStatus) -> &'static str {
    match status {
        KycStatus::Unspecified | KycStatus::Pending => "pending",
        KycStatus::Verified => "verified",
        KycStatus::Rejected => "rejected",
    }
}

/// Status with this name.
pub fn kyc_named(name: &str) -> Option<KycStatus> {
    [KycStatus::Pending, KycStatus::Verified, KycStatus::Rejected]
        .into_iter()
        .find(|status| kyc_name(*status) == name)
}
