//! Limits how many bodies are in progress, and how long a sender waits for a permit.
//!
//! A sender holds no permit while its body arrives, except a sender without a key, of which few are admitted. Small bodies
//! are then limited by number. A body that needs more than [`SMALL_BYTES`], compressed or not, waits for the one large
//! permit, so a hundred bombs cost the memory of one. It releases its ordinary permit before it waits, so bombs never keep
//! small bodies out. The queue for the large permit is short.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::refusal::Refusal;
pub(crate) use crate::body::SMALL_BYTES;

/// Largest number of bodies in progress.
const REQUESTS_MAX: usize = 96;
/// Largest number of senders without a key in the header or the query. Their key may be in the body.
const ANONYMOUS_MAX: usize = 8;
/// Largest number of bodies that wait for the large permit. Each may be held in memory meanwhile, compressed.
const LARGE_WAITING_MAX: usize = 32;
/// Largest number of uploaded minidumps in progress. Each is in memory as a whole.
const MINIDUMPS_MAX: usize = 1;
/// Longest wait for a permit. After it the sender is asked to retry.
const PERMIT_DEADLINE: Duration = Duration::from_secs(5);
/// Longest wait for the large permit, where each body takes longer.
const LARGE_PERMIT_DEADLINE: Duration = Duration::from_secs(30);

/// Permits for bodies. Clones share them.
#[derive(Clone, Debug)]
pub struct Admission {
    requests: Arc<Semaphore>,
    anonymous: Arc<Semaphore>,
    large: Arc<Semaphore>,
    large_waiting: Arc<Semaphore>,
    minidumps: Arc<Semaphore>,
}

impl Default for Admission {
    fn default() -> Self {
        let permits = |count| Arc::new(Semaphore::new(count));
        Self {
            requests: permits(REQUESTS_MAX),
            anonymous: permits(ANONYMOUS_MAX),
            large: permits(1),
            large_waiting: permits(LARGE_WAITING_MAX),
            minidumps: permits(MINIDUMPS_MAX),
        }
    }
}

impl Admission {
    /// Waits for a permit for a complete body.
    pub(crate) async fn admit(&self) -> Result<Admitted, Refusal> {
        let permit = acquire(&self.requests, PERMIT_DEADLINE).await?;
        Ok(Admitted { permit: Some(permit), admission: self.clone() })
    }

    /// Waits for the permit to receive an uploaded minidump.
    pub(crate) async fn admit_minidump(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        acquire(&self.minidumps, LARGE_PERMIT_DEADLINE).await
    }

    /// Waits for the permit of large bodies, for work beside the requests that opens stored ones. `None` if others hold it for too
    /// long.
    pub(crate) async fn large_turn(&self) -> Option<OwnedSemaphorePermit> {
        acquire(&self.large, LARGE_PERMIT_DEADLINE).await.ok()
    }

    /// Waits for a permit to receive a body from a sender without a key.
    pub(crate) async fn admit_anonymous(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        acquire(&self.anonymous, PERMIT_DEADLINE).await
    }
}

async fn acquire(permits: &Arc<Semaphore>, deadline: Duration) -> Result<OwnedSemaphorePermit, Refusal> {
    let taken = tokio::time::timeout(deadline, Arc::clone(permits).acquire_owned()).await;
    taken.map_err(|_| Refusal::Busy)?.map_err(|_| Refusal::Worker)
}

/// Permit of one body, held until its response.
#[derive(Debug)]
pub(crate) struct Admitted {
    permit: Option<OwnedSemaphorePermit>,
    admission: Admission,
}

impl Admitted {
    /// Releases the ordinary permit and waits for the large one. Refuses at once when too many bodies wait for it.
    pub(crate) async fn wait_for_large(&mut self) -> Result<(), Refusal> {
        self.permit = None;
        let waiting = Arc::clone(&self.admission.large_waiting).try_acquire_owned();
        let waiting = waiting.map_err(|_| Refusal::Busy)?;
        self.permit = Some(acquire(&self.admission.large, LARGE_PERMIT_DEADLINE).await?);
        drop(waiting);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use futures::poll;

    use super::*;

    #[tokio::test]
    async fn waiting_large_bodies_do_not_block_small_ones() {
        let admission = Admission::default();
        let mut large = admission.admit().await.expect("a permit");
        large.wait_for_large().await.expect("the large permit");
        let mut waiting = Vec::new();
        for number in 0..REQUESTS_MAX {
            // Otherwise tokio's cooperative scheduling would pause the test at another await.
            tokio::task::yield_now().await;
            let mut permit = admission.admit().await.expect("a permit");
            let mut waiting_for_large =
                Box::pin(async move { permit.wait_for_large().await.map(|()| permit) });
            match poll!(waiting_for_large.as_mut()) {
                Poll::Pending => waiting.push(waiting_for_large),
                Poll::Ready(refused) => {
                    assert!(matches!(refused, Err(Refusal::Busy)) && number >= LARGE_WAITING_MAX);
                }
            }
        }
        assert_eq!(waiting.len(), LARGE_WAITING_MAX);
        let mut small = Vec::new();
        for _ in 0..REQUESTS_MAX {
            tokio::task::yield_now().await;
            let entered = poll!(Box::pin(admission.admit()));
            assert!(matches!(entered, Poll::Ready(Ok(_))), "every ordinary permit is available");
            small.push(entered);
        }
        drop(large);
        waiting.remove(0).await.expect("the first in the queue is next");
    }
}
