//! Requests of commands, before they are joined with the decisions that they refer to.

use contracts::EventId;
use money::{Money, Posting};

use super::known::Keys;
use super::{Entry, LedgerError};
use crate::domain::{Command, LimitSet, PendingPayment, ProviderReport, Wager, WagerVoid};

/// Request, as its handler parsed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Takes a stake and pays a payout.
    ApplyWager(Wager),
    /// Reverses a wager, or forbids one that has not arrived.
    VoidWager {
        /// Id of the wager.
        wager_id: EventId,
        /// Reason given by the operator.
        reason: String,
    },
    /// Requests a deposit or a withdrawal.
    Payment(PendingPayment),
    /// Reports the outcome of a payment.
    Report {
        /// Id of the payment.
        payment_id: EventId,
        /// True when the money moved.
        captured: bool,
        /// The provider's reference for the payment.
        provider_reference: String,
        /// Amount in the report.
        amount: Money,
    },
    /// Replaces all limits of the player.
    Limits {
        /// The new limits.
        limits: LimitSet,
        /// Wait of a looser limit, in milliseconds.
        loosen_after_ms: i64,
    },
    /// Excludes the player from bets and deposits.
    SelfExclude {
        /// End of the exclusion, in milliseconds since the epoch.
        until_ms: i64,
    },
}

impl Request {
    pub(super) fn keys(&self, command_id: &EventId) -> Keys {
        match self {
            Self::ApplyWager(wager) => Keys::apply(command_id, &wager.wager_id),
            Self::VoidWager { wager_id, .. } => Keys::void(command_id, wager_id),
            Self::Report { payment_id, .. } => Keys::report(command_id, payment_id),
            Self::Payment(_) | Self::Limits { .. } | Self::SelfExclude { .. } => Keys::plain(command_id),
        }
    }

    /// Returns the wager that the decision will void.
    pub(super) fn voids(&self) -> Option<&EventId> {
        match self {
            Self::VoidWager { wager_id, .. } => Some(wager_id),
            _ => None,
        }
    }

    /// Returns the command, with the facts from the decision that it refers to.
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
                // The request is decided before it is sent to the provider, so a report without one is about an unknown payment.
                let pending = referred.and_then(|entry| entry.payment.as_ref());
                let pending = pending.ok_or(LedgerError::NoSuchPayment)?;
                Command::SettlePayment(ProviderReport {
                    payment_id: payment_id.clone(),
                    pending: pending.into(),
                    captured: *captured,
                    provider_reference: provider_reference.clone(),
                    amount: *amount,
                })
            }
            Self::Limits { limits, loosen_after_ms } => Command::SetLimits {
                cause_id: command_id.clone(),
                limits: *limits,
                loosen_after_ms: *loosen_after_ms,
            },
            Self::SelfExclude { until_ms } => {
                Command::SelfExclude { cause_id: command_id.clone(), until_ms: *until_ms }
            }
        })
    }
}
