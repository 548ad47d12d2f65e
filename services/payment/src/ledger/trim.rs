//! The bulk trim: what no next write has taken along leaves the tails within a second, many accounts in one write.

use std::time::Duration;

use telemetry::spans;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{Ledger, LedgerError, Step};

/// Most accounts in one command.
const ACCOUNTS_MAX: usize = 256;

impl Ledger {
    /// Trims what this process saw through, until nothing of it is left.
    ///
    /// # Errors
    /// When the store does not answer; what was not trimmed is tried again with the next call.
    pub async fn trim(&self) -> Result<(), LedgerError> {
        loop {
            let (trims, traces) = self.seen.all(ACCOUNTS_MAX);
            if trims.is_empty() {
                return Ok(());
            }
            // Work for many records: a transaction of its own, linked to theirs.
            let span = spans::background("payment.trim", traces);
            self.accounts.trim(&trims).instrument(span).await?;
            for (player_id, seqs) in &trims {
                self.seen.forget(player_id, seqs);
                self.hooks.reached(Step::Trimmed, player_id)?;
            }
        }
    }
}

/// Trims every `interval_ms`, or as soon as it is worth its while, until told to end. (The last trim comes after the consumer
/// has ended: see `run` of the crate.)
///
/// # Errors
/// Never by itself: a store that does not answer is tried again.
pub async fn run(ledger: Ledger, interval_ms: u64, stop: CancellationToken) -> Result<(), LedgerError> {
    let interval = Duration::from_millis(interval_ms);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = ledger.seen.enough() => {}
            () = tokio::time::sleep(interval) => {}
        }
        if let Err(error) = ledger.trim().await {
            tracing::warn!(error = %error, entries = ledger.seen.len(), "tails not trimmed, trying again");
            // Not at once again, however many entries ask for it.
            tokio::select! { () = stop.cancelled() => {}, () = tokio::time::sleep(interval) => {} }
        }
    }
}
