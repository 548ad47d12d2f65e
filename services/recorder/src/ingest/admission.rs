//! How much is worked on at once, and how long anybody waits for it.
//!
//! Nobody holds a place while its body is still arriving, except a sender without a key, of which there may be few. Small
//! bodies are then admitted by number. Whoever needs more than [`SMALL_BYTES`] for its body, compressed or not, waits for
//! the one large place: a hundred bombs cost the memory of one.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer::Refusal;
pub(crate) use crate::body::SMALL_BYTES;

/// Bodies that are worked on.
const REQUESTS_MAX: usize = 96;
/// Senders without a key in the header or the query that are listened to: their key may stand in the body.
const ANONYMOUS_MAX: usize = 8;
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
}

impl Default for Admission {
    fn default() -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self { requests: places(REQUESTS_MAX), anonymous: places(ANONYMOUS_MAX), large: places(1) }
    }
}

impl Admission {
    /// A place for one whole body.
    pub(crate) async fn enter(&self) -> Result<Admitted, Refusal> {
        let request = take(&self.requests, PLACE_DEADLINE).await?;
        Ok(Admitted { _request: request, large: None, places: Arc::clone(&self.large) })
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
    _request: OwnedSemaphorePermit,
    large: Option<OwnedSemaphorePermit>,
    places: Arc<Semaphore>,
}

impl Admitted {
    /// Waits for the large place, unless it is already held.
    pub(crate) async fn grow(&mut self) -> Result<(), Refusal> {
        if self.large.is_none() {
            self.large = Some(take(&self.places, LARGE_PLACE_DEADLINE).await?);
        }
        Ok(())
    }
}
