//! Slots for requests in flight. At most half of them serve due payments, and a quarter serves nothing else. An endless stream of
//! new payments leaves these free, even when each request takes its whole time-out.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Slots of one pool.
#[derive(Debug)]
pub(super) struct Slots {
    all: Arc<Semaphore>,
    fresh: Arc<Semaphore>,
    swept: Arc<Semaphore>,
    count: u32,
}

/// Slot of one request in flight.
#[derive(Debug)]
pub(super) struct Slot {
    _of_all: Option<OwnedSemaphorePermit>,
    _of_kind: Option<OwnedSemaphorePermit>,
}

impl Slots {
    pub(super) fn new(count: usize) -> Self {
        let swept = (count / 2).max(1);
        let reserved = (count / 4).max(1);
        let fresh = count.saturating_sub(reserved).max(1);
        Self {
            all: Arc::new(Semaphore::new(count)),
            fresh: Arc::new(Semaphore::new(fresh)),
            swept: Arc::new(Semaphore::new(swept)),
            count: u32::try_from(count).unwrap_or(u32::MAX),
        }
    }

    /// Waits for a slot for a new payment.
    pub(super) async fn fresh(&self) -> Slot {
        let of_fresh = Arc::clone(&self.fresh).acquire_owned().await.ok();
        Slot { _of_all: Arc::clone(&self.all).acquire_owned().await.ok(), _of_kind: of_fresh }
    }

    /// Returns true when due payments have not used up their half of the slots.
    pub(super) fn has_swept(&self) -> bool {
        self.swept.available_permits() > 0
    }

    /// Returns a slot for a due payment, if one is free.
    pub(super) fn swept(&self) -> Option<Slot> {
        let of_swept = Arc::clone(&self.swept).try_acquire_owned().ok()?;
        let of_all = Arc::clone(&self.all).try_acquire_owned().ok()?;
        Some(Slot { _of_all: Some(of_all), _of_kind: Some(of_swept) })
    }

    /// Waits until no request is in flight.
    pub(super) async fn all_free(&self) {
        let _idle = self.all.acquire_many(self.count).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a slot for a new payment, if one is free now.
    async fn fresh_now(slots: &Slots) -> Option<Slot> {
        tokio::select! {
            biased;
            slot = slots.fresh() => Some(slot),
            () = std::future::ready(()) => None,
        }
    }

    #[tokio::test]
    async fn new_payments_leave_slots_for_due_ones() {
        for (count, for_fresh) in [(2, 1), (3, 2), (4, 3), (8, 6)] {
            let slots = Slots::new(count);
            let mut held = Vec::new();
            while let Some(slot) = fresh_now(&slots).await {
                held.push(slot);
            }
            assert_eq!(held.len(), for_fresh, "of {count}");
            for _ in for_fresh..count {
                held.push(slots.swept().expect("a slot that no new payment takes"));
            }
            assert!(slots.swept().is_none(), "of {count}");
            assert!(fresh_now(&slots).await.is_none(), "of {count}");
            drop(held);
            slots.all_free().await;
        }
    }

    #[tokio::test]
    async fn due_payments_leave_slots_for_new_ones() {
        let slots = Slots::new(4);
        let held = [slots.swept().unwrap(), slots.swept().unwrap()];
        assert!(slots.swept().is_none() && !slots.has_swept());
        let fresh = [slots.fresh().await, slots.fresh().await];
        drop(held);
        assert!(slots.has_swept());
        drop(fresh);
        slots.all_free().await;
    }
}
