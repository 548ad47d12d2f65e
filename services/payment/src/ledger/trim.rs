//! Bulk trim of relayed decisions that no later write to their account has trimmed. One write covers many accounts.

use std::time::Duration;

use telemetry::check_in::Job;
use telemetry::spans;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{Ledger, LedgerError, Step};

/// Largest number of accounts in one command.
const ACCOUNTS_MAX: usize = 256;

impl Ledger {
    /// Trims everything that this process has relayed.
    ///
    /// # Errors
    /// When the store does not answer. The next call retries what was not trimmed.
    pub async fn trim(&self) -> Result<(), LedgerError> {
        loop {
            let (trims, traces) = self.seen.all(ACCOUNTS_MAX);
            if trims.is_empty() {
                return Ok(());
            }
            // The trim serves many records, so it is a separate transaction that is linked to theirs.
            let span = spans::background("payment.trim", traces);
            self.accounts.trim(&trims).instrument(span).await?;
            for (player_id, seqs) in &trims {
                self.seen.mark_trimmed(player_id, seqs);
                self.hooks.reached(Step::Trimmed, player_id)?;
            }
        }
    }
}

/// Trims until `stop`, every `interval_ms` or as soon as enough decisions wait. It never fails, because a failed trim is retried.
/// The last trim runs after the consumer has ended, in `run` of the crate.
pub async fn run(ledger: Ledger, interval_ms: u64, stop: CancellationToken) -> Result<(), LedgerError> {
    let interval = Duration::from_millis(interval_ms);
    let mut job = Job::new("payment-trim", interval);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = ledger.seen.enough() => {}
            () = tokio::time::sleep(interval) => {}
        }
        if let Err(error) = job.run(ledger.trim()).await {
            tracing::warn!(error = %error, entries = ledger.seen.len(), "the tails could not be trimmed, trying again");
            // Waits a full interval before the retry, however many entries wait.
            tokio::select! { () = stop.cancelled() => {}, () = tokio::time::sleep(interval) => {} }
        }
    }
}
