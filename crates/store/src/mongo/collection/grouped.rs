//! Inserts of many callers in one command, which costs the store one request and one journal sync instead of many.
//!
//! No document waits for others to arrive. It waits only while the tasks that are ready at that moment run, because the handlers of
//! records that were fetched together are, and while the previous command of its group runs. Then it goes with all documents that
//! have arrived in the meantime. A task of its own runs the commands, so the end of one caller ends nothing for the others.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bson::RawDocumentBuf;
use mongodb::error::ErrorKind;
use telemetry::{attributes, spans};
use tokio::sync::oneshot;

use super::describe;
use super::raw::{Answer as RawAnswer, Raw};
use crate::StoreError;
use crate::mongo::{Mongo, run};

/// Maximum number of documents in one command.
const DOCUMENTS_MAX: usize = 100;
/// Maximum size of the documents in one command. A larger document has a command of its own.
const BYTES_MAX: usize = 1_048_576;
/// Maximum number of documents that wait for the next command.
const WAITING_MAX: usize = 10_000;

/// The documents of a command that were not inserted, by their position.
pub(super) type Refusals = BTreeMap<usize, StoreError>;

/// Sends commands. Tests have their own.
pub(super) trait Commands: Send + Sync + 'static {
    /// Inserts these documents in one command. An error concerns all of them.
    fn insert(
        &self,
        documents: Vec<RawDocumentBuf>,
    ) -> impl Future<Output = Result<Refusals, StoreError>> + Send;
}

/// Documents of one collection that share commands. One command runs at a time.
pub(super) struct Group<C> {
    collection: &'static str,
    commands: C,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// True while a task sends the waiting documents.
    is_driven: bool,
    waiting: VecDeque<Waiter>,
}

struct Waiter {
    document: RawDocumentBuf,
    answer: oneshot::Sender<Answer>,
}

/// Answer about one document.
#[derive(Debug)]
struct Answer {
    result: Result<(), StoreError>,
    /// Number of documents in its command.
    documents: usize,
}

impl Raw {
    /// [`super::Collection::insert_grouped`] of a document that was encoded.
    pub(super) fn insert_grouped(
        &self,
        document: Result<RawDocumentBuf, bson::error::Error>,
    ) -> RawAnswer<'_, ()> {
        Box::pin(async move {
            let context = self.mongo.context();
            let span = context.span(self.name, "insert", &describe::insert(self.name));
            let insert = async {
                let document = document.map_err(|error| {
                    StoreError::from_driver(self.name, &mongodb::error::Error::from(error))
                })?;
                let answer = self.group.insert(document).await?;
                if answer.documents > 1 {
                    let size = i64::try_from(answer.documents).unwrap_or(i64::MAX);
                    spans::set_attr(&span, attributes::DB_OPERATION_BATCH_SIZE, size);
                }
                answer.result
            };
            run::in_span(&span, context.in_time(self.name, insert)).await
        })
    }
}

impl<C> Group<C> {
    pub(super) fn new(collection: &'static str, commands: C) -> Self {
        Self { collection, commands, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn transient(&self, reason: impl Into<String>) -> StoreError {
        StoreError::Transient { collection: self.collection, reason: reason.into() }
    }
}

impl<C: Commands> Group<C> {
    /// Inserts a document with the next command.
    async fn insert(self: &Arc<Self>, document: RawDocumentBuf) -> Result<Answer, StoreError> {
        let answer = self.join(document)?;
        answer.await.map_err(|_lost| self.transient("the command ended without an answer"))
    }

    /// Adds a document to those that wait, and starts a task for them unless there is one. A document whose answer is dropped
    /// leaves the group, unless its command runs already.
    fn join(self: &Arc<Self>, document: RawDocumentBuf) -> Result<oneshot::Receiver<Answer>, StoreError> {
        let (answer, answered) = oneshot::channel();
        let mut state = self.lock();
        if state.waiting.len() >= WAITING_MAX {
            return Err(self.transient(format!("{WAITING_MAX} inserts are waiting already")));
        }
        state.waiting.push_back(Waiter { document, answer });
        let was_driven = std::mem::replace(&mut state.is_driven, true);
        drop(state);
        if !was_driven {
            let driver = Driver { group: Arc::clone(self), has_ended: false };
            #[expect(clippy::disallowed_methods, reason = "it works for many: no caller's span and hub fit")]
            tokio::spawn(driver.run());
        }
        Ok(answered)
    }

    async fn send(&self, batch: Vec<Waiter>) {
        let (documents, answers): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|waiter| (waiter.document, waiter.answer)).unzip();
        let count = documents.len();
        let outcome = self.commands.insert(documents).await;
        for (answer, result) in answers.into_iter().zip(results(count, outcome)) {
            // A caller that has stopped waiting needs no answer.
            drop(answer.send(Answer { result, documents: count }));
        }
    }
}

impl State {
    /// Removes the documents of the next command. Those whose callers have stopped waiting are left out.
    fn next_batch(&mut self) -> Vec<Waiter> {
        let (mut batch, mut bytes) = (Vec::new(), 0_usize);
        while let Some(next) = self.waiting.pop_front() {
            if next.answer.is_closed() {
                continue;
            }
            bytes = bytes.saturating_add(next.document.as_bytes().len());
            if batch.len() == DOCUMENTS_MAX || (bytes > BYTES_MAX && !batch.is_empty()) {
                self.waiting.push_front(next);
                break;
            }
            batch.push(next);
        }
        batch
    }
}

/// The task that sends the documents of a group, until none are left.
struct Driver<C> {
    group: Arc<Group<C>>,
    has_ended: bool,
}

impl<C: Commands> Driver<C> {
    async fn run(mut self) {
        // A worker runs a task that was just started before all others that are ready. They run first, because their documents then
        // go with this one.
        tokio::task::yield_now().await;
        while let Some(batch) = self.next_batch() {
            self.group.send(batch).await;
        }
    }

    /// Returns the next documents. Without any, the next document starts another task.
    fn next_batch(&mut self) -> Option<Vec<Waiter>> {
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
impl<C> Drop for Driver<C> {
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

/// Returns one result for each document, in their order.
fn results(count: usize, outcome: Result<Refusals, StoreError>) -> Vec<Result<(), StoreError>> {
    match outcome {
        Ok(mut refusals) => {
            (0..count).map(|position| refusals.remove(&position).map_or(Ok(()), Err)).collect()
        }
        Err(error) => (0..count).map(|_| Err(error.clone())).collect(),
    }
}

/// Commands to the store, each within the operation's time-out.
pub(super) struct Inserts {
    collection: mongodb::Collection<RawDocumentBuf>,
    name: &'static str,
    mongo: Mongo,
}

impl Inserts {
    pub(super) fn new(
        collection: mongodb::Collection<RawDocumentBuf>,
        name: &'static str,
        mongo: Mongo,
    ) -> Self {
        Self { collection, name, mongo }
    }
}

impl Commands for Inserts {
    async fn insert(&self, documents: Vec<RawDocumentBuf>) -> Result<Refusals, StoreError> {
        let count = documents.len();
        let command = async {
            match self.collection.insert_many(documents).ordered(false).await {
                Ok(_) => Ok(Refusals::new()),
                Err(error) => refusals(self.name, count, &error),
            }
        };
        self.mongo.context().in_time(self.name, command).await
    }
}

/// Returns the documents of a command that were refused, or the error that concerns all of them. A missing write concern concerns
/// also those that were refused, because the document that they clash with may not be durable.
fn refusals(
    collection: &'static str,
    count: usize,
    error: &mongodb::error::Error,
) -> Result<Refusals, StoreError> {
    let ErrorKind::InsertMany(failure) = error.kind.as_ref() else {
        return Err(StoreError::from_driver(collection, error));
    };
    if let Some(missed) = &failure.write_concern_error {
        let reason = format!("write concern not satisfied (code {})", missed.code);
        return Err(StoreError::Transient { collection, reason });
    }
    let refused = failure.write_errors.as_deref().unwrap_or_default();
    if refused.is_empty() || refused.iter().any(|e| e.index >= count) {
        return Err(StoreError::Transient { collection, reason: "invalid reply".to_owned() });
    }
    Ok(refused.iter().map(|e| (e.index, StoreError::from_code(collection, e.code, &e.message))).collect())
}

impl<C> fmt::Debug for Group<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("collection", &self.collection).finish_non_exhaustive()
    }
}
