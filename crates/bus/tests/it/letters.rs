//! Dead letters are read, replayed as the original records and discarded, and each action is kept.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bus::letter::{
    ActionKind, History, Keep, Letter, LetterId, LetterReader, Limits, Note, discard, replay, replay_once,
};
use bus::{Config, HandlerError, Outcome, Producer};
use contracts::topics::{DLQ_ACTIONS, catalogue};
use contracts::{Group, Topic, headers};
use rdkafka::consumer::Consumer as _;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::FutureRecord;
use testkit::eventually;

use crate::support::{
    CONSOLE_BET, DEADLINE, Running, TestHandler, bets, broker_for, physical, publish_raw, raw_consumer,
    raw_producer, specs_for, stored_in,
};

const BETS: Topic = Topic::BetsCommands;
const LIMITS: Limits =
    Limits { letters_max: 100, bytes_max: 1_000_000, deadline: Duration::from_secs(30), keep: Keep::Oldest };

/// Waits for letters that this reader has not returned yet.
async fn new_letters(reader: &Arc<LetterReader>) -> Vec<Letter> {
    eventually("new dead letters", DEADLINE, || async {
        let read = reader.letters(LIMITS, |_| true).await.expect("letters");
        assert!(!read.is_incomplete && read.left_out == 0, "{read:?}");
        (!read.letters.is_empty()).then_some(read.letters)
    })
    .await
}

/// Publishes a bet with headers that only the byte-for-byte form keeps.
async fn publish_bet(config: &Config) {
    let headers = OwnedHeaders::new()
        .insert(Header { key: "twice", value: Some("1") })
        .insert(Header { key: headers::BAGGAGE, value: Some("vendor=x,pitboss.faults=consumer.slow") })
        .insert(Header { key: "null", value: None::<&str> })
        .insert(Header { key: "twice", value: Some("2") });
    let topic = physical(config, BETS.name());
    let record = FutureRecord::to(&topic).key("p-1").payload(CONSOLE_BET).headers(headers);
    raw_producer(config).send(record, DEADLINE).await.expect("published");
}

async fn broker() -> Config {
    let config = broker_for(Group::Game).await;
    let actions: Vec<_> = catalogue().into_iter().filter(|spec| spec.name == DLQ_ACTIONS).collect();
    bus::admin::ensure_topics(&config, &actions).await.expect("the topic of actions");
    config
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replay_keeps_record_and_closes_letter() {
    let config = broker().await;
    let is_broken = Arc::new(AtomicBool::new(true));
    let broken = Arc::clone(&is_broken);
    let handler = TestHandler::new(move |_| match broken.load(Ordering::SeqCst) {
        true => Err(HandlerError::poison("not repaired")),
        false => Ok(Outcome::Applied),
    });
    let consumer = Running::start(&config, Group::Game, bets(handler.clone())).ready().await;
    publish_bet(&config).await;

    let (reader, producer) = (LetterReader::new(&config).unwrap(), Producer::new(&config).unwrap());
    let first = new_letters(&reader).await.remove(0);
    assert_eq!((first.verdict.class.as_str(), first.verdict.attempts), ("poison", Some(1)));
    assert!(first.verdict.reason.contains("not repaired"), "{:?}", first.verdict);
    assert_eq!(first.first.topic, BETS.name());

    // It fails again, so it comes back as a new letter of the same record.
    let note = Note::new("ann", "try again");
    let action = replay(&producer, &first, &note, None).await.unwrap();
    let second = new_letters(&reader).await.remove(0);
    assert_eq!((&second.first, &second.event_id), (&first.first, &first.event_id));
    assert!(second.id.offset > first.id.offset);
    let mut history = History::default();
    history.extend(reader.actions(DEADLINE).await.unwrap().actions);
    assert_eq!(history.of(&second).map(|handled| &handled.last), Some(&action));
    assert!(!history.is_open(&first) && history.is_open(&second));

    is_broken.store(false, Ordering::SeqCst);
    let action = replay(&producer, &second, &note, history.of(&second)).await.unwrap();
    let seen = handler.wait_for(3).await;
    assert!(seen.iter().all(|seen| seen.event.id == first.event_id), "{seen:?}");
    let place = action.published.expect("a place");
    assert_eq!((place.topic.as_str(), place.partition), (BETS.name(), first.first.partition));
    let count = usize::try_from(place.offset).unwrap() + 1;
    let record = stored_in(&config, BETS.name(), place.partition, count).await.remove(count - 1);
    assert_eq!(record.key.as_deref(), Some(b"p-1".as_slice()));
    assert_eq!(record.value.as_deref(), Some(CONSOLE_BET));
    let text = |value: &Option<Vec<u8>>| value.as_ref().map(|v| String::from_utf8_lossy(v).into_owned());
    let own: Vec<_> = record.headers.iter().map(|(name, value)| (name.as_str(), text(value))).collect();
    assert_eq!(own[..3], [("twice", Some("1".into())), ("null", None), ("twice", Some("2".into()))]);
    assert_eq!(record.header(headers::BAGGAGE).as_deref(), Some("vendor=x"));
    assert_eq!(record.header(headers::DLQ_OFFSET), Some(first.first.offset.to_string()));
    assert!(record.header(headers::DLQ_ERROR_CLASS).is_none(), "the verdict is gone");
    consumer.stop().await.expect("stops in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_replay_closes_letters_of_both_groups() {
    let config = broker().await;
    let first = [
        (headers::DLQ_TOPIC, BETS.name()),
        (headers::DLQ_PARTITION, "0"),
        (headers::DLQ_OFFSET, "7"),
        (headers::DLQ_ERROR_CLASS, "poison"),
    ];
    let of = |group, offset| {
        Letter::example(LetterId { group, topic: BETS, partition: 0, offset }, 1_000, &first, "{}")
    };
    let (one, other) = (of(Group::Game, 3), of(Group::User, 5));
    let producer = Producer::new(&config).unwrap();
    let note = Note::new("ann", "");
    let replayed = replay_once(&producer, (&one, None), &[(&other, None)], &note).await.unwrap();
    let place = replayed.action.published.expect("a place");
    let shared = replayed.others[0].as_ref().expect("an action");
    assert_eq!((shared.published.as_ref(), shared.group.as_str()), (Some(&place), "user"));
    let topic = physical(&config, BETS.name());
    let watermarks = raw_consumer(&config, "raw").fetch_watermarks(&topic, place.partition, DEADLINE);
    assert_eq!((place.offset, watermarks.expect("watermarks").1), (0, 1), "one record");
    let mut history = History::default();
    history.extend(LetterReader::new(&config).unwrap().actions(DEADLINE).await.unwrap().actions);
    assert!(!history.is_open(&one) && !history.is_open(&other));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn discarded_letter_is_closed_for_all_readers() {
    let config = broker().await;
    let consumer = Running::start(&config, Group::Game, bets(TestHandler::all())).ready().await;
    publish_raw(&config, BETS.name(), Some(b"p"), b"not an event").await;
    let reader = LetterReader::new(&config).unwrap();
    let letter = new_letters(&reader).await.remove(0);
    assert_eq!(letter.verdict.class, "undecodable");
    let note = Note::new("ann", "a test");
    discard(&Producer::new(&config).unwrap(), &letter, &note, None).await.unwrap();

    let hurried = LetterReader::new(&config).unwrap().actions(Duration::ZERO).await;
    assert!(hurried.is_err(), "without its action the letter would seem to be open: {hurried:?}");
    let other = LetterReader::new(&config).unwrap();
    let actions = other.actions(DEADLINE).await.unwrap().actions;
    assert_eq!(actions.len(), 1);
    let kept = (actions[0].action, actions[0].by.as_str(), actions[0].reason.as_str());
    assert_eq!(kept, (ActionKind::Discard, "ann", "a test"));
    let mut history = History::default();
    history.extend(actions);
    let open = other.letters(LIMITS, move |letter| history.is_open(letter)).await.unwrap();
    assert!(open.letters.is_empty(), "{open:?}");
    assert!(reader.letters(LIMITS, |_| true).await.unwrap().letters.is_empty(), "the letter was read before");
    consumer.stop().await.expect("stops in order");
}

/// The caller of a failed read gets nothing of it, so its letters have to come with the next one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_of_a_failed_read_come_with_the_next_one() {
    const LATER: (Topic, Group) = (Topic::BetsEvents, Group::User);
    let config = broker().await;
    let (topic, group) = LATER;
    bus::admin::ensure_topics(&config, &specs_for(group)).await.expect("topics of the later group");
    let reader = LetterReader::new(&config).unwrap();
    eventually("a reading of new topics", DEADLINE, || async {
        reader.letters(LIMITS, |_| true).await.is_ok().then_some(())
    })
    .await;
    for dead_letters in [BETS.dlq(Group::Game), topic.dlq(group)] {
        publish_raw(&config, &dead_letters, Some(b"p"), CONSOLE_BET).await;
    }
    let is_wanted = |letter: &Letter| {
        assert_ne!(letter.id.group, LATER.1, "this read fails on purpose in its second topic");
        true
    };
    let failed = reader.letters(LIMITS, is_wanted).await;
    assert!(failed.is_err(), "{failed:?}");
    let groups: BTreeSet<Group> = new_letters(&reader).await.iter().map(|letter| letter.id.group).collect();
    assert_eq!(groups, BTreeSet::from([Group::Game, group]));
}
