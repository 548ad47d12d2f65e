//! What happens to payments that do not end by themselves: reports are repeated, a few times and never while the ledger merely
//! lags, and what is open for too long is reported once.

use std::time::Duration;

use bus::lag::Gate;
use contracts::{Classify as _, ErrorClass};

use super::{Intent, Pool, State};
use crate::ledger::LedgerError;

/// Most reports that are repeated in one round.
const REPEATED_MAX: u32 = 8;
/// How often a report is published in all before somebody is told.
const REPORTS_MAX: i64 = 5;
/// Most payments that somebody is told of in one round.
const ESCALATED_MAX: u32 = 16;
/// A command that the ledger has not read after this part of the lease: it lags. A report that is due again is a lease old.
const LAG_OF_LEASE: u64 = 3;

/// A payment is open for too long.
#[derive(Debug, thiserror::Error)]
enum Stuck {
    #[error("a payment is open for too long: {state} after {attempts} attempts")]
    Open { state: &'static str, attempts: i64 },
    #[error(
        "a payment's report was published {reports} times and has not settled it: look at the dead letters"
    )]
    Unsettled { reports: i64 },
}

/// Nothing is repeated any more, and that does not pass by itself.
#[derive(Debug, thiserror::Error)]
#[error(
    "reports of payments are due and were held back for {held_back_s} s: the ledger has old commands to read, or its lag is not known"
)]
struct HeldBack {
    held_back_s: u64,
}

/// What the ledger knows of a payment's end.
enum End {
    /// None yet.
    Open,
    /// It has ended, and is off the list now.
    Known,
    /// Its row is there, and another build wrote it, or it is damaged.
    Unreadable(LedgerError),
}

impl Pool {
    pub(super) async fn upkeep(&self, gate: &mut Gate) {
        if let Err(error) = self.repeat_reports(gate).await {
            tracing::warn!(error = %error, "reports without a settlement were not repeated, trying again");
        }
        if let Err(error) = self.escalate().await {
            tracing::warn!(error = %error, "payments that take too long could not be listed, trying again");
        }
    }

    /// Repeats reports of which the ledger does not know: they were not published, or were parked. One that may still be in the
    /// ledger's queue is not repeated. How many were.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn repeat_reports(&self, gate: &mut Gate) -> Result<usize, LedgerError> {
        let mut repeated: usize = 0;
        let mut lags = None;
        for intent in self.intents.due(State::Reported, REPEATED_MAX).await? {
            match self.end_of(&intent).await? {
                End::Open => {}
                End::Known => continue,
                End::Unreadable(error) => {
                    self.tell(&intent, &error).await?;
                    self.intents.set_aside(&intent.payment_id).await?;
                    continue;
                }
            }
            // Never published: then it cannot be in the queue.
            if intent.reports > 0 {
                let lags = match lags {
                    Some(known) => known,
                    None => *lags.insert(self.lags().await),
                };
                if lags {
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

    /// What the ledger knows of a payment's end. A row that cannot be read is this payment's own trouble.
    async fn end_of(&self, intent: &Intent) -> Result<End, LedgerError> {
        match self.has_ended(&intent.payment_id).await {
            Ok(true) => Ok(End::Known),
            Ok(false) => Ok(End::Open),
            Err(error) if error.class() == ErrorClass::Poison => Ok(End::Unreadable(error)),
            Err(error) => Err(error),
        }
    }

    /// Tells somebody of a payment that does not end by itself, once, whichever process is first.
    async fn tell(
        &self,
        intent: &Intent,
        error: &(dyn std::error::Error + Send + Sync + 'static),
    ) -> Result<(), LedgerError> {
        if self.intents.tell(&intent.payment_id).await? {
            telemetry::report(error, &[("payment.id", &intent.payment_id)]);
        }
        Ok(())
    }

    async fn repeat_report(&self, intent: &Intent) -> Result<(), LedgerError> {
        if intent.reports < REPORTS_MAX {
            self.report(intent).await?;
        } else if self.intents.park(&intent.payment_id).await? {
            let stuck = Stuck::Unsettled { reports: intent.reports };
            telemetry::report(&stuck, &[("payment.id", &intent.payment_id)]);
        }
        Ok(())
    }

    /// Whether the ledger has commands to read that are older than they should be. Not known counts as yes.
    async fn lags(&self) -> bool {
        match self.backlog.read().await {
            Ok(backlog) => backlog.is_older_than(Duration::from_millis(self.config.lease_ms / LAG_OF_LEASE)),
            Err(error) => {
                tracing::warn!(error = %error, "the ledger's lag is not known, so no report is repeated");
                true
            }
        }
    }

    /// Tells of what is open for too long. What the ledger has ended only leaves the list: an older build left such payments.
    async fn escalate(&self) -> Result<(), LedgerError> {
        for intent in self.intents.open_for(self.config.escalate_after_ms, ESCALATED_MAX).await? {
            match self.end_of(&intent).await? {
                End::Known => {}
                End::Open => {
                    let stuck = Stuck::Open { state: intent.state.as_str(), attempts: intent.attempts };
                    self.tell(&intent, &stuck).await?;
                }
                End::Unreadable(error) => self.tell(&intent, &error).await?,
            }
        }
        Ok(())
    }
}
