//! Limits wrong passwords per account. Each guess counts by account and network, and with a looser limit by account alone.
//!
//! It guarantees that a bounded number of wrong passwords per account and window is answered, even when they arrive at once. A
//! guess from one network does not block other networks below the looser limit. The right password is accepted after the wait.
//! Memory is bounded. A client that disconnects before the answer learns nothing, so its guess is not counted. Replicas count
//! together in the cache, and each counts alone while it is away ([`Account`]). An unknown address is counted like any other, so
//! answers reveal nothing about it. The cache holds only hashes of addresses and networks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};
use store::bson::DateTime;
use store::redis::{Cache, CacheError};

use crate::config;
use crate::domain::attempts::{Account, Rule};
use crate::error::UserError;

/// SHA-256 of the normalised e-mail address, or of the address and a network.
type Key = [u8; 32];

/// A key to count attempts by, with its rule.
#[derive(Clone, Copy)]
struct Count {
    key: Key,
    rule: Rule,
}

/// The counters. Cheap to clone.
#[derive(Clone)]
pub struct Attempts {
    shared: Arc<Shared>,
}

struct Shared {
    cache: Cache,
    /// For guesses from one network.
    network_rule: Rule,
    /// For guesses from all networks together.
    account_rule: Rule,
    accounts_max: usize,
    accounts: Mutex<HashMap<Key, Account>>,
}

/// One accepted attempt. If it is dropped without a result, it counts as nothing, because the caller learnt nothing.
pub(crate) struct Attempt {
    shared: Arc<Shared>,
    /// True while the counts include it as being checked.
    in_flight: bool,
    /// By account and network.
    by_network: Count,
    /// By account.
    by_account: Count,
}

impl std::fmt::Debug for Attempts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Shared { network_rule, account_rule, .. } = &*self.shared;
        f.debug_struct("Attempts")
            .field("network_rule", network_rule)
            .field("account_rule", account_rule)
            .finish_non_exhaustive()
    }
}

impl Attempts {
    /// Creates counters with these limits.
    #[must_use]
    pub fn new(cache: Cache, config: config::Attempts) -> Self {
        let ms = |seconds: u32| i64::from(seconds).saturating_mul(1_000);
        let network_rule = Rule {
            failures_max: config.failures_max,
            window_ms: ms(config.window_s),
            wait_ms_min: ms(config.wait_s_min),
            wait_ms_max: ms(config.wait_s_max.max(config.wait_s_min)),
        };
        let failures_max = config.account_failures_max.max(config.failures_max);
        let account_rule = Rule { failures_max, ..network_rule };
        let (accounts_max, accounts) = (config.accounts_max, Mutex::default());
        Self { shared: Arc::new(Shared { cache, network_rule, account_rule, accounts_max, accounts }) }
    }

    /// Begins an attempt at the account with this normalised address, from this network. Callers without a network share one
    /// count.
    ///
    /// # Errors
    /// [`UserError::TooManyAttempts`] when the network or the account has to wait.
    pub(crate) async fn begin(&self, email_key: &str, network: Option<&str>) -> Result<Attempt, UserError> {
        let now_ms = DateTime::now().timestamp_millis();
        let account_and_network = [email_key, network.unwrap_or_default()].join("\n");
        let by_network = Count { key: hash(&account_and_network), rule: self.shared.network_rule };
        let by_account = Count { key: hash(email_key), rule: self.shared.account_rule };
        self.shared.begin(&by_network, &by_account, now_ms)?;
        // From here on, dropping this value ends the attempt, even when the caller disconnects during the cache read.
        let attempt = Attempt { shared: Arc::clone(&self.shared), in_flight: true, by_network, by_account };
        for count in attempt.counts() {
            self.shared.check_shared_wait(count, now_ms).await?;
        }
        Ok(attempt)
    }
}

impl Attempt {
    /// Counts a wrong guess.
    pub(crate) async fn failed(mut self) {
        let now_ms = DateTime::now().timestamp_millis();
        // Moves from in flight to failed in one step. Counted as both during the cache writes, it would block another guess.
        self.in_flight = false;
        for count in self.counts() {
            self.shared.fail(count, now_ms);
        }
        for count in self.counts() {
            if let Err(error) = self.shared.count_in_cache(count, now_ms).await {
                tracing::debug!(error = %error, "a wrong password was counted by this process only, not in the cache");
            }
        }
    }

    /// Handles the right password: the failures of its network are deleted. Failures from other networks stay, because they were
    /// not the owner's.
    pub(crate) async fn succeeded(self) {
        let key = &self.by_network.key;
        self.shared.update(key, Account::succeeded);
        for counter in [FAILURES, STRIKES] {
            if let Err(error) = self.shared.cache.remove(&cache_key(counter, key)).await {
                tracing::debug!(error = %error, "the counts of wrong passwords could not be deleted from the cache");
                return;
            }
        }
    }

    fn counts(&self) -> [&Count; 2] {
        [&self.by_network, &self.by_account]
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.in_flight {
            return;
        }
        for count in self.counts() {
            self.shared.update(&count.key, Account::end);
        }
    }
}

/// Prefixes of the cache keys for one account, or for one network at it.
const FAILURES: &str = "log-in-failures";
const STRIKES: &str = "log-in-strikes";
const WAIT: &str = "log-in-wait";

fn hash(text: &str) -> Key {
    Sha256::digest(text.as_bytes()).into()
}

fn cache_key(counter: &str, key: &Key) -> String {
    format!("{counter}:{}", hex::encode(key))
}

fn seconds(ms: i64) -> u64 {
    u64::try_from(ms.max(0)).unwrap_or_default().div_ceil(1_000)
}

fn refusal(wait_ms: i64) -> UserError {
    UserError::TooManyAttempts { wait_s: seconds(wait_ms).max(1) }
}

impl Shared {
    fn begin(&self, by_network: &Count, by_account: &Count, now_ms: i64) -> Result<(), UserError> {
        let mut accounts = self.lock();
        let unknown = [by_network, by_account].into_iter().filter(|count| !accounts.contains_key(&count.key));
        let room = self.accounts_max.saturating_sub(unknown.count());
        if accounts.len() > room {
            accounts.retain(|_, account| account.is_active(now_ms));
            // Full of accounts with recent guesses. New ones are refused until one of these becomes idle.
            if accounts.len() > room {
                return Err(refusal(1_000));
            }
        }
        accounts.entry(by_network.key).or_default().begin(&by_network.rule, now_ms).map_err(refusal)?;
        let result = accounts.entry(by_account.key).or_default().begin(&by_account.rule, now_ms);
        if result.is_err() {
            accounts.entry(by_network.key).or_default().end();
        }
        result.map_err(refusal)
    }

    /// Refuses the attempt while all replicas together let this count wait.
    async fn check_shared_wait(&self, count: &Count, now_ms: i64) -> Result<(), UserError> {
        let Some(until_ms) = self.shared_wait_end_ms(&count.key).await.filter(|until_ms| now_ms < *until_ms)
        else {
            return Ok(());
        };
        // A clock that is ahead cannot extend the wait beyond the rule's maximum.
        let until_ms = until_ms.min(now_ms.saturating_add(count.rule.wait_ms_max));
        self.update(&count.key, |account| account.wait(until_ms));
        Err(refusal(until_ms.saturating_sub(now_ms)))
    }

    /// Ends an attempt as a failure.
    fn fail(&self, count: &Count, now_ms: i64) {
        self.update(&count.key, |account| {
            account.failed(&count.rule, now_ms);
            account.end();
        });
    }

    /// Changes an entry. It exists as long as an attempt of it is in flight.
    fn update(&self, key: &Key, change: impl FnOnce(&mut Account)) {
        if let Some(account) = self.lock().get_mut(key) {
            change(account);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Account>> {
        // A poisoned lock is safe to use: no code panics under it, and each operation leaves the account consistent.
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the end of the wait that all replicas share.
    async fn shared_wait_end_ms(&self, key: &Key) -> Option<i64> {
        match self.cache.get(&cache_key(WAIT, key)).await {
            Ok(found) => std::str::from_utf8(&found?).ok()?.parse().ok(),
            Err(error) => {
                tracing::debug!(error = %error, "the shared wait of an account could not be read from the cache");
                None
            }
        }
    }

    async fn count_in_cache(&self, count: &Count, now_ms: i64) -> Result<(), CacheError> {
        let Count { key, rule } = count;
        let failures = cache_key(FAILURES, key);
        let failed = self.cache.incr_window(&failures, seconds(rule.window_ms)).await?;
        if failed < u64::from(rule.failures_max) {
            return Ok(());
        }
        let strikes_s = seconds(rule.strikes_ms());
        let strikes = self.cache.incr_window(&cache_key(STRIKES, key), strikes_s).await?;
        let wait_ms = rule.wait_ms(strikes);
        let until_ms = now_ms.saturating_add(wait_ms);
        self.cache.put(&cache_key(WAIT, key), until_ms.to_string(), seconds(wait_ms)).await?;
        self.cache.remove(&failures).await?;
        self.update(key, |account| account.wait(until_ms));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::players::offline;

    const NOW_MS: i64 = 1_793_534_400_000;

    /// Counts of an account and of one network at it.
    fn counts(attempts: &Attempts, account: &str) -> [Count; 2] {
        let Shared { network_rule, account_rule, .. } = &*attempts.shared;
        [
            Count { key: hash(&format!("{account}\n")), rule: *network_rule },
            Count { key: hash(account), rule: *account_rule },
        ]
    }

    fn begin(attempts: &Attempts, account: &str, now_ms: i64) -> bool {
        let [by_network, by_account] = counts(attempts, account);
        match attempts.shared.begin(&by_network, &by_account, now_ms) {
            Ok(()) => true,
            Err(UserError::TooManyAttempts { wait_s }) => {
                assert_eq!(wait_s, 1);
                false
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn fail(attempts: &Attempts, account: &str, now_ms: i64) {
        for count in counts(attempts, account) {
            attempts.shared.fail(&count, now_ms);
        }
    }

    #[tokio::test]
    async fn failed_guess_counts_once_during_cache_write() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let attempts = offline::attempts_with_cache(&silent.local_addr().unwrap().to_string(), 1_000);
        let first = attempts.begin("a", None).await.unwrap();
        let mut failing = Box::pin(first.failed());
        assert!(futures::poll!(&mut failing).is_pending(), "this cache never answers");
        let now_ms = DateTime::now().timestamp_millis();
        for number in 2..=10 {
            assert!(begin(&attempts, "a", now_ms), "guess {number} of 10");
        }
        assert!(!begin(&attempts, "a", now_ms));
    }

    #[test]
    fn full_memory_refuses_only_new_accounts() {
        let attempts = offline::attempts(4);
        for account in ["a", "b"] {
            assert!(begin(&attempts, account, NOW_MS), "{account}");
            fail(&attempts, account, NOW_MS);
        }
        assert!(!begin(&attempts, "c", NOW_MS));
        assert!(begin(&attempts, "a", NOW_MS));
        assert_eq!(attempts.shared.lock().len(), 4);
    }

    #[test]
    fn only_idle_accounts_are_evicted() {
        let attempts = offline::attempts(4);
        for account in ["idle", "active"] {
            assert!(begin(&attempts, account, NOW_MS), "{account}");
        }
        fail(&attempts, "idle", NOW_MS);
        // The window is a minute long.
        assert!(!begin(&attempts, "c", NOW_MS + 59_999));
        assert!(begin(&attempts, "c", NOW_MS + 60_000));
        assert!(!begin(&attempts, "d", NOW_MS + 60_000), "two accounts are active");
        assert_eq!(attempts.shared.lock().len(), 4);
    }
}
