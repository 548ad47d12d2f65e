//! Upkeep of payments that do not end by themselves. A report is repeated a few times, but not while the ledger lags. A payment
//! that is open for too long is reported once.

use std::time::Duration;

use bus::lag::Gate;
use contracts::{Classify as _, ErrorClass};

use super::{Intent, Pool, State};
use crate::ledger::LedgerError;
use crate::provider::rounds::REPORTS_MAX;

/// Largest number of reports repeated in one round.
const REPEATED_MAX: u32 = 8;
/// Largest number of open payments checked in one round.
const ESCALATED_MAX: u32 = 16;
/// Divisor of the lease. The ledger lags when a command is unread for that part of it. A report is repeated after a lease.
const LAG_OF_LEASE: u64 = 3;

/// Error report about a payment that does not end by itself.
#[derive(Debug, thiserror::Error)]
enum Stuck {
    #[error("a payment is open for too long: {state} after {attempts} attempts")]
    Open { state: &'static str, attempts: i64 },
    #[error("a payment's report was published {reports} times without settling it: look at the dead letters")]
    Unsettled { reports: i64 },
}

/// Error that due reports have been held back for too long, which does not pass by itself.
#[derive(Debug, thiserror::Error)]
#[error(
    "reports of payments are due and were held back for {held_back_s} s: the ledger has old unread commands, or its lag is unknown"
)]
struct HeldBack {
    held_back_s: u64,
}

/// State of a payment in the ledger.
enum LedgerState {
    /// The payment is not settled yet.
    Open,
    /// The payment is settled, and now marked as settled on the list.
    Settled,
    /// The payment is settled, but another build wrote the row, or it is damaged.
    Unreadable(LedgerError),
}

impl Pool {
    /// Does both parts of the upkeep. Returns true if both succeeded.
    pub(super) async fn upkeep(&self, gate: &mut Gate) -> bool {
        let repeated = self.repeat_reports(gate).await;
        if let Err(error) = &repeated {
            tracing::warn!(error = %error, "reports without a settlement were not repeated, trying again");
        }
        let escalated = self.escalate().await;
        if let Err(error) = &escalated {
            tracing::warn!(error = %error, "payments that are open for too long could not be reported, trying again");
        }
        repeated.is_ok() && escalated.is_ok()
    }

    /// Repeats due reports that the ledger does not know: they were not published, or are dead letters. A report that may still
    /// be in the ledger's queue is not repeated. Returns the number of repeated reports.
    pub async fn repeat_reports(&self, gate: &mut Gate) -> Result<usize, LedgerError> {
        let mut repeated: usize = 0;
        let mut lags = None;
        for intent in self.intents.due(State::Reported, REPEATED_MAX).await? {
            match self.state_in_ledger(&intent).await? {
                LedgerState::Open => {}
                LedgerState::Settled => continue,
                LedgerState::Unreadable(error) => {
                    self.report_once(&intent, &error).await?;
                    self.intents.postpone_report(&intent.payment_id).await?;
                    continue;
                }
            }
            // A report that was never published cannot be in the queue, so the lag matters only for others.
            if intent.reports > 0 {
                let lags_now = match lags {
                    Some(lags) => lags,
                    None => *lags.insert(self.lags().await),
                };
                if lags_now {
                    continue;
                }
            }
            self.repeat_report(&intent).await?;
            repeated = repeated.saturating_add(1);
        }
        if let Some(held_back) = gate.note(lags == Some(true)) {
            telemetry::report(&HeldBack { held_back_s: held_back.as_secs() }, &[]);
        }
        Ok(repeated)
    }

    /// Returns the state of a payment in the ledger. An unreadable row is a problem of this payment only.
    async fn state_in_ledger(&self, intent: &Intent) -> Result<LedgerState, LedgerError> {
        match self.is_settled(&intent.payment_id).await {
            Ok(true) => Ok(LedgerState::Settled),
            Ok(false) => Ok(LedgerState::Open),
            Err(error) if error.class() == ErrorClass::Poison => Ok(LedgerState::Unreadable(error)),
            Err(error) => Err(error),
        }
    }

    /// Reports a payment that does not end by itself, once across all processes.
    async fn report_once(
        &self,
        intent: &Intent,
        error: &(dyn std::error::Error + Send + Sync + 'static),
    ) -> Result<(), LedgerError> {
        if self.intents.mark_escalated(&intent.payment_id).await? {
            telemetry::report(error, &[("payment.id", &intent.payment_id)]);
        }
        Ok(())
    }

    async fn repeat_report(&self, intent: &Intent) -> Result<(), LedgerError> {
        if intent.reports < REPORTS_MAX {
            self.report(intent).await?;
        } else if self.intents.park(&intent.payment_id, State::Reported).await? {
            let stuck = Stuck::Unsettled { reports: intent.reports };
            telemetry::report(&stuck, &[("payment.id", &intent.payment_id)]);
        }
        Ok(())
    }

    /// Returns true when the ledger has unread commands that are too old, or when the lag is unknown.
    async fn lags(&self) -> bool {
        match self.backlog.read().await {
            Ok(backlog) => backlog.is_older_than(Duration::from_millis(self.config.lease_ms / LAG_OF_LEASE)),
            Err(error) => {
                tracing::warn!(error = %error, "the ledger's lag is unknown, so no report is repeated");
                true
            }
        }
    }

    /// Reports payments that are open for too long. Settled ones, left there by an older build, only leave the list.
    async fn escalate(&self) -> Result<(), LedgerError> {
        for intent in self.intents.open_for(self.config.escalate_after_ms, ESCALATED_MAX).await? {
            match self.state_in_ledger(&intent).await? {
                LedgerState::Settled => {}
                LedgerState::Open => {
                    let stuck = Stuck::Open { state: intent.state.as_str(), attempts: intent.attempts };
                    self.report_once(&intent, &stuck).await?;
                }
                LedgerState::Unreadable(error) => self.report_once(&intent, &error).await?,
            }
        }
        Ok(())
    }
}
