//! Relays what a dead process decided and left. It touches only what is older than any living process would leave, so in
//! peace nothing is published twice.
//!
//! It never adds to an overload: one account after the other, few in a round, none that this process has in hand, and a round
//! ends with the first failure that is not one account's own. An account that fails is left alone for a while, longer each
//! time, and reported once. Ages are told by the store's time, not by the clock of whoever wrote.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bson::DateTime;
use contracts::{Classify as _, ErrorClass};
use tokio_util::sync::CancellationToken;

use super::{Ledger, LedgerError};

/// Most accounts relayed in one round; the oldest first.
const ACCOUNTS_MAX: u32 = 64;
/// Most accounts that are left alone for a while; more than that are tried again at once.
const LEFT_ALONE_MAX: usize = 1_000;
/// So often an account fails before somebody is told, when the failure might pass.
const FAILURES_MAX: u32 = 10;
/// How long an account that failed is left alone at first, and at most.
const ALONE_MIN: Duration = Duration::from_secs(1);
const ALONE_MAX: Duration = Duration::from_secs(600);

/// When the sweeper looks, and what it leaves alone.
#[derive(Debug, Clone, Copy)]
pub struct Sweep {
    /// How often it looks.
    pub interval_ms: u64,
    /// What is younger is somebody's work in hand.
    pub older_than_ms: u64,
}

/// Accounts that failed: since when, how often, and until when they are left alone.
#[derive(Debug, Default)]
struct Failed {
    accounts: HashMap<String, Failure>,
}

#[derive(Debug)]
struct Failure {
    count: u32,
    until: Instant,
    reported: bool,
}

impl Failed {
    fn left_alone(&self) -> Vec<String> {
        let now = Instant::now();
        self.accounts.iter().filter(|(_, f)| now < f.until).map(|(player_id, _)| player_id.clone()).collect()
    }

    fn note(&mut self, player_id: &str, error: &LedgerError) {
        if self.accounts.len() >= LEFT_ALONE_MAX && !self.accounts.contains_key(player_id) {
            return;
        }
        let fresh = || Failure { count: 0, until: Instant::now(), reported: false };
        let failure = self.accounts.entry(player_id.to_owned()).or_insert_with(fresh);
        failure.count = failure.count.saturating_add(1);
        let pause = ALONE_MIN.saturating_mul(2_u32.saturating_pow(failure.count.min(16) - 1)).min(ALONE_MAX);
        failure.until = Instant::now().checked_add(pause).unwrap_or(failure.until);
        let lasts = error.class() != ErrorClass::Transient || failure.count >= FAILURES_MAX;
        if lasts && !failure.reported {
            failure.reported = true;
            telemetry::report(error, &[("player.id", player_id)]);
        }
    }
}

impl Ledger {
    /// One round: how many accounts had something older than `older_than_ms` that can be relayed.
    ///
    /// # Errors
    /// When the accounts cannot be listed; trouble with one account is told and does not keep the others waiting.
    pub async fn sweep(&self, older_than_ms: u64) -> Result<usize, LedgerError> {
        self.sweep_round(older_than_ms, &mut Failed::default()).await
    }

    async fn sweep_round(&self, older_than_ms: u64, failed: &mut Failed) -> Result<usize, LedgerError> {
        let age_ms = i64::try_from(older_than_ms).unwrap_or(i64::MAX);
        let cutoff = DateTime::from_millis(self.mongo.now().timestamp_millis().saturating_sub(age_ms));
        let accounts = self.accounts.with_tail_before(cutoff, &failed.left_alone(), ACCOUNTS_MAX).await?;
        let mut found: usize = 0;
        for account in accounts.iter().filter(|account| !self.in_hand.has(&account.player_id)) {
            match self.sweep_one(account, cutoff).await {
                Ok(()) => {
                    failed.accounts.remove(&account.player_id);
                }
                Err(error @ LedgerError::Killed(_)) => return Err(error),
                Err(error) if error.class() == ErrorClass::Transient => {
                    tracing::warn!(player.id = account.player_id, error = %error, "tail not relayed, trying again");
                    failed.note(&account.player_id, &error);
                    found = found.saturating_add(1);
                    if matches!(error, LedgerError::Store(_) | LedgerError::Publish(_)) {
                        break; // store or broker: the next account would fare no better
                    }
                    continue;
                }
                Err(error) => {
                    failed.note(&account.player_id, &error);
                    continue;
                }
            }
            found = found.saturating_add(1);
        }
        Ok(found)
    }
}

/// Sweeps until told to end. An account that contradicts the ledger, or cannot be read, is told of once and left as it is.
///
/// # Errors
/// Never by itself.
pub async fn run(ledger: Ledger, sweep: Sweep, stop: CancellationToken) -> Result<(), LedgerError> {
    let mut failed = Failed::default();
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(Duration::from_millis(sweep.interval_ms)) => {}
        }
        match ledger.sweep_round(sweep.older_than_ms, &mut failed).await {
            Ok(0) => {}
            Ok(accounts) => tracing::info!(accounts, "relayed what was left behind"),
            Err(error) => tracing::warn!(error = %error, "sweep failed, trying again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Counts what somebody is told of.
    #[derive(Clone, Default)]
    struct Told(Arc<AtomicUsize>);

    impl Told {
        fn count(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }
    }

    impl tracing::Subscriber for Told {
        fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
            *metadata.level() == tracing::Level::ERROR && metadata.is_event()
        }
        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::Id {
            tracing::Id::from_u64(1)
        }
        fn record(&self, _: &tracing::Id, _: &tracing::span::Record<'_>) {}
        fn record_follows_from(&self, _: &tracing::Id, _: &tracing::Id) {}
        fn event(&self, _: &tracing::Event<'_>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
        fn enter(&self, _: &tracing::Id) {}
        fn exit(&self, _: &tracing::Id) {}
    }

    #[test]
    fn a_failing_account_is_left_alone_longer_each_time_and_reported_once() {
        let told = Told::default();
        tracing::subscriber::with_default(told.clone(), || {
            let mut failed = Failed::default();
            let passing = LedgerError::Contended { attempts: 1 };
            for n in 1..=20_u32 {
                let pause = ALONE_MIN.saturating_mul(2_u32.saturating_pow((n - 1).min(10)));
                let before = Instant::now();
                failed.note("p", &passing);
                assert!(failed.accounts["p"].until >= before + pause.min(ALONE_MAX), "{n}");
                assert_eq!(told.count(), usize::from(n >= FAILURES_MAX), "{n}");
            }
            assert_eq!(failed.left_alone(), ["p"]);
            assert!(failed.accounts["p"].until <= Instant::now() + ALONE_MAX);
            for _ in 0..3 {
                failed.note("q", &LedgerError::Unreadable("x".to_owned()));
                assert_eq!(told.count(), 2, "that does not pass, and is told of once");
            }
        });
    }
}
