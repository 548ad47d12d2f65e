//! Requests that wait for outcomes. Each command has one place, where each waiting request has a seat.
//!
//! It guarantees three things. A request with the same key joins the command in flight instead of publishing it again. A place is
//! freed with its last seat, also when the client disconnects. There are never more places than configured.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use contracts::{EventId, RequestHash};
use tokio::sync::watch;

use crate::domain::answer::Answer;

/// Progress of one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The leader is publishing it.
    Publishing,
    /// The broker has acknowledged it.
    Published,
    /// The leader failed or disconnected. The next seat may publish.
    Abandoned,
    /// The outcome is known.
    Answered(Answer),
}

/// Reason for a refused seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoSeat {
    /// All places are taken.
    Full,
    /// The key is in flight with another request.
    OtherRequest,
}

/// All places of this process.
#[derive(Debug)]
pub(crate) struct Waiters {
    places: Mutex<HashMap<EventId, Place>>,
    places_max: usize,
}

#[derive(Debug)]
struct Place {
    request_hash: RequestHash,
    progress: watch::Sender<Progress>,
    seats: usize,
}

/// One request's seat at a place. Dropping it leaves the place.
#[derive(Debug)]
pub(crate) struct Seat {
    waiters: Arc<Waiters>,
    id: EventId,
    progress: watch::Receiver<Progress>,
    leads: bool,
}

impl Waiters {
    pub(crate) fn new(places_max: usize) -> Arc<Self> {
        Arc::new(Self { places: Mutex::default(), places_max })
    }

    /// Takes a seat. The first one at a place leads: it must publish and then call [`Seat::published`].
    pub(crate) fn sit(self: &Arc<Self>, id: &EventId, request_hash: &RequestHash) -> Result<Seat, NoSeat> {
        let mut places = self.lock();
        let full = places.len() >= self.places_max;
        let place = match places.entry(id.clone()) {
            std::collections::hash_map::Entry::Vacant(_) if full => return Err(NoSeat::Full),
            std::collections::hash_map::Entry::Vacant(vacant) => {
                let progress = watch::Sender::new(Progress::Abandoned);
                vacant.insert(Place { request_hash: request_hash.clone(), progress, seats: 0 })
            }
            std::collections::hash_map::Entry::Occupied(taken) => taken.into_mut(),
        };
        if place.request_hash != *request_hash {
            return Err(NoSeat::OtherRequest);
        }
        place.seats = place.seats.saturating_add(1);
        let mut seat = Seat {
            waiters: Arc::clone(self),
            id: id.clone(),
            progress: place.progress.subscribe(),
            leads: false,
        };
        seat.leads = seat.take_the_lead(place);
        Ok(seat)
    }

    /// Answers all seats that wait for `id`. Returns `false` without any: the command came from another instance or a console.
    pub(crate) fn answer(&self, id: &str, answer: &Answer) -> bool {
        let Ok(id) = id.parse::<EventId>() else { return false };
        let places = self.lock();
        let Some(place) = places.get(&id) else { return false };
        place.progress.send_replace(Progress::Answered(answer.clone()));
        true
    }

    /// Number of taken places.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<EventId, Place>> {
        // A poisoned lock is safe to use: no code panics under it, and each operation leaves the map consistent.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// True when this seat has to publish.
    pub(crate) fn leads(&self) -> bool {
        self.leads
    }

    /// Records the broker's acknowledgement. An answer that came earlier stays.
    pub(crate) fn published(&mut self) {
        self.leads = false;
        self.progress_to(Progress::Published);
    }

    /// Waits up to `within` for an answer or for an abandoned place. Returns the progress at that time.
    pub(crate) async fn wait(&mut self, within: Duration) -> Progress {
        self.wait_until(within, |progress| matches!(progress, Progress::Answered(_) | Progress::Abandoned))
            .await
    }

    /// Like [`Seat::wait`], but also returns at the broker's acknowledgement.
    pub(crate) async fn wait_published(&mut self, within: Duration) -> Progress {
        self.wait_until(within, |progress| *progress != Progress::Publishing).await
    }

    async fn wait_until(&mut self, within: Duration, ended: impl FnMut(&Progress) -> bool) -> Progress {
        // The sender lives as long as a seat, so the only error is the time-out. The current progress is then the result.
        drop(tokio::time::timeout(within, self.progress.wait_for(ended)).await);
        self.progress.borrow().clone()
    }

    /// Takes the lead at an abandoned place. Only the first caller succeeds.
    pub(crate) fn try_to_lead(&mut self) -> bool {
        let waiters = Arc::clone(&self.waiters);
        let mut places = waiters.lock();
        self.leads = places.get_mut(&self.id).is_some_and(|place| self.take_the_lead(place));
        self.leads
    }

    fn take_the_lead(&self, place: &Place) -> bool {
        place.progress.send_if_modified(|progress| {
            let free = *progress == Progress::Abandoned;
            if free {
                *progress = Progress::Publishing;
            }
            free
        })
    }

    fn progress_to(&self, next: Progress) {
        let places = self.waiters.lock();
        let Some(place) = places.get(&self.id) else { return };
        place.progress.send_if_modified(|progress| {
            let unanswered = *progress == Progress::Publishing;
            if unanswered {
                *progress = next;
            }
            unanswered
        });
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.leads {
            self.progress_to(Progress::Abandoned);
        }
        let mut places = self.waiters.lock();
        let Some(place) = places.get_mut(&self.id) else { return };
        place.seats = place.seats.saturating_sub(1);
        if place.seats == 0 {
            places.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use contracts::{Message, ids, proto::bets::v1::PlaceBet};

    use super::*;

    fn id(key: &str) -> EventId {
        ids::command_id("player", "route", key)
    }

    fn hash(game: &str) -> RequestHash {
        ids::request_hash(&Message::from(PlaceBet { game: game.to_owned(), ..PlaceBet::default() }))
    }

    fn answer() -> Answer {
        Answer::Result(Bytes::from_static(b"{}"))
    }

    #[tokio::test]
    async fn the_second_joins_the_first_and_both_hear_the_answer() {
        let waiters = Waiters::new(10);
        let mut first = waiters.sit(&id("a"), &hash("slots")).expect("a seat");
        let mut second = waiters.sit(&id("a"), &hash("slots")).expect("a seat");
        assert!(first.leads() && !second.leads());
        first.published();
        assert!(waiters.answer(id("a").as_str(), &answer()));
        for seat in [&mut first, &mut second] {
            assert_eq!(seat.wait(Duration::from_secs(1)).await, Progress::Answered(answer()));
        }
        assert_eq!(waiters.len(), 1);
        drop((first, second));
        assert_eq!(waiters.len(), 0, "a place is freed with its last seat");
        assert!(!waiters.answer(id("a").as_str(), &answer()), "nobody waits any more");
    }

    #[tokio::test]
    async fn an_answer_that_outruns_the_acknowledgement_stays() {
        let waiters = Waiters::new(10);
        let mut seat = waiters.sit(&id("a"), &hash("slots")).expect("a seat");
        waiters.answer(id("a").as_str(), &answer());
        seat.published();
        assert_eq!(seat.wait(Duration::ZERO).await, Progress::Answered(answer()));
    }

    #[tokio::test]
    async fn another_request_under_the_same_key_gets_no_seat() {
        let waiters = Waiters::new(10);
        let _first = waiters.sit(&id("a"), &hash("slots")).expect("a seat");
        assert_eq!(waiters.sit(&id("a"), &hash("dice")).err(), Some(NoSeat::OtherRequest));
    }

    #[tokio::test]
    async fn a_leader_that_hangs_up_is_replaced() {
        let waiters = Waiters::new(10);
        let first = waiters.sit(&id("a"), &hash("slots")).expect("a seat");
        let mut second = waiters.sit(&id("a"), &hash("slots")).expect("a seat");
        let mut third = waiters.sit(&id("a"), &hash("slots")).expect("a seat");
        drop(first);
        assert_eq!(second.wait(Duration::from_secs(1)).await, Progress::Abandoned);
        assert!(second.try_to_lead());
        assert!(!third.try_to_lead(), "one leader at a time");
    }

    #[tokio::test]
    async fn places_are_bounded_and_a_wait_ends() {
        let waiters = Waiters::new(1);
        let mut seat = waiters.sit(&id("a"), &hash("slots")).expect("a seat");
        assert_eq!(waiters.sit(&id("b"), &hash("slots")).err(), Some(NoSeat::Full));
        seat.published();
        assert_eq!(seat.wait(Duration::from_millis(5)).await, Progress::Published);
        drop(seat);
        assert!(waiters.sit(&id("b"), &hash("slots")).is_ok());
    }
}
