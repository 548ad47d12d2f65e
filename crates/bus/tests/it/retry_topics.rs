//! Retry topics: a record that keeps failing waits there until it is due, keeps its bytes, its identity and its trace, and becomes a
//! dead letter after some laps. Other records are not affected. The traces need a process of their own.

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use bus::{Delivery, HandlerError, Outcome, Producer};
use contracts::{Group, Topic, headers};
use serde_json::Value;
use telemetry::{propagation, spans};
use tracing::{Instrument as _, Span};

use crate::support::{
    Running, Stored, TestHandler, beside, broker_for, preference, preferences, stored, stored_in,
};

const GROUP: Group = Group::Notification;
const TOPIC: Topic = Topic::PlayersEvents;
const DELAY_MS: u64 = 700;
const IN_PLACE: u32 = 2;
const LAPS: u32 = 2;

#[test]
fn retried_record_keeps_bytes_and_trace() {
    testkit::scenario::run("retry_topics::scenario");
}

#[test]
#[ignore = "the process of the test above"]
fn scenario() {
    if let Some(receiver) = crate::support::scenario(|_| fail_and_retry()) {
        check_traces(&receiver.items());
    }
}

/// What the handler saw of one attempt.
type Attempt = (String, u32, bool);

/// Returns the handler of three players: `heals` succeeds in the retry topic, `never` never, the others at once.
fn handler(attempts: Arc<Mutex<Vec<Attempt>>>) -> Arc<TestHandler> {
    TestHandler::new(move |delivery| {
        let player = delivery.event.player_id().to_owned();
        let is_retry = delivery.record.is_retry();
        attempts.lock().expect("not poisoned").push((player.clone(), delivery.attempt, is_early(delivery)));
        match player.as_str() {
            "heals" if is_retry => Ok(Outcome::Applied),
            "heals" | "never" => Err(HandlerError::transient("the store is unavailable")),
            _ => Ok(Outcome::Applied),
        }
    })
}

/// Returns true if the record was handled before it was due.
fn is_early(delivery: &Delivery) -> bool {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_millis();
    let due = delivery.record.header(headers::DLQ_DUE_MS).and_then(|due| std::str::from_utf8(due).ok());
    due.and_then(|due| due.parse::<u128>().ok()).is_some_and(|due_ms| now < due_ms)
}

async fn fail_and_retry() {
    let config = bus::Config {
        retry_in_place_max: IN_PLACE,
        retry_backoff_min_ms: 1,
        retry_backoff_max_ms: 5,
        retry_topic_delay_ms: DELAY_MS,
        retry_topic_laps_max: LAPS,
        ..broker_for(GROUP).await
    };
    let producer = Producer::new(&config).expect("a producer");
    let (other, mut published) = (beside("heals"), Vec::new());
    async {
        for event in [preference("never", 1), preference("heals", 1), preference(&other, 1)] {
            published.push(producer.publish(&event).await.expect("published"));
        }
    }
    .instrument(spans::background("request", []))
    .await;
    let attempts = Arc::new(Mutex::new(Vec::new()));
    let consumer = Running::start(&config, GROUP, preferences(handler(Arc::clone(&attempts))));
    let letter = stored(&config, &TOPIC.dlq(GROUP), 1).await.remove(0);
    let retried = stored(&config, &TOPIC.retry(GROUP), 3).await;
    consumer.stop().await.expect("stops in order");

    let attempts = attempts.lock().expect("not poisoned").clone();
    assert!(attempts.iter().all(|(_, _, is_early)| !is_early), "handled before it was due: {attempts:?}");
    let of = |player: &str| -> Vec<u32> {
        attempts.iter().filter(|(other, ..)| other == player).map(|(_, attempt, _)| *attempt).collect()
    };
    assert_eq!(of("never"), [1, 2, 1, 2, 1, 2], "two attempts in each of three places");
    assert_eq!((of("heals"), of(&other)), (vec![1, 2, 1], vec![1]));
    let at = |wanted: &(&str, u32)| {
        attempts.iter().rposition(|(player, attempt, _)| (player.as_str(), *attempt) == *wanted)
    };
    let (at_other, at_healed) = (at(&(other.as_str(), 1)), at(&("heals", 1)));
    assert!(at_other < at_healed, "another record waited for the due time: {attempts:?}");

    let first = published[0];
    let original =
        stored_in(&config, TOPIC.name(), first.partition, usize::try_from(first.offset).expect("small") + 1);
    check_copies(&original.await.pop().expect("the original"), &retried, &letter, first);
}

/// Compares the copies of the record that never succeeds with the original.
fn check_copies(original: &Stored, retried: &[Stored], letter: &Stored, first: bus::Published) {
    let is_it = |stored: &&Stored| stored.header(headers::CE_ID).as_deref() == Some("never-1");
    let mut copies: Vec<&Stored> = retried.iter().filter(is_it).collect();
    copies.push(letter);
    assert_eq!(copies.len(), 3);
    let kept = original.headers.len();
    for (index, copy) in copies.iter().enumerate() {
        assert_eq!((&copy.key, &copy.value), (&original.key, &original.value));
        assert_eq!(copy.headers[..kept], original.headers, "byte for byte, once");
        assert!(copy.headers[kept..].iter().all(|(name, _)| name.starts_with(headers::DLQ_PREFIX)));
        // `header` asserts that each occurs once
        let lap = u32::try_from(index).expect("small") + 1;
        for (name, expected) in [
            (headers::DLQ_TOPIC, TOPIC.name().to_owned()),
            (headers::DLQ_PARTITION, first.partition.to_string()),
            (headers::DLQ_OFFSET, first.offset.to_string()),
            (headers::DLQ_ERROR_CLASS, "transient".to_owned()),
            (headers::DLQ_ERROR_MESSAGE, "the store is unavailable".to_owned()),
            (headers::DLQ_ATTEMPTS, (lap * IN_PLACE).to_string()),
            (headers::DLQ_LAPS, lap.min(LAPS).to_string()),
        ] {
            assert_eq!(copy.header(name), Some(expected), "{name} of lap {lap}");
        }
        assert_eq!(copy.header(headers::DLQ_DUE_MS).is_some(), lap <= LAPS);
    }
    let names = |copy: &Stored| copy.headers.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(copies[0]), names(copies[1]), "bookkeeping is replaced, not accumulated");
}

fn check_traces(items: &[(String, Value)]) {
    let traces: Vec<&Value> =
        items.iter().filter(|(kind, _)| kind == "transaction").map(|(_, t)| t).collect();
    let request = traces.iter().find(|t| t["transaction"] == "request").expect("the request");
    let processed = |id: &str| -> Vec<&Value> {
        let is_it = |t: &&&Value| {
            let trace = &t["contexts"]["trace"];
            trace["op"] == "queue.process" && trace["data"]["messaging.message.id"] == id
        };
        let mut found: Vec<&Value> = traces.iter().filter(is_it).copied().collect();
        found.sort_by(|a, b| {
            a["start_timestamp"].as_f64().partial_cmp(&b["start_timestamp"].as_f64()).expect("times")
        });
        found
    };
    let (retry, dead) = (TOPIC.retry(GROUP), TOPIC.dlq(GROUP));
    for (id, moves) in [("never-1", vec![&retry, &retry, &dead]), ("heals-1", vec![&retry])] {
        let found = processed(id);
        let expected = if id == "heals-1" { 2 } else { 3 };
        assert_eq!(found.len(), expected, "one transaction for each lap: {found:#?}");
        let mut parent: Option<&Value> = None;
        for (index, process) in found.iter().enumerate() {
            let trace = &process["contexts"]["trace"];
            assert_eq!(trace["trace_id"], request["contexts"]["trace"]["trace_id"], "one trace");
            if let Some(parent) = parent {
                assert_eq!(trace["parent_span_id"], *parent, "below the move to the retry topic");
            }
            let earlier = (u32::try_from(index).expect("small") + 1) * IN_PLACE - 1;
            let is_healed = id == "heals-1" && index == 1;
            let retries = if is_healed { IN_PLACE } else { earlier };
            assert_eq!(trace["data"]["messaging.message.retry.count"], retries, "{trace:#}");
            assert_eq!(trace["status"], if is_healed { "ok" } else { "unavailable" });
            let spans = process["spans"].as_array().expect("spans");
            let moved: Vec<&Value> = spans.iter().filter(|span| span["op"] == "queue.publish").collect();
            let Some(destination) = moves.get(index) else {
                assert_eq!(moved.len(), 0);
                continue;
            };
            assert_eq!(moved.len(), 1, "one span for the move: {spans:#?}");
            assert_eq!(moved[0]["data"]["messaging.destination.name"], destination.as_str());
            assert_eq!(moved[0]["data"]["error.type"], "transient");
            assert_eq!(moved[0]["parent_span_id"], trace["span_id"]);
            parent = Some(&moved[0]["span_id"]);
        }
    }
}

/// The laps belong to one life of the record: a dead letter that is copied back begins anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replayed_letter_has_all_laps_again() {
    fail_and_replay(Span::none()).await;
}

#[test]
fn unsampled_record_stays_so_after_retry_and_replay() {
    testkit::scenario::run("retry_topics::unsampled");
}

/// Errors are sent whatever was decided about the trace.
#[test]
#[ignore = "the process of the test above"]
fn unsampled() {
    let parent = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-00";
    let publish = |_| {
        let context = propagation::extract([(propagation::TRACEPARENT, parent.as_bytes())]);
        fail_and_replay(spans::continued("request", &context))
    };
    let Some(receiver) = crate::support::scenario(publish) else { return };
    let kinds: Vec<String> = receiver.items().into_iter().map(|(kind, _)| kind).collect();
    assert!(kinds.iter().any(|kind| kind == "event"), "{kinds:?}");
    assert!(kinds.iter().all(|kind| kind != "transaction"), "{kinds:?}");
}

/// Publishes a record below `request`, and copies its dead letter back once.
async fn fail_and_replay(request: Span) {
    let config = bus::Config {
        retry_in_place_max: 1,
        retry_topic_delay_ms: 50,
        retry_topic_laps_max: 1,
        ..broker_for(GROUP).await
    };
    let handler = TestHandler::new(|_| Err(HandlerError::transient("the store is unavailable")));
    let producer = Producer::new(&config).expect("a producer");
    producer.publish(&preference("p", 1)).instrument(request).await.expect("published");
    let consumer = Running::start(&config, GROUP, preferences(handler.clone()));
    let letter = stored(&config, &TOPIC.dlq(GROUP), 1).await.remove(0);
    assert_eq!(handler.seen().len(), 2);
    crate::support::replay(&config, &letter, TOPIC.name()).await;
    let again = stored(&config, &TOPIC.dlq(GROUP), 2).await.remove(1);
    assert_eq!(handler.ids(), ["p-1"; 4], "a lap each time, and the same identity");
    assert_eq!(again.header(headers::DLQ_LAPS).as_deref(), Some("1"));
    assert_eq!(again.header(headers::DLQ_ATTEMPTS).as_deref(), Some("2"));
    consumer.stop().await.expect("stops in order");
}
