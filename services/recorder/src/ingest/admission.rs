//! How much may be in memory at once.
//!
//! Small bodies are admitted by number. Whoever needs more than [`SMALL_BYTES`] for its body, compressed or not, waits
//! for the one large place: a hundred bombs cost the memory of one.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer::Refusal;

/// Up to this size a body is small, as it came and decompressed.
pub(crate) const SMALL_BYTES: usize = 128 * 1024;
/// Requests that are worked on; more wait before their body is read.
const REQUESTS_MAX: usize = 96;

/// The places; clones share them.
#[derive(Clone, Debug)]
pub struct Admission {
    requests: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

impl Default for Admission {
    fn default() -> Self {
        Self { requests: Arc::new(Semaphore::new(REQUESTS_MAX)), large: Arc::new(Semaphore::new(1)) }
    }
}

impl Admission {
    /// A place for one request.
    pub(crate) async fn enter(&self) -> Result<Admitted, Refusal> {
        let request = Arc::clone(&self.requests).acquire_owned().await.map_err(|_| Refusal::Worker)?;
        Ok(Admitted { _request: request, large: None, places: Arc::clone(&self.large) })
    }
}

/// One request's place, held until it is answered.
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
            let permit = Arc::clone(&self.places).acquire_owned().await;
            self.large = Some(permit.map_err(|_| Refusal::Worker)?);
        }
        Ok(())
    }

    /// True once the large place is held.
    pub(crate) fn is_large(&self) -> bool {
        self.large.is_some()
    }
}
