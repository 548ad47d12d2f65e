//! Limits the number of responses in progress, because each may hold a few large envelopes in memory.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chassis::problem::Problem;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Longest wait for a slot. After it the client is asked to retry.
const SLOT_DEADLINE: Duration = Duration::from_secs(30);
/// Largest number of responses in progress.
const RESPONSES_MAX: usize = 3;

/// Slots for responses. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct ResponseSlots {
    slots: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

impl Default for ResponseSlots {
    fn default() -> Self {
        Self { slots: Arc::new(Semaphore::new(RESPONSES_MAX)), waiting: Arc::default() }
    }
}

impl ResponseSlots {
    /// Waits for a slot.
    pub(super) async fn acquire(&self) -> Result<OwnedSemaphorePermit, Problem> {
        if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            return Ok(slot);
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let waited = tokio::time::timeout(SLOT_DEADLINE, Arc::clone(&self.slots).acquire_owned()).await;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        let slot =
            waited.map_err(|_| Problem::unavailable("too many responses are in progress, retry later"))?;
        slot.map_err(|_| Problem::unavailable("the recorder is shutting down"))
    }

    /// Returns the number of requests that wait for a slot, which changes with time.
    pub(super) fn waiting(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.waiting)
    }
}
