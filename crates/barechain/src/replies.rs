//! The requests that wait for an outcome, and the reader that completes them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use rdkafka::Message as _;
use rdkafka::consumer::StreamConsumer;
use tokio::sync::oneshot;
use tokio::time::timeout;
use uuid::Uuid;

use crate::{ChainError, Outcome, clients};

/// Maximum number of requests that wait. The load generator has as many bets in flight.
const WAITING_MAX: usize = 4_096;

/// Requests that wait for an outcome, by the id of their bet.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    requests: Mutex<HashMap<Uuid, oneshot::Sender<Bytes>>>,
}

/// The place of one request among those that wait. It is given up when this is dropped.
#[derive(Debug)]
pub(crate) struct Expected {
    waiting: Arc<Waiting>,
    bet_id: Uuid,
    answer: oneshot::Receiver<Bytes>,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, oneshot::Sender<Bytes>>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a request before its record is published, so that no outcome is too early. `None` if there is none left.
    pub(crate) fn expect(self: &Arc<Self>, bet_id: Uuid) -> Option<Expected> {
        let (sender, answer) = oneshot::channel();
        let mut requests = self.lock();
        if requests.len() >= WAITING_MAX {
            return None;
        }
        requests.insert(bet_id, sender);
        drop(requests);
        Some(Expected { waiting: Arc::clone(self), bet_id, answer })
    }

    /// Answers the request of this bet, if it still waits.
    fn complete(&self, bet_id: Uuid, answer: Bytes) {
        let request = self.lock().remove(&bet_id);
        if let Some(request) = request {
            // The request may have ended at this moment.
            drop(request.send(answer));
        }
    }
}

impl Expected {
    /// Waits for the outcome. `None` if it does not arrive within this time.
    pub(crate) async fn within(mut self, deadline: Duration) -> Option<Bytes> {
        timeout(deadline, &mut self.answer).await.ok()?.ok()
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.waiting.lock().remove(&self.bet_id);
    }
}

/// Reads the outcomes and answers the requests, until something fails.
pub(crate) async fn run(consumer: StreamConsumer, waiting: Arc<Waiting>) -> Result<(), ChainError> {
    let mut records = consumer.stream();
    while let Some(record) = records.next().await {
        if let Some(record) = clients::readable(record)? {
            let value = record.payload().unwrap_or_default();
            waiting.complete(Outcome::decode(value)?.bet_id, Bytes::copy_from_slice(value));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn outcome_answers_its_request_alone() {
        let waiting = Arc::new(Waiting::default());
        let [first, second] = [1, 2].map(|id| waiting.expect(Uuid::from_u128(id)).expect("there is a place"));
        waiting.complete(Uuid::from_u128(2), Bytes::from_static(b"two"));
        waiting.complete(Uuid::from_u128(3), Bytes::from_static(b"unknown"));
        assert_eq!(second.within(SOON).await.as_deref(), Some(b"two".as_slice()));
        assert_eq!(waiting.lock().len(), 1);
        assert_eq!(first.within(Duration::ZERO).await, None);
        assert!(waiting.lock().is_empty(), "a request that gave up has no place");
    }

    #[test]
    fn request_without_a_place_is_refused() {
        let waiting = Arc::new(Waiting::default());
        let places: Vec<_> = (0..WAITING_MAX).map(|id| waiting.expect(Uuid::from_u128(id as u128))).collect();
        assert!(places.iter().all(Option::is_some));
        assert!(waiting.expect(Uuid::max()).is_none());
        drop(places);
        assert!(waiting.expect(Uuid::max()).is_some());
    }
}
