//! What this process itself saw in the ledger and acknowledged, and has not yet trimmed. Nothing else may be trimmed: a row
//! that somebody else wrote says nothing about its event.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use opentelemetry::trace::SpanContext;
use tokio::sync::Notify;

/// With so many acknowledged entries the bulk trim does not wait for its interval.
pub(super) const TRIM_ENTRIES: usize = 32;

/// Acknowledged entries by account. It holds what was relayed within about one second.
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
}

impl Seen {
    /// This process saw the entry's row written and its event acknowledged.
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

    /// Whether this process needs not relay it again.
    pub(super) fn is_acknowledged(&self, player_id: &str, seq: i64) -> bool {
        self.lock().accounts.get(player_id).is_some_and(|seqs| seqs.contains(&seq))
    }

    /// What may be trimmed from one account.
    pub(super) fn of(&self, player_id: &str) -> Vec<i64> {
        self.lock().accounts.get(player_id).map(|seqs| seqs.iter().copied().collect()).unwrap_or_default()
    }

    /// What may be trimmed anywhere, with the traces it was done in.
    pub(super) fn all(&self, accounts_max: usize) -> (Vec<(String, Vec<i64>)>, Vec<SpanContext>) {
        let mut state = self.lock();
        let trims = state.accounts.iter().take(accounts_max);
        let trims =
            trims.map(|(player_id, seqs)| (player_id.clone(), seqs.iter().copied().collect())).collect();
        (trims, std::mem::take(&mut state.traces))
    }

    /// These are out of the tail.
    pub(super) fn forget(&self, player_id: &str, seqs: &[i64]) {
        let mut state = self.lock();
        let Some(known) = state.accounts.get_mut(player_id) else { return };
        let before = known.len();
        for seq in seqs {
            known.remove(seq);
        }
        let gone = before.saturating_sub(known.len());
        if known.is_empty() {
            state.accounts.remove(player_id);
        }
        state.entries = state.entries.saturating_sub(gone);
    }

    pub(super) fn len(&self) -> usize {
        self.lock().entries
    }

    /// Waits until the bulk trim is worth its while.
    pub(super) async fn enough(&self) {
        self.enough.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here can panic half-way; a poisoned lock still holds a consistent state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
