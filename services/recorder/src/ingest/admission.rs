//! Limits how many bodies are in progress, and how long a sender waits for a place.
//!
//! A sender holds no place while its body arrives, except a sender without a key, of which few are admitted. Small bodies
//! are then limited by number. A body that needs more than [`SMALL_BYTES`], compressed or not, waits for the one large
//! place, so a hundred bombs cost the memory of one. It gives back its ordinary place before it waits, so bombs never keep
//! small bodies out. The queue for the large place is short.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer::Refusal;
pub(crate) use crate::body::SMALL_BYTES;

/// Largest number of bodies in progress.
const REQUESTS_MAX: usize = 96;
/// Largest number of senders without a key in the header or the query. Their key may be in the body.
const ANONYMOUS_MAX: usize = 8;
/// Largest number of bodies that wait for the large place. Each may be held in memory meanwhile, compressed.
const LARGE_WAITING_MAX: usize = 32;
/// Longest wait for a place. After it the sender is asked to retry.
const PLACE_DEADLINE: Duration = Duration::from_secs(5);
/// Longest wait for the large place, where each body takes longer.
const LARGE_PLACE_DEADLINE: Duration = Duration::from_secs(30);

/// Places for bodies. Clones share them.
#[derive(Clone, Debug)]
pub struct Admission {
    requests: Arc<Semaphore>,
    anonymous: Arc<Semaphore>,
    large: Arc<Semaphore>,
    large_waiting: Arc<Semaphore>,
}

impl Default for Admission {
    fn default() -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self {
            requests: places(REQUESTS_MAX),
            anonymous: places(ANONYMOUS_MAX),
            large: places(1),
            large_waiting: places(LARGE_WAITING_MAX),
        }
    }
}

impl Admission {
    /// Waits for a place for a complete body.
    pub(crate) async fn enter(&self) -> Result<Admitted, Refusal> {
        let place = take(&self.requests, PLACE_DEADLINE).await?;
        Ok(Admitted { place: Some(place), admission: self.clone() })
    }

    /// Waits for a place to receive a body from a sender without a key.
    pub(crate) async fn listen(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        take(&self.anonymous, PLACE_DEADLINE).await
    }
}

async fn take(places: &Arc<Semaphore>, deadline: Duration) -> Result<OwnedSemaphorePermit, Refusal> {
    let taken = tokio::time::timeout(deadline, Arc::clone(places).acquire_owned()).await;
    taken.map_err(|_| Refusal::Busy)?.map_err(|_| Refusal::Worker)
}

/// Place of one body, held until its response.
#[derive(Debug)]
pub(crate) struct Admitted {
    place: Option<OwnedSemaphorePermit>,
    admission: Admission,
}

impl Admitted {
    /// Gives back the ordinary place and waits for the large one. Refuses at once when too many bodies wait for it.
    pub(crate) async fn grow(&mut self) -> Result<(), Refusal> {
        self.place = None;
        let waiting = Arc::clone(&self.admission.large_waiting).try_acquire_owned();
        let waiting = waiting.map_err(|_| Refusal::Busy)?;
        self.place = Some(take(&self.admission.large, LARGE_PLACE_DEADLINE).await?);
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
    async fn those_who_wait_for_the_large_place_keep_no_small_body_out() {
        let admission = Admission::default();
        let mut large = admission.enter().await.expect("a place");
        large.grow().await.expect("the large place");
        let mut waiting = Vec::new();
        for number in 0..REQUESTS_MAX {
            // Otherwise tokio's cooperative scheduling would pause the test at another await.
            tokio::task::yield_now().await;
            let mut place = admission.enter().await.expect("a place");
            let mut growing = Box::pin(async move { place.grow().await.map(|()| place) });
            match poll!(growing.as_mut()) {
                Poll::Pending => waiting.push(growing),
                Poll::Ready(refused) => {
                    assert!(matches!(refused, Err(Refusal::Busy)) && number >= LARGE_WAITING_MAX);
                }
            }
        }
        assert_eq!(waiting.len(), LARGE_WAITING_MAX);
        let mut small = Vec::new();
        for _ in 0..REQUESTS_MAX {
            tokio::task::yield_now().await;
            let entered = poll!(Box::pin(admission.enter()));
            assert!(matches!(entered, Poll::Ready(Ok(_))), "every ordinary place is free");
            small.push(entered);
        }
        drop(large);
        waiting.remove(0).await.expect("the first in the queue is next");
    }
}
