//! What a player has allowed themselves, and how well we know them.

use contracts::KycStatus;
use money::Money;

/// All that a change can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Most that one bet may stake.
    pub max_stake: Option<Money>,
    /// Most that may be lost in a day.
    pub daily_loss: Option<Money>,
    /// Until when the player has excluded themselves.
    pub self_excluded_until_epoch_ms: Option<i64>,
    /// How far we know who they are.
    pub kyc_status: KycStatus,
    /// Whether mail may be sent.
    pub email_enabled: bool,
}

impl Standing {
    /// A new player's.
    pub const NEW: Self = Self {
        max_stake: None,
        daily_loss: None,
        self_excluded_until_epoch_ms: None,
        kyc_status: KycStatus::Pending,
        email_enabled: true,
    };
}

/// The name of a status in documents and over HTTP.
pub const fn kyc_name(status: KycStatus) -> &'static str {
    match status {
        KycStatus::Unspecified | KycStatus::Pending => "pending",
        KycStatus::Verified => "verified",
        KycStatus::Rejected => "rejected",
    }
}

/// The status of a name.
pub fn kyc_named(name: &str) -> Option<KycStatus> {
    [KycStatus::Pending, KycStatus::Verified, KycStatus::Rejected]
        .into_iter()
        .find(|status| kyc_name(*status) == name)
}
