//! Tests of the grouping, with commands that the test answers. `tests/it/grouped.rs` uses a real store.

use std::time::Duration;

use bson::{Document, RawDocumentBuf, doc};
use mongodb::error::{ErrorKind, InsertManyError};
use tokio::sync::mpsc;

use super::inserts::{Refusals, refusals, results};
use super::*;

/// Fails a test that would otherwise wait forever.
const DEADLINE: Duration = Duration::from_secs(60);

/// One command, which fails when `outcome` is dropped.
struct Command {
    numbers: Vec<i32>,
    outcome: oneshot::Sender<Result<Refusals, StoreError>>,
}

struct Answered {
    commands: mpsc::Sender<Command>,
}

impl Commands for Answered {
    type Request = RawDocumentBuf;
    type Reply = ();
    const REQUESTS: &'static str = "inserts";

    fn size_bytes(document: &RawDocumentBuf) -> usize {
        document.as_bytes().len()
    }

    async fn send(&self, documents: Vec<RawDocumentBuf>) -> Result<Results<()>, StoreError> {
        let numbers = documents.iter().map(|document| document.get_i32("n").unwrap()).collect();
        let (outcome, decided) = oneshot::channel();
        assert!(self.commands.send(Command { numbers, outcome }).await.is_ok(), "the test has ended");
        Ok(results(documents.len(), decided.await.expect("an outcome")?))
    }
}

struct Setup {
    group: Arc<Group<Answered>>,
    commands: mpsc::Receiver<Command>,
}

impl Setup {
    fn new() -> Self {
        let (sender, commands) = mpsc::channel(1);
        Self { group: Arc::new(Group::new("c", Answered { commands: sender })), commands }
    }

    fn join(&self, number: i32) -> oneshot::Receiver<Answer<()>> {
        self.group.join(raw(&doc! { "n": number })).unwrap()
    }

    async fn command(&mut self) -> Command {
        let received = tokio::time::timeout(DEADLINE, self.commands.recv());
        received.await.expect("in time").expect("a command")
    }

    /// Answers the next command and returns its documents.
    async fn succeed(&mut self) -> Vec<i32> {
        let command = self.command().await;
        command.outcome.send(Ok(Refusals::new())).unwrap();
        command.numbers
    }
}

fn raw(document: &Document) -> RawDocumentBuf {
    bson::serialize_to_raw_document_buf(document).unwrap()
}

fn sized(number: i32, bytes: usize) -> RawDocumentBuf {
    raw(&doc! { "n": number, "text": "x".repeat(bytes) })
}

/// Returns the answer, or `None` when it was lost.
async fn answer(answered: oneshot::Receiver<Answer<()>>) -> Option<Answer<()>> {
    tokio::time::timeout(DEADLINE, answered).await.expect("in time").ok()
}

async fn result(answered: oneshot::Receiver<Answer<()>>) -> Result<(), StoreError> {
    answer(answered).await.expect("an answer").result
}

#[tokio::test]
async fn documents_that_arrive_meanwhile_go_together() {
    let mut setup = Setup::new();
    let first = setup.join(1);
    let running = setup.command().await;
    assert_eq!(running.numbers, [1], "the first document waits for no other");
    let others = [2, 3, 4].map(|number| setup.join(number));
    running.outcome.send(Ok(Refusals::new())).unwrap();
    assert_eq!(setup.succeed().await, [2, 3, 4]);
    assert_eq!(answer(first).await.unwrap().batch_size, 1);
    for other in others {
        let other = answer(other).await.unwrap();
        assert_eq!((other.result.is_ok(), other.batch_size), (true, 3));
    }
    let later = setup.join(5);
    assert_eq!(setup.succeed().await, [5], "a new task serves the group");
    result(later).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn documents_of_ready_tasks_share_first_command() {
    let mut setup = Setup::new();
    let group = Arc::clone(&setup.group);
    // Started by one task, as the handlers of the records of one fetch are
    let started = telemetry::spawn(async move {
        [1, 2, 3].map(|number| {
            let group = Arc::clone(&group);
            telemetry::spawn(async move { group.answer(raw(&doc! { "n": number })).await })
        })
    });
    let mut numbers = setup.succeed().await;
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3]);
    for inserted in started.await.unwrap() {
        inserted.await.unwrap().unwrap().result.unwrap();
    }
}

#[tokio::test]
async fn refused_document_concerns_only_its_caller() {
    let mut setup = Setup::new();
    let [first, second, third] = [1, 2, 3].map(|number| setup.join(number));
    let command = setup.command().await;
    assert_eq!(command.numbers, [1, 2, 3]);
    let duplicate = StoreError::from_code("c", 11000, "");
    command.outcome.send(Ok(Refusals::from([(1, duplicate)]))).unwrap();
    result(first).await.unwrap();
    assert!(result(second).await.unwrap_err().is_duplicate_key());
    result(third).await.unwrap();
}

#[tokio::test]
async fn failed_command_fails_only_its_callers() {
    let mut setup = Setup::new();
    let failing = [1, 2].map(|number| setup.join(number));
    let command = setup.command().await;
    let next = setup.join(3);
    command.outcome.send(Err(StoreError::timed_out("c", 7))).unwrap();
    for failed in failing {
        assert_eq!(result(failed).await.unwrap_err().to_string(), StoreError::timed_out("c", 7).to_string());
    }
    assert_eq!(setup.succeed().await, [3]);
    result(next).await.unwrap();
}

#[tokio::test]
async fn dropped_callers_do_not_hang_others() {
    let mut setup = Setup::new();
    let [dropped, kept] = [1, 2].map(|number| setup.join(number));
    let command = setup.command().await;
    drop(dropped);
    let [dropped, waiting] = [3, 4].map(|number| setup.join(number));
    drop(dropped);
    command.outcome.send(Ok(Refusals::new())).unwrap();
    result(kept).await.unwrap();
    assert_eq!(setup.succeed().await, [4], "nobody waits for 3 any more");
    result(waiting).await.unwrap();
}

#[tokio::test]
async fn lost_command_leaves_no_caller_waiting() {
    let mut setup = Setup::new();
    let running = setup.join(1);
    let command = setup.command().await;
    let waiting = setup.join(2);
    // The task panics.
    drop(command.outcome);
    assert!(answer(running).await.is_none() && answer(waiting).await.is_none());
    let (group, commands) = (Arc::clone(&setup.group), &mut setup.commands);
    let inserted = group.answer(raw(&doc! { "n": 3 }));
    let (lost, ()) = tokio::join!(inserted, async { drop(commands.recv().await) });
    assert!(matches!(lost, Err(StoreError::Transient { .. })), "{lost:?}");
    let later = setup.join(4);
    assert_eq!(setup.succeed().await, [4]);
    result(later).await.unwrap();
}

#[tokio::test]
async fn size_and_number_split_commands() {
    let mut setup = Setup::new();
    let numbers: Vec<_> = (0..250).map(|number| setup.join(number)).collect();
    for count in [100, 100, 50] {
        assert_eq!(setup.succeed().await.len(), count);
    }
    for (position, answered) in numbers.into_iter().enumerate() {
        assert_eq!(answer(answered).await.unwrap().batch_size, if position < 200 { 100 } else { 50 });
    }
    let sizes = [BYTES_MAX / 2, BYTES_MAX / 4, BYTES_MAX / 2, 2 * BYTES_MAX, 1, 1];
    let numbered = (0..).zip(sizes).map(|(number, bytes)| setup.group.join(sized(number, bytes)).unwrap());
    let _waiting: Vec<_> = numbered.collect();
    for together in [vec![0, 1], vec![2], vec![3], vec![4, 5]] {
        assert_eq!(setup.succeed().await, together);
    }
}

#[tokio::test]
async fn number_of_waiting_documents_is_bounded() {
    let mut setup = Setup::new();
    let running = setup.join(0);
    let command = setup.command().await;
    let limit = i32::try_from(WAITING_MAX).unwrap();
    let waiting: Vec<_> = (0..limit).map(|number| setup.join(number)).collect();
    let error = setup.group.join(raw(&doc! { "n": limit })).unwrap_err();
    assert!(matches!(error, StoreError::Transient { .. }), "{error}");
    drop(waiting);
    command.outcome.send(Ok(Refusals::new())).unwrap();
    result(running).await.unwrap();
}

fn failure(failure: Document) -> mongodb::error::Error {
    ErrorKind::InsertMany(bson::deserialize_from_document::<InsertManyError>(failure).unwrap()).into()
}

#[test]
fn refusals_have_positions_and_classes() {
    let duplicate = doc! { "index": 2, "code": 11000, "errmsg": "E11000 index: email_1 dup key" };
    let invalid = doc! { "index": 0, "code": 121, "errmsg": "" };
    let error = failure(doc! { "writeErrors": [duplicate.clone(), invalid] });
    let refused = refusals("c", 3, &error).unwrap();
    assert_eq!(refused.keys().copied().collect::<Vec<_>>(), [0, 2]);
    assert!(matches!(&refused[&0], StoreError::Fatal { .. }));
    assert!(matches!(&refused[&2], StoreError::DuplicateKey { index, .. } if index == "email_1"));
    let unknown = refusals("c", 2, &error).unwrap_err();
    assert!(matches!(unknown, StoreError::Transient { .. }), "no document has this position: {unknown}");
    let concern = doc! { "code": 64, "errmsg": "waiting for replication" };
    let error = failure(doc! { "writeErrors": [duplicate], "writeConcernError": concern });
    let error = refusals("c", 3, &error).unwrap_err();
    assert!(matches!(&error, StoreError::Transient { .. }), "it concerns every document: {error}");
}
