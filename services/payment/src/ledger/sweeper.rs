//! Relays decisions that a dead process left behind. It handles only those older than any living process would leave, so normally
//! it publishes nothing twice.
//!
//! It never adds to an overload. It relays one account at a time and few per round, and skips accounts that this process is
//! working on. A round ends at the first transient failure of the store or the broker. An account that fails is paused, longer
//! each time, and reported once. Ages follow the store's time and not the clock of the process that wrote.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bson::DateTime;
use contracts::{Classify as _, ErrorClass};
use telemetry::check_in::Job;
use tokio_util::sync::CancellationToken;

use super::relay::Origin;
use super::{Ledger, LedgerError};

/// Largest number of accounts relayed in one round, oldest first.
const ACCOUNTS_MAX: u32 = 64;
/// Largest number of paused accounts. Further failing accounts are retried in the next round.
const PAUSED_MAX: usize = 1_000;
/// Number of transient failures of one account before they are reported.
const FAILURES_MAX: u32 = 10;
/// First and longest pause of an account that failed. The pause doubles with each failure.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// Timing of the sweeper.
#[derive(Debug, Clone, Copy)]
pub struct Sweep {
    /// Interval between two sweeps.
    pub interval_ms: u64,
    /// Age at which a decision is swept. A younger one may be in flight.
    pub older_than_ms: u64,
}

/// Accounts that failed, with the number of failures and the end of the pause.
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
    fn paused(&self) -> Vec<String> {
        let now = Instant::now();
        self.accounts.iter().filter(|(_, f)| now < f.until).map(|(player_id, _)| player_id.clone()).collect()
    }

    fn note(&mut self, player_id: &str, error: &LedgerError) {
        if self.accounts.len() >= PAUSED_MAX && !self.accounts.contains_key(player_id) {
            return;
        }
        let fresh = || Failure { count: 0, until: Instant::now(), reported: false };
        let failure = self.accounts.entry(player_id.to_owned()).or_insert_with(fresh);
        failure.count = failure.count.saturating_add(1);
        let pause = PAUSE_MIN.saturating_mul(2_u32.saturating_pow(failure.count.min(16) - 1)).min(PAUSE_MAX);
        failure.until = Instant::now().checked_add(pause).unwrap_or(failure.until);
        let lasts = error.class() != ErrorClass::Transient || failure.count >= FAILURES_MAX;
        if lasts && !failure.reported {
            failure.reported = true;
            telemetry::report(error, &[("player.id", player_id)]);
        }
    }
}

impl Ledger {
    /// Runs one round. Returns the number of accounts with decisions older than `older_than_ms`, relayed or to be retried.
    ///
    /// # Errors
    /// When the accounts cannot be listed. The failure of one account is logged or reported instead.
    pub async fn sweep(&self, older_than_ms: u64) -> Result<usize, LedgerError> {
        self.sweep_round(older_than_ms, &mut Failed::default()).await
    }

    async fn sweep_round(&self, older_than_ms: u64, failed: &mut Failed) -> Result<usize, LedgerError> {
        let age_ms = i64::try_from(older_than_ms).unwrap_or(i64::MAX);
        let cutoff = DateTime::from_millis(self.mongo.now().timestamp_millis().saturating_sub(age_ms));
        let accounts = self.accounts.with_tail_before(cutoff, &failed.paused(), ACCOUNTS_MAX).await?;
        let mut found: usize = 0;
        for account in accounts.iter().filter(|account| !self.in_flight.contains(&account.player_id)) {
            match self.relay_and_trim(account, Origin::Sweeper, |entry| entry.at < cutoff).await {
                Ok(()) => {
                    failed.accounts.remove(&account.player_id);
                }
                Err(error @ LedgerError::Killed(_)) => return Err(error),
                Err(error) if error.class() == ErrorClass::Transient => {
                    tracing::warn!(player.id = account.player_id, error = %error, "tail not relayed, trying again later");
                    failed.note(&account.player_id, &error);
                    found = found.saturating_add(1);
                    if matches!(error, LedgerError::Store(_) | LedgerError::Publish(_)) {
                        break; // the next account would fail too
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

/// Sweeps until `stop` and never fails. An account that contradicts the ledger, or cannot be read, is reported once.
pub async fn run(ledger: Ledger, sweep: Sweep, stop: CancellationToken) -> Result<(), LedgerError> {
    let mut failed = Failed::default();
    let interval = Duration::from_millis(sweep.interval_ms);
    let mut job = Job::new("payment-sweeper", interval);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(interval) => {}
        }
        match job.run(ledger.sweep_round(sweep.older_than_ms, &mut failed)).await {
            Ok(0) => {}
            Ok(accounts) => tracing::info!(accounts, "relayed decisions that a dead process left behind"),
            Err(error) => {
                tracing::warn!(error = %error, "accounts could not be listed for a sweep, trying again")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Counts error reports.
    #[derive(Clone, Default)]
    struct ErrorCount(Arc<AtomicUsize>);

    impl ErrorCount {
        fn get(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }
    }

    impl tracing::Subscriber for ErrorCount {
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
    fn failing_account_pauses_longer_each_time() {
        let errors = ErrorCount::default();
        tracing::subscriber::with_default(errors.clone(), || {
            let mut failed = Failed::default();
            let transient = LedgerError::Contended { attempts: 1 };
            for n in 1..=20_u32 {
                let pause = PAUSE_MIN.saturating_mul(2_u32.saturating_pow((n - 1).min(10)));
                let before = Instant::now();
                failed.note("p", &transient);
                assert!(failed.accounts["p"].until >= before + pause.min(PAUSE_MAX), "{n}");
                assert_eq!(errors.get(), usize::from(n >= FAILURES_MAX), "{n}");
            }
            assert_eq!(failed.paused(), ["p"]);
            assert!(failed.accounts["p"].until <= Instant::now() + PAUSE_MAX);
            for _ in 0..3 {
                failed.note("q", &LedgerError::Unreadable("x".to_owned()));
                assert_eq!(errors.get(), 2, "a permanent failure is reported at once, and only once");
            }
        });
    }
}
