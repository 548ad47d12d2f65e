//! Requests of many callers in one command, which costs the store one request and, for inserts, one journal sync instead of many.
//!
//! No request waits for others to arrive. It waits only while the tasks that are ready at that moment run, because the handlers of
//! records that were fetched together are, and while the previous command of its group runs. Then it goes with all requests that
//! have arrived in the meantime. A task of its own runs the commands, so the end of one caller ends nothing for the others.

mod inserts;
mod reads;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use telemetry::{attributes, spans};
use tokio::sync::oneshot;
use tracing::Span;

use crate::StoreError;

pub(super) use inserts::Inserts;
pub(super) use reads::Reads;

/// Maximum number of requests in one command.
const REQUESTS_MAX: usize = 100;
/// Maximum size of the requests in one command. A larger request has a command of its own.
const BYTES_MAX: usize = 1_048_576;
/// Maximum number of requests that wait for the next command.
const WAITING_MAX: usize = 10_000;

/// Results of the requests of one command, in their order.
pub(super) type Results<R> = Vec<Result<R, StoreError>>;

/// Sends commands. Tests have their own.
pub(super) trait Commands: Send + Sync + 'static {
    /// What one caller asks for.
    type Request: Send + 'static;
    /// What it gets.
    type Reply: Send + 'static;
    /// Name of several requests, in error texts.
    const REQUESTS: &'static str;

    /// Size that a request adds to its command.
    fn size_bytes(request: &Self::Request) -> usize;

    /// Sends these requests in one command. Returns one result for each. An error concerns all of them.
    fn send(
        &self,
        requests: Vec<Self::Request>,
    ) -> impl Future<Output = Result<Results<Self::Reply>, StoreError>> + Send;
}

/// Requests to one collection that share commands. One command runs at a time.
pub(super) struct Group<C: Commands> {
    collection: &'static str,
    commands: C,
    state: Mutex<State<C>>,
}

struct State<C: Commands> {
    /// True while a task sends the waiting requests.
    is_driven: bool,
    waiting: VecDeque<Waiter<C>>,
}

struct Waiter<C: Commands> {
    request: C::Request,
    answer: oneshot::Sender<Answer<C::Reply>>,
}

/// Answer to one request.
#[derive(Debug)]
struct Answer<R> {
    result: Result<R, StoreError>,
    /// Number of requests in its command.
    batch_size: usize,
}

impl<C: Commands> Group<C> {
    pub(super) fn new(collection: &'static str, commands: C) -> Self {
        let state = State { is_driven: false, waiting: VecDeque::new() };
        Self { collection, commands, state: Mutex::new(state) }
    }

    /// Makes a request for a caller, whose span shows how many requests had the same command.
    async fn request(self: &Arc<Self>, request: C::Request, span: &Span) -> Result<C::Reply, StoreError> {
        let answer = self.answer(request).await?;
        if answer.batch_size > 1 {
            let size = i64::try_from(answer.batch_size).unwrap_or(i64::MAX);
            spans::set_attr(span, attributes::DB_OPERATION_BATCH_SIZE, size);
        }
        answer.result
    }

    /// Makes a request with the next command.
    async fn answer(self: &Arc<Self>, request: C::Request) -> Result<Answer<C::Reply>, StoreError> {
        let answer = self.join(request)?;
        answer.await.map_err(|_lost| self.transient("the command ended without an answer"))
    }

    /// Adds a request to those that wait, and starts a task for them unless there is one. A request whose answer is dropped leaves
    /// the group, unless its command runs already.
    fn join(
        self: &Arc<Self>,
        request: C::Request,
    ) -> Result<oneshot::Receiver<Answer<C::Reply>>, StoreError> {
        let (answer, answered) = oneshot::channel();
        let mut state = self.lock();
        if state.waiting.len() >= WAITING_MAX {
            return Err(self.transient(format!("{WAITING_MAX} {} are waiting already", C::REQUESTS)));
        }
        state.waiting.push_back(Waiter { request, answer });
        let was_driven = std::mem::replace(&mut state.is_driven, true);
        drop(state);
        if !was_driven {
            let driver = Driver { group: Arc::clone(self), has_ended: false };
            #[expect(clippy::disallowed_methods, reason = "it works for many: no caller's span and hub fit")]
            tokio::spawn(driver.run());
        }
        Ok(answered)
    }

    async fn send(&self, batch: Vec<Waiter<C>>) {
        let (requests, answers): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|waiter| (waiter.request, waiter.answer)).unzip();
        let batch_size = requests.len();
        let results = match self.commands.send(requests).await {
            Ok(results) => results,
            Err(error) => answers.iter().map(|_| Err(error.clone())).collect(),
        };
        for (answer, result) in answers.into_iter().zip(results) {
            // A caller that has stopped waiting needs no answer.
            drop(answer.send(Answer { result, batch_size }));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn transient(&self, reason: impl Into<String>) -> StoreError {
        StoreError::Transient { collection: self.collection, reason: reason.into() }
    }
}

impl<C: Commands> State<C> {
    /// Removes the requests of the next command. Those whose callers have stopped waiting are left out.
    fn next_batch(&mut self) -> Vec<Waiter<C>> {
        let (mut batch, mut bytes) = (Vec::new(), 0_usize);
        while let Some(next) = self.waiting.pop_front() {
            if next.answer.is_closed() {
                continue;
            }
            bytes = bytes.saturating_add(C::size_bytes(&next.request));
            if batch.len() == REQUESTS_MAX || (bytes > BYTES_MAX && !batch.is_empty()) {
                self.waiting.push_front(next);
                break;
            }
            batch.push(next);
        }
        batch
    }
}

/// The task that sends the requests of a group, until none are left.
struct Driver<C: Commands> {
    group: Arc<Group<C>>,
    has_ended: bool,
}

impl<C: Commands> Driver<C> {
    async fn run(mut self) {
        // A worker runs a task that was just started before all others that are ready. They run first, because their requests then
        // go with this one.
        tokio::task::yield_now().await;
        while let Some(batch) = self.next_batch() {
            self.group.send(batch).await;
        }
    }

    /// Returns the next requests. Without any, the next request starts another task.
    fn next_batch(&mut self) -> Option<Vec<Waiter<C>>> {
        let mut state = self.group.lock();
        let batch = state.next_batch();
        if batch.is_empty() {
            state.is_driven = false;
            self.has_ended = true;
            return None;
        }
        Some(batch)
    }
}

// A task that panics, or whose runtime ends, answers nobody. Its callers must not wait for it.
impl<C: Commands> Drop for Driver<C> {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        let mut state = self.group.lock();
        state.is_driven = false;
        let abandoned = std::mem::take(&mut state.waiting);
        drop(state);
        drop(abandoned);
    }
}

impl<C: Commands> fmt::Debug for Group<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("collection", &self.collection).finish_non_exhaustive()
    }
}
