//! How much is worked on at once, and how long anybody waits for it.
//!
//! Nobody holds a place while its body is still arriving, except a sender without a key, of which there may be few. Small
//! bodies are then admitted by number. Whoever needs more than [`SMALL_BYTES`] for its body, compressed or not, waits for
//! the one large place: a hundred bombs cost the memory of one. Such a one gives back its ordinary place before it waits, so
//! no number of bombs keeps small bodies out; the queue for the large place is short.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer::Refusal;
pub(crate) use crate::body::SMALL_BYTES;

/// Bodies that are worked on.
const REQUESTS_MAX: usize = 96;
/// Senders without a key in the header or the query that are listened to: their key may stand in the body.
const ANONYMOUS_MAX: usize = 8;
/// Bodies that wait for the large place. Each may be held in memory meanwhile, compressed.
const LARGE_WAITING_MAX: usize = 32;
/// Whoever has no place by then is told to come again.
const PLACE_DEADLINE: Duration = Duration::from_secs(5);
/// The same for the large place, where each takes longer.
const LARGE_PLACE_DEADLINE: Duration = Duration::from_secs(30);

/// The places; clones share them.
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
    /// A place for one whole body.
    pub(crate) async fn enter(&self) -> Result<Admitted, Refusal> {
        let place = take(&self.requests, PLACE_DEADLINE).await?;
        Ok(Admitted { place: Some(place), admission: self.clone() })
    }

    /// A place for listening to somebody who has not said who it is.
    pub(crate) async fn listen(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        take(&self.anonymous, PLACE_DEADLINE).await
    }
}

async fn take(places: &Arc<Semaphore>, deadline: Duration) -> Result<OwnedSemaphorePermit, Refusal> {
    let taken = tokio::time::timeout(deadline, Arc::clone(places).acquire_owned()).await;
    taken.map_err(|_| Refusal::Busy)?.map_err(|_| Refusal::Worker)
}

/// One body's place, held until it is answered.
#[derive(Debug)]
pub(crate) struct Admitted {
    place: Option<OwnedSemaphorePermit>,
    admission: Admission,
}

impl Admitted {
    /// Gives back the ordinary place, and waits for the large one; not where too many wait for it already.
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
            // Else tokio would have the test pause at a place of its own choice.
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
