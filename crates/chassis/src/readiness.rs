//! Readiness of the process, reported by each registered part.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// The parts of a process and their readiness. Clones share the state.
///
/// A process is ready when it has started, is not draining, and every part is ready.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    started: AtomicBool,
    draining: AtomicBool,
    parts: Mutex<BTreeMap<&'static str, Arc<AtomicBool>>>,
}

/// Readiness of one part. Clones belong to the same part.
#[derive(Clone, Debug)]
pub struct ReadyFlag(Arc<AtomicBool>);

impl ReadyFlag {
    /// Sets whether the part can do its work now.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }

    /// The value that was set last.
    #[must_use]
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Readiness {
    /// Adds a part that is not ready yet. The same name again returns the same part.
    #[must_use]
    pub fn register(&self, part: &'static str) -> ReadyFlag {
        let mut parts = self.shared.parts.lock().unwrap_or_else(PoisonError::into_inner);
        ReadyFlag(Arc::clone(parts.entry(part).or_default()))
    }

    /// Returns `true` if the process can be sent work.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.shared.started.load(Ordering::Acquire)
            && !self.shared.draining.load(Ordering::Acquire)
            && self.parts().iter().all(|(_, ready)| *ready)
    }

    /// Readiness of each part by name.
    #[must_use]
    pub fn parts(&self) -> Vec<(&'static str, bool)> {
        let parts = self.shared.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.iter().map(|(name, ready)| (*name, ready.load(Ordering::Acquire))).collect()
    }

    /// Phase of the process, which explains why it is not ready although its parts are.
    #[must_use]
    pub(crate) fn phase(&self) -> &'static str {
        if self.shared.draining.load(Ordering::Acquire) {
            "draining"
        } else if self.shared.started.load(Ordering::Acquire) {
            "running"
        } else {
            "starting"
        }
    }

    pub(crate) fn set_started(&self) {
        self.shared.started.store(true, Ordering::Release);
    }

    pub(crate) fn set_draining(&self) {
        self.shared.draining.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_needs_start_and_all_parts_and_no_drain() {
        let readiness = Readiness::default();
        let kafka = readiness.register("kafka");
        let store = readiness.register("store");
        kafka.set(true);
        assert!(!readiness.is_ready(), "not started and the store is not ready");
        readiness.set_started();
        assert!(!readiness.is_ready(), "the store is not ready");
        store.set(true);
        assert!(readiness.is_ready());
        kafka.set(false);
        assert!(!readiness.is_ready(), "a part may lose its readiness again");
        kafka.set(true);
        readiness.set_draining();
        assert!(!readiness.is_ready(), "a draining process is not ready");
    }
}
