//! What a command asks for, before it is joined with the decisions it refers to.

use contracts::EventId;
use money::{Money, Posting};

use super::lookup::Lookup;
use super::{Entry, LedgerError};
use crate::domain::{Command, LimitSet, PendingPayment, ProviderReport, Wager, WagerVoid};

/// A command as its handler understood it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Take a stake and pay a payout.
    ApplyWager(Wager),
    /// Undo a wager, or forbid one that has not come.
    VoidWager {
        /// Which wager.
        wager_id: EventId,
        /// The operator's words.
        reason: String,
    },
    /// Ask the provider.
    Payment(PendingPayment),
    /// The provider's answer.
    Report {
        /// About which payment.
        payment_id: EventId,
        /// Whether the money moved.
        captured: bool,
        /// The provider's own name for it.
        provider_reference: String,
        /// What the provider says it was about.
        amount: Money,
    },
    /// The player's own limits.
    Limits(LimitSet),
    /// The player's exclusion.
    SelfExclude {
        /// Until when, in milliseconds since the epoch.
        until_ms: i64,
    },
}

impl Request {
    pub(super) fn lookup(&self, command_id: &EventId) -> Lookup {
        match self {
            Self::ApplyWager(wager) => Lookup::apply(command_id, &wager.wager_id),
            Self::VoidWager { wager_id, .. } => Lookup::void(command_id, wager_id),
            Self::Report { payment_id, .. } => Lookup::report(command_id, payment_id),
            Self::Payment(_) | Self::Limits(_) | Self::SelfExclude { .. } => Lookup::plain(command_id),
        }
    }

    /// The wager that the decision will void.
    pub(super) fn voids(&self) -> Option<&EventId> {
        match self {
            Self::VoidWager { wager_id, .. } => Some(wager_id),
            _ => None,
        }
    }

    /// The command, with what the decision it refers to says.
    pub(super) fn join(
        &self,
        command_id: &EventId,
        referred: Option<&Entry>,
    ) -> Result<Command, LedgerError> {
        Ok(match self {
            Self::ApplyWager(wager) => Command::ApplyWager(wager.clone()),
            Self::VoidWager { wager_id, reason } => Command::VoidWager(WagerVoid {
                wager_id: wager_id.clone(),
                reason: reason.clone(),
                moved: referred
                    .map(|wager| wager.postings.iter().map(Posting::from).collect())
                    .unwrap_or_default(),
                decided_at_ms: referred.map(|wager| wager.at.timestamp_millis()),
            }),
            Self::Payment(payment) => {
                Command::RequestPayment { payment_id: command_id.clone(), payment: *payment }
            }
            Self::Report { payment_id, captured, provider_reference, amount } => {
                // The payment's decision is written before the provider is asked, so a report without one is not ours.
                let pending =
                    referred.and_then(|asked| asked.payment.as_ref()).ok_or(LedgerError::NoSuchPayment)?;
                Command::SettlePayment(ProviderReport {
                    payment_id: payment_id.clone(),
                    pending: pending.into(),
                    captured: *captured,
                    provider_reference: provider_reference.clone(),
                    amount: *amount,
                })
            }
            Self::Limits(limits) => Command::SetLimits { cause_id: command_id.clone(), limits: *limits },
            Self::SelfExclude { until_ms } => {
                Command::SelfExclude { cause_id: command_id.clone(), until_ms: *until_ms }
            }
        })
    }
}
