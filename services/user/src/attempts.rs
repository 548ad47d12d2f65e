//! How often one account may be tried. Guesses are counted by account, whoever makes them, from wherever, in whichever replica.
//!
//! The promises: wrong passwords of one account reach the hasher a bounded number of times in a window, also when they come at
//! once; whoever knows the password gets in after the wait; the memory is bounded. Replicas count together in the cache; while
//! it is away each counts alone ([`Account`]). An address that nobody has is counted like any other, so the answers tell
//! nothing about it. What stands in the cache is a hash of the address.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};
use store::bson::DateTime;
use store::redis::{Cache, CacheError};

use crate::config;
use crate::domain::attempts::{Account, Rule};
use crate::error::UserError;

/// SHA-256 of the normalised e-mail address.
type Key = [u8; 32];

/// The counters; cheap to clone.
#[derive(Clone)]
pub struct Attempts {
    shared: Arc<Shared>,
}

struct Shared {
    cache: Cache,
    rule: Rule,
    accounts_max: usize,
    accounts: Mutex<HashMap<Key, Account>>,
}

/// One attempt that was let through. Dropped without a word, it counts as nothing: nobody was told whether the guess was right.
pub(crate) struct Attempt {
    shared: Arc<Shared>,
    key: Key,
}

impl std::fmt::Debug for Attempts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attempts").field("rule", &self.shared.rule).finish_non_exhaustive()
    }
}

impl Attempts {
    /// With these bounds.
    #[must_use]
    pub fn new(cache: Cache, config: config::Attempts) -> Self {
        let ms = |seconds: u32| i64::from(seconds).saturating_mul(1_000);
        let rule = Rule {
            failures_max: config.failures_max,
            window_ms: ms(config.window_s),
            wait_ms_min: ms(config.wait_s_min),
            wait_ms_max: ms(config.wait_s_max.max(config.wait_s_min)),
        };
        let shared = Shared { cache, rule, accounts_max: config.accounts_max, accounts: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    /// Begins an attempt at the account of this address, in the form in which addresses are unique.
    ///
    /// # Errors
    /// [`UserError::TooManyAttempts`] when the account has to wait.
    pub(crate) async fn begin(&self, email_key: &str) -> Result<Attempt, UserError> {
        let key: Key = Sha256::digest(email_key.as_bytes()).into();
        let now_ms = DateTime::now().timestamp_millis();
        self.shared.begin(key, now_ms)?;
        // From here on the attempt ends with this value, also when the caller goes away while the cache is asked.
        let attempt = Attempt { shared: Arc::clone(&self.shared), key };
        if let Some(until_ms) = self.shared.waits_everywhere(&key).await
            && now_ms < until_ms
        {
            // A clock that is ahead does not shut anybody out for longer than the rule.
            let until_ms = until_ms.min(now_ms.saturating_add(self.shared.rule.wait_ms_max));
            self.shared.update(&key, |account| account.wait(until_ms));
            return Err(refused(until_ms.saturating_sub(now_ms)));
        }
        Ok(attempt)
    }
}

impl Attempt {
    /// The guess was wrong.
    pub(crate) async fn failed(self) {
        let now_ms = DateTime::now().timestamp_millis();
        self.shared.update(&self.key, |account| account.failed(&self.shared.rule, now_ms));
        if let Err(error) = self.shared.failed_everywhere(&self.key, now_ms).await {
            tracing::debug!(error = %error, "a wrong password is counted by this process alone");
        }
    }

    /// The guess was right.
    pub(crate) async fn succeeded(self) {
        self.shared.update(&self.key, Account::succeeded);
        for counter in [FAILURES, STRIKES] {
            if let Err(error) = self.shared.cache.remove(&cache_key(counter, &self.key)).await {
                tracing::debug!(error = %error, "wrong passwords stay counted for a while");
                return;
            }
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.shared.update(&self.key, Account::end);
    }
}

/// The counters of one account in the cache.
const FAILURES: &str = "log-in-failures";
const STRIKES: &str = "log-in-strikes";
const WAIT: &str = "log-in-wait";

fn cache_key(counter: &str, key: &Key) -> String {
    format!("{counter}:{}", hex::encode(key))
}

fn seconds(ms: i64) -> u64 {
    u64::try_from(ms.max(0)).unwrap_or_default().div_ceil(1_000)
}

fn refused(wait_ms: i64) -> UserError {
    UserError::TooManyAttempts { wait_s: seconds(wait_ms).max(1) }
}

impl Shared {
    fn begin(&self, key: Key, now_ms: i64) -> Result<(), UserError> {
        let mut accounts = self.lock();
        if accounts.len() >= self.accounts_max && !accounts.contains_key(&key) {
            accounts.retain(|_, account| account.matters(now_ms));
            // Full of accounts that are being guessed at: whoever comes now waits until one of them has rested.
            if accounts.len() >= self.accounts_max {
                return Err(refused(1_000));
            }
        }
        accounts.entry(key).or_default().begin(&self.rule, now_ms).map_err(refused)
    }

    /// The entry is there for as long as an attempt is.
    fn update(&self, key: &Key, change: impl FnOnce(&mut Account)) {
        if let Some(account) = self.lock().get_mut(key) {
            change(account);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Account>> {
        // Nothing panics while it is held, and each account is whole after each of its operations.
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until when the replicas together let this account wait.
    async fn waits_everywhere(&self, key: &Key) -> Option<i64> {
        match self.cache.get(&cache_key(WAIT, key)).await {
            Ok(found) => std::str::from_utf8(&found?).ok()?.parse().ok(),
            Err(error) => {
                tracing::debug!(error = %error, "wrong passwords are counted by this process alone");
                None
            }
        }
    }

    async fn failed_everywhere(&self, key: &Key, now_ms: i64) -> Result<(), CacheError> {
        let failures = cache_key(FAILURES, key);
        let count = self.cache.incr_window(&failures, seconds(self.rule.window_ms)).await?;
        if count < u64::from(self.rule.failures_max) {
            return Ok(());
        }
        let strikes_s = seconds(self.rule.strikes_ms());
        let strikes = self.cache.incr_window(&cache_key(STRIKES, key), strikes_s).await?;
        let wait_ms = self.rule.wait_ms(strikes);
        let until_ms = now_ms.saturating_add(wait_ms);
        self.cache.put(&cache_key(WAIT, key), until_ms.to_string(), seconds(wait_ms)).await?;
        self.cache.remove(&failures).await?;
        self.update(key, |account| account.wait(until_ms));
        Ok(())
    }
}
