//! Slots for questions: so many in all, and at most half of them for what was left hanging.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The slots of one pool.
#[derive(Debug)]
pub(super) struct Slots {
    all: Arc<Semaphore>,
    swept: Arc<Semaphore>,
    count: u32,
}

/// One question under way.
#[derive(Debug)]
pub(super) struct Slot {
    _of_all: Option<OwnedSemaphorePermit>,
    _of_swept: Option<OwnedSemaphorePermit>,
}

impl Slots {
    pub(super) fn new(count: usize) -> Self {
        let swept = (count / 2).max(1);
        Self {
            all: Arc::new(Semaphore::new(count)),
            swept: Arc::new(Semaphore::new(swept)),
            count: u32::try_from(count).unwrap_or(u32::MAX),
        }
    }

    /// Waits for a slot for a new payment.
    pub(super) async fn fresh(&self) -> Slot {
        Slot { _of_all: Arc::clone(&self.all).acquire_owned().await.ok(), _of_swept: None }
    }

    /// Whether there is a slot for what was left hanging.
    pub(super) fn has_swept(&self) -> bool {
        self.swept.available_permits() > 0
    }

    /// A slot for what was left hanging, if one is free.
    pub(super) fn swept(&self) -> Option<Slot> {
        let of_swept = Arc::clone(&self.swept).try_acquire_owned().ok()?;
        let of_all = Arc::clone(&self.all).try_acquire_owned().ok()?;
        Some(Slot { _of_all: Some(of_all), _of_swept: Some(of_swept) })
    }

    /// Waits until nothing is under way.
    pub(super) async fn all_free(&self) {
        let _idle = self.all.acquire_many(self.count).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_left_hanging_never_takes_the_last_slots() {
        let slots = Slots::new(4);
        let held = [slots.swept().unwrap(), slots.swept().unwrap()];
        assert!(slots.swept().is_none() && !slots.has_swept());
        let fresh = [slots.fresh().await, slots.fresh().await];
        drop(held);
        assert!(slots.has_swept());
        drop(fresh);
        slots.all_free().await;
        assert!(Slots::new(1).swept().is_some(), "one slot serves both");
    }
}
