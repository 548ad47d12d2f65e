//! Relays what a dead process decided and left. It touches only what is older than any living process would leave, so in
//! peace nothing is published twice.

use std::time::Duration;

use bson::DateTime;
use tokio_util::sync::CancellationToken;

use super::{Ledger, LedgerError};

/// Most accounts looked at in one round; the oldest first.
const ACCOUNTS_MAX: u32 = 256;

/// When the sweeper looks, and what it leaves alone.
#[derive(Debug, Clone, Copy)]
pub struct Sweep {
    /// How often it looks.
    pub interval_ms: u64,
    /// What is younger is somebody's work in hand.
    pub older_than_ms: u64,
}

impl Ledger {
    /// One round: how many accounts had something older than `older_than_ms`.
    ///
    /// # Errors
    /// When the accounts cannot be listed; trouble with one account is logged and does not keep the others waiting.
    pub async fn sweep(&self, older_than_ms: u64) -> Result<usize, LedgerError> {
        let age_ms = i64::try_from(older_than_ms).unwrap_or(i64::MAX);
        let cutoff = DateTime::from_millis(DateTime::now().timestamp_millis().saturating_sub(age_ms));
        let accounts = self.accounts.with_tail_before(cutoff, ACCOUNTS_MAX).await?;
        let found = accounts.len();
        for account in accounts {
            if let Err(error) = self.sweep_one(&account, cutoff).await {
                if matches!(error, LedgerError::Diverged { .. } | LedgerError::Killed(_)) {
                    return Err(error);
                }
                tracing::warn!(player.id = account.player_id, error = %error, "tail not relayed, trying again");
            }
        }
        Ok(found)
    }
}

/// Sweeps until told to end.
///
/// # Errors
/// When ledger and account contradict each other: the process stops, somebody has to look.
pub async fn run(ledger: Ledger, sweep: Sweep, stop: CancellationToken) -> Result<(), LedgerError> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(Duration::from_millis(sweep.interval_ms)) => {}
        }
        match ledger.sweep(sweep.older_than_ms).await {
            Ok(0) => {}
            Ok(accounts) => tracing::info!(accounts, "relayed what was left behind"),
            Err(error @ LedgerError::Diverged { .. }) => return Err(error),
            Err(error) => tracing::warn!(error = %error, "sweep failed, trying again"),
        }
    }
}
