//! Requests that wait for outcomes. All requests for one command share one entry.
//!
//! It guarantees three things. A request with the same key joins the command in flight instead of publishing it again. An entry is
//! removed with its last waiter, also when the client disconnects. There are never more entries than configured.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use contracts::{EventId, RequestHash};
use tokio::sync::watch;

use crate::domain::{answer::Answer, overload::Refusal};

/// Progress of one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The leader is publishing it.
    Publishing,
    /// The broker has acknowledged it.
    Published,
    /// The leader failed or disconnected. Another waiter may publish.
    Abandoned,
    /// The outcome is known.
    Answered(Answer),
}

/// Reason why a request cannot wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JoinError {
    /// The number of commands in flight has reached its limit.
    Full,
    /// The key is in flight with another request.
    OtherRequest,
    /// The command is new, and the platform is overloaded.
    Overloaded(Refusal),
}

/// The commands in flight of this process, with their waiters.
#[derive(Debug)]
pub(crate) struct Waiters {
    commands: Mutex<HashMap<EventId, Command>>,
    commands_max: usize,
}

#[derive(Debug)]
struct Command {
    request_hash: RequestHash,
    progress: watch::Sender<Progress>,
    waiters: usize,
}

/// One request that waits for a command. Dropping it stops waiting.
#[derive(Debug)]
pub(crate) struct Waiter {
    waiters: Arc<Waiters>,
    id: EventId,
    progress: watch::Receiver<Progress>,
    is_leader: bool,
}

impl Waiters {
    pub(crate) fn new(commands_max: usize) -> Arc<Self> {
        Arc::new(Self { commands: Mutex::default(), commands_max })
    }

    /// Starts to wait. The first waiter of a command leads: it must publish and then call [`Waiter::set_published`].
    pub(crate) fn join(
        self: &Arc<Self>,
        id: &EventId,
        request_hash: &RequestHash,
    ) -> Result<Waiter, JoinError> {
        self.join_or_admit(id, request_hash, || Ok(()))
    }

    /// Like [`Waiters::join`], but `admit` may refuse a command that is not in flight.
    pub(crate) fn join_or_admit(
        self: &Arc<Self>,
        id: &EventId,
        request_hash: &RequestHash,
        admit: impl FnOnce() -> Result<(), Refusal>,
    ) -> Result<Waiter, JoinError> {
        let mut commands = self.lock();
        let is_full = commands.len() >= self.commands_max;
        let command = match commands.entry(id.clone()) {
            Entry::Vacant(_) if is_full => return Err(JoinError::Full),
            Entry::Vacant(vacant) => {
                admit().map_err(JoinError::Overloaded)?;
                let progress = watch::Sender::new(Progress::Abandoned);
                vacant.insert(Command { request_hash: request_hash.clone(), progress, waiters: 0 })
            }
            Entry::Occupied(occupied) => occupied.into_mut(),
        };
        if command.request_hash != *request_hash {
            return Err(JoinError::OtherRequest);
        }
        command.waiters = command.waiters.saturating_add(1);
        Ok(Waiter {
            waiters: Arc::clone(self),
            id: id.clone(),
            progress: command.progress.subscribe(),
            is_leader: command.try_lead(),
        })
    }

    /// Answers all requests that wait for `id`. Returns `false` without any: the command came from another instance or a console.
    pub(crate) fn answer(&self, id: &str, answer: &Answer) -> bool {
        let Ok(id) = id.parse::<EventId>() else { return false };
        let commands = self.lock();
        let Some(command) = commands.get(&id) else { return false };
        command.progress.send_replace(Progress::Answered(answer.clone()));
        true
    }

    /// Number of commands in flight.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EventId, Command>> {
        // A poisoned lock is safe to use: no code panics under it, and each operation leaves the map consistent.
        self.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Command {
    /// Makes the caller the leader of an abandoned command.
    fn try_lead(&self) -> bool {
        self.advance(&Progress::Abandoned, Progress::Publishing)
    }

    /// Replaces the progress if it is `from`. Returns `true` when it did.
    fn advance(&self, from: &Progress, to: Progress) -> bool {
        self.progress.send_if_modified(|progress| {
            let is_expected = *progress == *from;
            if is_expected {
                *progress = to;
            }
            is_expected
        })
    }
}

impl Waiter {
    /// True when this request has to publish the command.
    pub(crate) fn is_leader(&self) -> bool {
        self.is_leader
    }

    /// Records the broker's acknowledgement. An answer that came earlier stays.
    pub(crate) fn set_published(&mut self) {
        self.is_leader = false;
        if let Some(command) = self.waiters.lock().get(&self.id) {
            command.advance(&Progress::Publishing, Progress::Published);
        }
    }

    /// Waits up to `within` for an answer or until the leader gives up. Returns the progress at that time.
    pub(crate) async fn wait(&mut self, within: Duration) -> Progress {
        self.wait_until(within, |progress| matches!(progress, Progress::Answered(_) | Progress::Abandoned))
            .await
    }

    /// Like [`Waiter::wait`], but also returns at the broker's acknowledgement.
    pub(crate) async fn wait_published(&mut self, within: Duration) -> Progress {
        self.wait_until(within, |progress| *progress != Progress::Publishing).await
    }

    async fn wait_until(&mut self, within: Duration, is_done: impl FnMut(&Progress) -> bool) -> Progress {
        // The sender lives as long as a waiter, so the only error is the time-out. The current progress is then the result.
        drop(tokio::time::timeout(within, self.progress.wait_for(is_done)).await);
        self.progress.borrow().clone()
    }

    /// Becomes the leader of an abandoned command. Only the first caller succeeds.
    pub(crate) fn try_lead(&mut self) -> bool {
        self.is_leader = self.waiters.lock().get(&self.id).is_some_and(Command::try_lead);
        self.is_leader
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut commands = self.waiters.lock();
        let Some(command) = commands.get_mut(&self.id) else { return };
        if self.is_leader {
            command.advance(&Progress::Publishing, Progress::Abandoned);
        }
        command.waiters = command.waiters.saturating_sub(1);
        if command.waiters == 0 {
            commands.remove(&self.id);
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
    async fn second_request_joins_and_both_get_the_answer() {
        let waiters = Waiters::new(10);
        let mut first = waiters.join(&id("a"), &hash("slots")).expect("a waiter");
        let mut second = waiters.join(&id("a"), &hash("slots")).expect("a waiter");
        assert!(first.is_leader() && !second.is_leader());
        first.set_published();
        assert!(waiters.answer(id("a").as_str(), &answer()));
        for waiter in [&mut first, &mut second] {
            assert_eq!(waiter.wait(Duration::from_secs(1)).await, Progress::Answered(answer()));
        }
        assert_eq!(waiters.len(), 1);
        drop((first, second));
        assert_eq!(waiters.len(), 0, "an entry is removed with its last waiter");
        assert!(!waiters.answer(id("a").as_str(), &answer()), "no request waits any more");
    }

    #[tokio::test]
    async fn answer_before_acknowledgement_stays() {
        let waiters = Waiters::new(10);
        let mut waiter = waiters.join(&id("a"), &hash("slots")).expect("a waiter");
        waiters.answer(id("a").as_str(), &answer());
        waiter.set_published();
        assert_eq!(waiter.wait(Duration::ZERO).await, Progress::Answered(answer()));
    }

    #[tokio::test]
    async fn same_key_with_other_request_is_refused() {
        let waiters = Waiters::new(10);
        let _first = waiters.join(&id("a"), &hash("slots")).expect("a waiter");
        assert_eq!(waiters.join(&id("a"), &hash("dice")).err(), Some(JoinError::OtherRequest));
    }

    #[tokio::test]
    async fn overload_refuses_only_new_commands() {
        let waiters = Waiters::new(10);
        let refusal = Refusal { retry_after_s: 1 };
        let refused = || waiters.join_or_admit(&id("a"), &hash("slots"), || Err(refusal));
        assert_eq!(refused().err(), Some(JoinError::Overloaded(refusal)));
        assert_eq!(waiters.len(), 0, "a refused request does not wait");
        let _first = waiters.join(&id("a"), &hash("slots")).expect("a waiter");
        assert!(refused().is_ok(), "the same command joins the one in flight");
    }

    #[tokio::test]
    async fn disconnected_leader_is_replaced() {
        let waiters = Waiters::new(10);
        let first = waiters.join(&id("a"), &hash("slots")).expect("a waiter");
        let mut second = waiters.join(&id("a"), &hash("slots")).expect("a waiter");
        let mut third = waiters.join(&id("a"), &hash("slots")).expect("a waiter");
        drop(first);
        assert_eq!(second.wait(Duration::from_secs(1)).await, Progress::Abandoned);
        assert!(second.try_lead());
        assert!(!third.try_lead(), "one leader at a time");
    }

    #[tokio::test]
    async fn entries_are_bounded_and_a_wait_times_out() {
        let waiters = Waiters::new(1);
        let mut waiter = waiters.join(&id("a"), &hash("slots")).expect("a waiter");
        assert_eq!(waiters.join(&id("b"), &hash("slots")).err(), Some(JoinError::Full));
        waiter.set_published();
        assert_eq!(waiter.wait(Duration::from_millis(5)).await, Progress::Published);
        drop(waiter);
        assert!(waiters.join(&id("b"), &hash("slots")).is_ok());
    }
}
