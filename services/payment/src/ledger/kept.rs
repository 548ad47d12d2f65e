//! Accounts as this process last wrote them, so that its next decision about the same player needs no read of the account.
//!
//! A kept account is one that was read early: at the moment of its write. Whatever happens between a read and the compare-and-set is
//! harmless (`models/`), however long it takes. So is a kept account that another process has changed since: the compare-and-set
//! fails, and the next attempt reads. The ledger is read for every decision, at a time after that write.
//!
//! An account is taken out when it is used, and kept again only when its next decision is written, relayed and acknowledged. A
//! failure at any point in between leaves nothing to be wrong about.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::accounts::ReadAccount;

/// Largest number of accounts in each of two generations.
const ACCOUNTS_MAX: usize = 512;
/// Largest tail of a kept account. A tail that this process alone writes has one entry.
const KEPT_TAIL_ENTRIES_MAX: usize = 4;
/// Longest time for which an account is kept. Relayed entries stay known for longer (`seen.rs`), so none of them is relayed again.
const KEPT_MAX: Duration = Duration::from_secs(30);

/// Accounts in two generations. When the younger one is full, the older one is dropped.
#[derive(Debug, Default)]
pub(super) struct Kept {
    generations: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<String, Since>,
    old: HashMap<String, Since>,
}

#[derive(Debug)]
struct Since {
    account: ReadAccount,
    written: Instant,
}

impl Kept {
    /// Keeps an account that was just written.
    pub(super) fn put(&self, account: ReadAccount) {
        self.put_at(account, Instant::now());
    }

    /// Removes the account and returns it, unless it is too old.
    pub(super) fn take(&self, player_id: &str) -> Option<ReadAccount> {
        self.take_at(player_id, Instant::now())
    }

    fn put_at(&self, account: ReadAccount, written: Instant) {
        if account.document.tail.len() > KEPT_TAIL_ENTRIES_MAX {
            return;
        }
        let mut generations = self.lock();
        if generations.young.len() >= ACCOUNTS_MAX {
            generations.old = std::mem::take(&mut generations.young);
        }
        let player_id = account.document.player_id.clone();
        generations.young.insert(player_id, Since { account, written });
    }

    fn take_at(&self, player_id: &str, now: Instant) -> Option<ReadAccount> {
        let mut generations = self.lock();
        let old = generations.old.remove(player_id);
        let kept = generations.young.remove(player_id).or(old)?;
        (now.saturating_duration_since(kept.written) < KEPT_MAX).then_some(kept.account)
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        // No code under this lock can panic half-way, so a poisoned lock still holds a consistent state.
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use bson::DateTime;
    use store::mongo::CausalTime;

    use super::*;
    use crate::ledger::{AccountDoc, Entry};

    fn account(player_id: &str, version: i64) -> ReadAccount {
        let document = AccountDoc { version, ..AccountDoc::new(player_id, None) };
        ReadAccount { document, at: CausalTime::default() }
    }

    fn version(taken: Option<ReadAccount>) -> Option<i64> {
        taken.map(|account| account.document.version)
    }

    #[test]
    fn account_is_used_once() {
        let kept = Kept::default();
        kept.put(account("p", 1));
        kept.put(account("p", 2));
        assert_eq!(version(kept.take("q")), None);
        assert_eq!(version(kept.take("p")), Some(2), "the latest");
        assert_eq!(version(kept.take("p")), None);
    }

    #[test]
    fn account_of_an_older_generation_is_replaced() {
        let kept = Kept::default();
        kept.put(account("p", 1));
        for n in 0..ACCOUNTS_MAX {
            kept.put(account(&n.to_string(), 0));
        }
        assert!(kept.lock().old.contains_key("p"));
        kept.put(account("p", 2));
        assert_eq!(version(kept.take("p")), Some(2));
        assert_eq!(version(kept.take("p")), None, "the older one is gone, too");
    }

    #[test]
    fn old_account_is_not_used() {
        let (kept, now) = (Kept::default(), Instant::now());
        kept.put_at(account("p", 1), now);
        assert_eq!(version(kept.take_at("p", now + KEPT_MAX)), None);
        kept.put_at(account("p", 1), now);
        assert_eq!(version(kept.take_at("p", now + KEPT_MAX - Duration::from_millis(1))), Some(1));
    }

    #[test]
    fn memory_is_bounded() {
        let kept = Kept::default();
        for n in 0..ACCOUNTS_MAX * 5 {
            kept.put(account(&n.to_string(), 0));
        }
        let generations = kept.lock();
        assert!(generations.young.len() + generations.old.len() <= 2 * ACCOUNTS_MAX);
        drop(generations);
        let entry: Entry = bson::deserialize_from_document(bson::doc! {
            "seq": 1_i64, "command_id": "c", "keys": ["c:c"], "request_hash": "h", "type": "t", "outcome": "applied",
            "postings": [], "trace": {}, "at": DateTime::from_millis(0),
        })
        .unwrap();
        let mut long = account("long", 0);
        long.document.tail = vec![entry; KEPT_TAIL_ENTRIES_MAX + 1];
        kept.put(long);
        assert_eq!(version(kept.take("long")), None, "a long tail is not kept");
    }
}
