//! Relays what a dead process decided and left. It touches only what is older than any living process would leave, so in
//! peace nothing is published twice.

use std::collections::HashSet;
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
    /// One round: how many accounts had something older than `older_than_ms` that can be relayed.
    ///
    /// # Errors
    /// When the accounts cannot be listed; trouble with one account is told and does not keep the others waiting.
    pub async fn sweep(&self, older_than_ms: u64) -> Result<usize, LedgerError> {
        self.sweep_telling(older_than_ms, &mut HashSet::new()).await
    }

    /// [`Ledger::sweep`], telling of a diverged account only when it is not among `told`.
    async fn sweep_telling(
        &self,
        older_than_ms: u64,
        told: &mut HashSet<String>,
    ) -> Result<usize, LedgerError> {
        let age_ms = i64::try_from(older_than_ms).unwrap_or(i64::MAX);
        let cutoff = DateTime::from_millis(DateTime::now().timestamp_millis().saturating_sub(age_ms));
        let accounts = self.accounts.with_tail_before(cutoff, ACCOUNTS_MAX).await?;
        let mut found = accounts.len();
        for account in accounts {
            match self.sweep_one(&account, cutoff).await {
                Ok(()) => {}
                Err(error @ LedgerError::Killed(_)) => return Err(error),
                Err(error @ LedgerError::Diverged { .. }) => {
                    found = found.saturating_sub(1);
                    if told.insert(account.player_id.clone()) {
                        telemetry::report(&error, &[("player.id", &account.player_id)]);
                    }
                }
                Err(error) => {
                    tracing::warn!(player.id = account.player_id, error = %error, "tail not relayed, trying again");
                }
            }
        }
        Ok(found)
    }
}

/// Sweeps until told to end. An account that contradicts the ledger is told of once and left as it is.
///
/// # Errors
/// Never by itself.
pub async fn run(ledger: Ledger, sweep: Sweep, stop: CancellationToken) -> Result<(), LedgerError> {
    let mut told = HashSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(Duration::from_millis(sweep.interval_ms)) => {}
        }
        match ledger.sweep_telling(sweep.older_than_ms, &mut told).await {
            Ok(0) => {}
            Ok(accounts) => tracing::info!(accounts, "relayed what was left behind"),
            Err(error) => tracing::warn!(error = %error, "sweep failed, trying again"),
        }
    }
}
