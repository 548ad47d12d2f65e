//! Decisions that this process has relayed and seen acknowledged. Only these may be trimmed, because a row that another process
//! wrote does not prove that its event was published.
//!
//! Trimmed decisions stay known for a while. A handler that read the account just before the trim still holds the entry and must
//! not treat it as left behind.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::trace::SpanContext;
use tokio::sync::Notify;

/// Number of acknowledged entries that starts a bulk trim before its interval ends.
pub(super) const TRIM_ENTRIES: usize = 32;

/// Shortest time for which a trimmed entry stays known. A handler never holds an account that it read for so long.
const TRIMMED_KNOWN: Duration = Duration::from_secs(120);
/// Largest number of trimmed entries in each of two generations. Beyond it an event may be published twice, which is harmless.
const TRIMMED_MAX: usize = 65_536;

/// Acknowledged entries by account. Those that are not trimmed yet were relayed within about one second.
#[derive(Debug, Default)]
pub(super) struct Seen {
    state: Mutex<State>,
    enough: Notify,
}

#[derive(Debug, Default)]
struct State {
    accounts: HashMap<String, BTreeSet<i64>>,
    entries: usize,
    traces: Vec<SpanContext>,
    trimmed: Trimmed,
}

/// Trimmed entries in two generations. When the younger one is old enough or full, the older one is dropped.
#[derive(Debug)]
struct Trimmed {
    young: HashMap<String, BTreeSet<i64>>,
    old: HashMap<String, BTreeSet<i64>>,
    young_entries: usize,
    young_since: Instant,
}

impl Default for Trimmed {
    fn default() -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), young_entries: 0, young_since: Instant::now() }
    }
}

impl Trimmed {
    fn add(&mut self, player_id: &str, seq: i64) {
        if self.young_since.elapsed() >= TRIMMED_KNOWN || self.young_entries >= TRIMMED_MAX {
            self.old = std::mem::take(&mut self.young);
            self.young_entries = 0;
            self.young_since = Instant::now();
        }
        if self.young.entry(player_id.to_owned()).or_default().insert(seq) {
            self.young_entries = self.young_entries.saturating_add(1);
        }
    }

    fn contains(&self, player_id: &str, seq: i64) -> bool {
        [&self.young, &self.old]
            .iter()
            .any(|known| known.get(player_id).is_some_and(|seqs| seqs.contains(&seq)))
    }
}

impl Seen {
    /// Records that the entry's row was written and its event acknowledged.
    pub(super) fn acknowledge(&self, player_id: &str, seq: i64, trace: SpanContext) {
        let mut state = self.lock();
        if !state.accounts.entry(player_id.to_owned()).or_default().insert(seq) {
            return;
        }
        state.entries = state.entries.saturating_add(1);
        if trace.is_valid() && state.traces.len() < telemetry::spans::LINKS_MAX {
            state.traces.push(trace);
        }
        if state.entries >= TRIM_ENTRIES {
            self.enough.notify_one();
        }
    }

    /// Returns true when this process need not relay the entry again.
    pub(super) fn is_acknowledged(&self, player_id: &str, seq: i64) -> bool {
        let state = self.lock();
        state.accounts.get(player_id).is_some_and(|seqs| seqs.contains(&seq))
            || state.trimmed.contains(player_id, seq)
    }

    /// Returns the entries of one account that may be trimmed.
    pub(super) fn of(&self, player_id: &str) -> Vec<i64> {
        self.lock().accounts.get(player_id).map(|seqs| seqs.iter().copied().collect()).unwrap_or_default()
    }

    /// Returns the entries of up to `accounts_max` accounts that may be trimmed, and the traces in which they were relayed.
    pub(super) fn all(&self, accounts_max: usize) -> (Vec<(String, Vec<i64>)>, Vec<SpanContext>) {
        let mut state = self.lock();
        let trims = state.accounts.iter().take(accounts_max);
        let trims =
            trims.map(|(player_id, seqs)| (player_id.clone(), seqs.iter().copied().collect())).collect();
        (trims, std::mem::take(&mut state.traces))
    }

    /// Marks entries as trimmed. They are not trimmed again and stay known as acknowledged for a while.
    pub(super) fn mark_trimmed(&self, player_id: &str, seqs: &[i64]) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let Some(known) = state.accounts.get_mut(player_id) else { return };
        let before = known.len();
        for seq in seqs {
            if known.remove(seq) {
                state.trimmed.add(player_id, *seq);
            }
        }
        let removed = before.saturating_sub(known.len());
        if known.is_empty() {
            state.accounts.remove(player_id);
        }
        state.entries = state.entries.saturating_sub(removed);
    }

    pub(super) fn len(&self) -> usize {
        self.lock().entries
    }

    /// Waits until a bulk trim is worthwhile.
    pub(super) async fn enough(&self) {
        self.enough.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code under this lock can panic half-way, so a poisoned lock still holds a consistent state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trimmed_entry_stays_acknowledged() {
        let seen = Seen::default();
        seen.acknowledge("p", 7, SpanContext::empty_context());
        seen.mark_trimmed("p", &[7, 8]);
        assert!(seen.is_acknowledged("p", 7), "or a handler that read earlier relays it again");
        assert!(!seen.is_acknowledged("p", 8), "it was never acknowledged");
        assert_eq!((seen.of("p"), seen.len()), (vec![], 0), "it is not trimmed twice");
    }

    #[test]
    fn number_of_known_trimmed_entries_is_bounded() {
        let mut trimmed = Trimmed::default();
        for seq in 0..i64::try_from(TRIMMED_MAX * 5).unwrap() {
            trimmed.add("p", seq);
        }
        assert!(
            trimmed.young.values().chain(trimmed.old.values()).map(BTreeSet::len).sum::<usize>()
                <= 2 * TRIMMED_MAX
        );
    }
}
