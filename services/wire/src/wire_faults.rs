//! Faults between client and broker: answers to produce requests that get lost, and connections that stay open and silent.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use faults::{Armed, FaultId, Faults, Place};

/// The two faults, and how many answers were lost since the first was armed. Clones share their state.
#[derive(Clone, Debug)]
pub(crate) struct WireFaults {
    faults: Faults,
    lost: Arc<Mutex<Lost>>,
}

/// Answers that were lost while the fault was armed like this.
#[derive(Debug, Default)]
struct Lost {
    arming: Option<Armed>,
    count: i64,
}

impl WireFaults {
    pub(crate) fn new(faults: Faults) -> Self {
        Self { faults, lost: Arc::default() }
    }

    /// Returns true if the answer to a produce request gets lost now. It counts as applied then.
    pub(crate) fn loses_answer(&self) -> bool {
        let mut lost = self.lost();
        let arming = self.faults.arming(FaultId::KafkaReplyLost, Place::Before);
        if lost.arming != arming {
            *lost = Lost { arming, count: 0 };
        }
        let is_left = lost.arming.as_ref().is_some_and(|armed| lost.count < armed.values.get("count"));
        if !is_left || self.active(FaultId::KafkaReplyLost).is_none() {
            return false;
        }
        lost.count = lost.count.saturating_add(1);
        true
    }

    /// Returns true if the connection becomes silent now. It counts as applied then.
    pub(crate) fn silences(&self) -> bool {
        self.active(FaultId::KafkaHalfOpen).is_some()
    }

    /// Returns true as long as silent connections stay silent.
    pub(crate) fn keeps_silent(&self) -> bool {
        self.faults.arming(FaultId::KafkaHalfOpen, Place::End).is_some()
    }

    /// Forgets an arming that has ended, so that the same arming counts again.
    pub(crate) fn forget_disarmed(&self) {
        if self.faults.arming(FaultId::KafkaReplyLost, Place::End).is_none() {
            *self.lost() = Lost::default();
        }
    }

    /// Both faults concern all connections, so nothing about the connection decides.
    fn active(&self, id: FaultId) -> Option<faults::Values> {
        chassis::faults::active(&self.faults, id, None, None)
    }

    fn lost(&self) -> MutexGuard<'_, Lost> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
