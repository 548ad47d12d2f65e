//! Receipts: how often the supervisor really applied each fault, and what may still be in effect.
//!
//! The file outlives the supervisor. That a fault may be in effect is written before it is applied, so that the next supervisor
//! reverts what a killed one could not.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use faults::{Armed, FaultId};
use runtime::Layout;
use runtime::layout::write_private;
use serde::{Deserialize, Serialize};

/// Entries by the fault's name.
type Entries = BTreeMap<String, Entry>;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Entry {
    /// Number of times that the fault was applied and its effect observed.
    applied: u64,
    /// It may be in effect now.
    in_effect: bool,
    /// The arming for which a fault that acts once has acted.
    done_for: Option<String>,
    /// Reason why it is not applied, or not reverted, although it should be.
    problem: Option<String>,
}

/// Number of times that each fault was really applied. Faults that never were are left out.
#[must_use]
pub fn read(layout: &Layout) -> BTreeMap<FaultId, u64> {
    let entries = load(&layout.fault_receipts_file()).into_iter();
    let counts = entries.filter_map(|(name, entry)| Some((name.parse().ok()?, entry.applied)));
    counts.filter(|(_, applied)| *applied > 0).collect()
}

/// Returns the reasons why faults are not applied, or not reverted, although they should be.
#[must_use]
pub fn problems(layout: &Layout) -> BTreeMap<FaultId, String> {
    let entries = load(&layout.fault_receipts_file()).into_iter();
    entries.filter_map(|(name, entry)| Some((name.parse().ok()?, entry.problem?))).collect()
}

/// A missing or unreadable file has no entries.
fn load(path: &Path) -> Entries {
    let text = std::fs::read(path).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// The receipts of the running supervisor, in memory and in the file.
#[derive(Debug)]
pub(crate) struct Receipts {
    path: PathBuf,
    entries: RefCell<Entries>,
}

impl Receipts {
    /// Continues the file of an earlier supervisor.
    pub(crate) fn open(layout: &Layout) -> Self {
        let path = layout.fault_receipts_file();
        let entries = RefCell::new(load(&path));
        Self { path, entries }
    }

    /// Notes that the fault may be in effect from now on.
    pub(crate) fn begin(&self, id: FaultId) {
        self.change(id, |entry| entry.in_effect = true);
    }

    /// Counts how often the effect was observed, which also ends a problem.
    pub(crate) fn add(&self, id: FaultId, times: u64) {
        self.change(id, |entry| {
            entry.applied = entry.applied.saturating_add(times);
            entry.problem = None;
        });
    }

    /// Notes that the fault was reverted.
    pub(crate) fn end(&self, id: FaultId) {
        self.change(id, |entry| {
            entry.in_effect = false;
            entry.problem = None;
        });
    }

    pub(crate) fn set_problem(&self, id: FaultId, problem: &str) {
        self.change(id, |entry| entry.problem = Some(problem.to_owned()));
    }

    /// Returns true if the fault may be in effect.
    pub(crate) fn is_in_effect(&self, id: FaultId) -> bool {
        self.entries.borrow().get(id.as_str()).is_some_and(|entry| entry.in_effect)
    }

    /// Notes that a fault that acts once has acted for this arming.
    pub(crate) fn set_done(&self, armed: &Armed) {
        self.change(armed.id, |entry| entry.done_for = Some(arming(armed)));
    }

    /// Returns true if a fault that acts once has acted for this arming, under this supervisor or an earlier one.
    pub(crate) fn is_done(&self, armed: &Armed) -> bool {
        let entries = self.entries.borrow();
        let done_for = entries.get(armed.id.as_str()).and_then(|entry| entry.done_for.as_deref());
        done_for == Some(arming(armed).as_str())
    }

    /// Notes that the fault is disarmed, so that the next arming acts again, and that nothing is wrong with it.
    pub(crate) fn disarmed(&self, id: FaultId) {
        self.change(id, |entry| {
            entry.done_for = None;
            // Without an effect there is nothing left to be wrong.
            entry.problem = entry.problem.take().filter(|_| entry.in_effect);
        });
    }

    /// Changes an entry, and writes the file if that made a difference.
    fn change(&self, id: FaultId, change: impl FnOnce(&mut Entry)) {
        let mut entries = self.entries.borrow_mut();
        let before = entries.get(id.as_str()).cloned().unwrap_or_default();
        let mut after = before.clone();
        change(&mut after);
        if after == before {
            return;
        }
        entries.insert(id.as_str().to_owned(), after);
        let written = serde_json::to_vec_pretty(&*entries).map_err(anyhow::Error::from);
        let written = written.and_then(|text| Ok(write_private(&self.path, &text)?));
        if let Err(error) = written {
            tracing::error!(fault = id.as_str(), "cannot write the receipts of faults: {error}");
        }
    }
}

/// Text that distinguishes one arming from another one of the same fault.
pub(super) fn arming(armed: &Armed) -> String {
    let Armed { scope, values, expires_at_ms, id: _ } = armed;
    format!("{scope} {values} {}", expires_at_ms.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use faults::{Scope, Values};

    use super::*;

    const ID: FaultId = FaultId::NotificationPoison;

    fn layout() -> (tempfile::TempDir, Layout) {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path(), None, None);
        layout.create().unwrap();
        (folder, layout)
    }

    fn armed(count: i64) -> Armed {
        let values = Values::new(ID, [("count", count)]).unwrap();
        Armed { id: ID, scope: Scope::All, values, expires_at_ms: None }
    }

    #[test]
    fn counts_outlive_the_supervisor() {
        let (_folder, layout) = layout();
        assert!(read(&layout).is_empty());
        let receipts = Receipts::open(&layout);
        receipts.begin(ID);
        receipts.add(ID, 3);
        let next = Receipts::open(&layout);
        assert!(next.is_in_effect(ID), "a killed supervisor took nothing back");
        next.add(ID, 4);
        next.end(ID);
        assert_eq!(read(&layout), BTreeMap::from([(ID, 7)]));
        assert!(!Receipts::open(&layout).is_in_effect(ID));
    }

    #[test]
    fn problem_ends_with_success_or_disarming() {
        let (_folder, layout) = layout();
        let receipts = Receipts::open(&layout);
        receipts.set_problem(ID, "no broker");
        assert_eq!(problems(&layout), BTreeMap::from([(ID, "no broker".to_owned())]));
        receipts.add(ID, 1);
        assert!(problems(&layout).is_empty());
        receipts.set_problem(ID, "no broker");
        receipts.begin(ID);
        receipts.disarmed(ID);
        assert_eq!(problems(&layout).len(), 1, "it is still in effect");
        receipts.end(ID);
        assert!(problems(&layout).is_empty());
    }

    #[test]
    fn single_fault_acts_again_after_disarming() {
        let (_folder, layout) = layout();
        let receipts = Receipts::open(&layout);
        assert!(!receipts.is_done(&armed(1)));
        receipts.set_done(&armed(1));
        let next = Receipts::open(&layout);
        assert!(next.is_done(&armed(1)), "a restart repeats nothing");
        assert!(!next.is_done(&armed(2)), "other values are another arming");
        next.disarmed(ID);
        assert!(!next.is_done(&armed(1)));
    }

    #[test]
    fn unreadable_file_counts_nothing() {
        let (_folder, layout) = layout();
        std::fs::write(layout.fault_receipts_file(), "{\"notification.poison\": 7").unwrap();
        assert!(read(&layout).is_empty());
        let unknown = "{\"no.such-fault\":{\"applied\":1},\"notification.poison\":{\"applied\":2}}";
        std::fs::write(layout.fault_receipts_file(), unknown).unwrap();
        assert_eq!(read(&layout), BTreeMap::from([(ID, 2)]));
    }
}
