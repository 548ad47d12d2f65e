//! Records planted on topics in a namespace of the test's own.

use std::collections::BTreeSet;
use std::time::Duration;

use bus::{Config, Producer, Published, RawRecord};
use contracts::proto::bets::v1::{BetSettled, BetVoided};
use contracts::proto::common::v1::Money;
use contracts::proto::payments::v1::{DepositCompleted, WagerApplied, WagerVoided};
use contracts::topics::DLQ_ACTIONS;
use contracts::{Event, EventId, EventType, Group, Message, Topic, ids};
use pitboss::audit::{CheckId, Mark, Report};
use serde_json::json;
use store::bson::{Document, doc};

use super::{World, findings, pointers, violated};

const TOPICS: [Topic; 4] =
    [Topic::BetsCommands, Topic::BetsEvents, Topic::PaymentsCommands, Topic::PaymentsEvents];

/// Checks that read topics. No command is planted here.
fn checks() -> impl Iterator<Item = CheckId> {
    CheckId::ALL.into_iter().filter(|check| check.reads_topics() && *check != CheckId::CommandEnds)
}

fn id(text: &str) -> EventId {
    text.parse().expect("an id")
}

fn money(minor: i64) -> Option<Money> {
    Some(Money { minor, currency: "EUR".to_owned() })
}

/// Id of the event that game publishes about a bet.
fn of_bet(bet_id: &str, event_type: EventType) -> String {
    ids::follower_id(&id(bet_id), event_type).to_string()
}

fn settled(player_id: &str, bet_id: &str, payout_minor: i64) -> BetSettled {
    BetSettled {
        bet_id: bet_id.to_owned(),
        player_id: player_id.to_owned(),
        game: "slots".to_owned(),
        stake: money(100),
        payout: money(payout_minor),
        balance_after: money(1_400),
        ..BetSettled::default()
    }
}

fn applied(player_id: &str, bet_id: &str, seq: i64) -> WagerApplied {
    WagerApplied {
        wager_id: bet_id.to_owned(),
        player_id: player_id.to_owned(),
        game: "slots".to_owned(),
        stake: money(100),
        payout: money(500),
        balance_after: money(1_400),
        seq,
    }
}

fn wager_voided(payout_minor: i64) -> WagerVoided {
    WagerVoided {
        wager_id: "bet-void".to_owned(),
        player_id: "ada".to_owned(),
        balance_after: money(1_400),
        reason: "by hand".to_owned(),
        reversed_stake: money(100),
        reversed_payout: money(payout_minor),
    }
}

fn bet_voided() -> BetVoided {
    BetVoided {
        bet_id: "bet-void".to_owned(),
        player_id: "ada".to_owned(),
        game: "slots".to_owned(),
        stake: money(100),
        reason: "by hand".to_owned(),
        reversed_stake: money(100),
        reversed_payout: money(500),
    }
}

pub(super) struct Topics {
    producer: Producer,
}

impl Topics {
    /// Creates the topics of this world.
    pub(super) async fn new(world: &World) -> Self {
        let config = Config {
            bootstrap_servers: testkit::kafka(),
            namespace: world.sources.kafka_namespace.clone(),
            ..Config::default()
        };
        let of_letters = [
            Topic::BetsEvents.dlq(Group::Analytics),
            Topic::PaymentsCommands.dlq(Group::Payment),
            DLQ_ACTIONS.to_owned(),
        ];
        let is_wanted = |name: &str| {
            TOPICS.iter().any(|topic| topic.name() == name) || of_letters.iter().any(|topic| topic == name)
        };
        let catalogue = contracts::topics::catalogue().into_iter();
        let specs: Vec<_> = catalogue.filter(|spec| is_wanted(&spec.name)).collect();
        bus::admin::ensure_topics(&config, &specs).await.expect("topics");
        Self { producer: Producer::new(&config).expect("a producer") }
    }

    /// Publishes an event with this id, which names this cause.
    async fn publish(&self, event_id: &str, cause: &str, message: impl Into<Message>) -> Published {
        let mut event = Event::follower(&id(cause), "/test", message);
        event.id = id(event_id);
        self.producer.publish(&event).await.expect("published")
    }

    /// Publishes a record without a key.
    async fn publish_raw(&self, topic: &str, headers: &[(&str, &str)], value: String) -> Published {
        let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned().into());
        let headers = headers.iter().map(owned).collect();
        let record = RawRecord { topic: topic.to_owned(), key: None, headers, value: value.into() };
        self.producer.publish_raw(&record).await.expect("published")
    }

    /// Parks a record as this group does, with the first place 0/0.
    async fn park(&self, group: Group, topic: Topic, event_id: &str) -> Published {
        let headers = [
            ("ce_id", event_id),
            ("dlq-original-topic", topic.name()),
            ("dlq-original-partition", "0"),
            ("dlq-original-offset", "0"),
            ("dlq-error-class", "poison"),
        ];
        self.publish_raw(&topic.dlq(group), &headers, "{}".to_owned()).await
    }

    /// Replays or discards a letter of [`Topics::park`] of this group and topic, as an operator does. It was done long ago.
    async fn act(&self, kind: &str, (group, topic): (Group, Topic), event_id: &str, letter: Published) {
        let action = json!({
            "action": kind, "by": "ann", "at": "2020-11-28T18:00:00Z", "group": group.as_str(), "event_id": event_id,
            "letter": { "topic": topic.dlq(group), "partition": letter.partition, "offset": letter.offset },
            "first": { "topic": topic.name(), "partition": 0, "offset": 0 },
        });
        self.publish_raw(DLQ_ACTIONS, &[], action.to_string()).await;
    }

    /// Publishes what payment and game publish about a settled bet.
    async fn publish_bet(&self, player_id: &str, seq: i64, bet_id: &str) {
        let cause = format!("{player_id}-{seq}");
        self.publish(&format!("event-{bet_id}"), &cause, applied(player_id, bet_id, seq)).await;
        let event_id = of_bet(bet_id, EventType::BetSettled);
        self.publish(&event_id, bet_id, settled(player_id, bet_id, 500)).await;
    }
}

fn pointer(topic: Topic, published: Published) -> String {
    let Published { partition, offset } = published;
    format!("{topic} partition={partition} offset={offset}")
}

fn checked(report: &Report, check: CheckId) -> u64 {
    report.checks.iter().find(|result| result.name == check.name()).expect("the check").checked
}

/// A deposit, a settled bet and a voided one, in documents and on topics.
async fn play(world: &World, topics: &Topics) {
    world.account("ada", 5, 1_400).await;
    world.deposit("ada", 1, "pay-1", 1_000).await;
    world.bet("ada", 2, "bet-1", 500, 1_400).await;
    world.bet("ada", 3, "bet-void", 500, 1_800).await;
    world.void("ada", 4, "bet-void", 500, 1_400).await;
    let voided_id = of_bet("bet-void", EventType::BetVoided);
    world.fact(&voided_id, "bet_reversed", "slots", (-100, -500)).await;
    world.rollups((3, 100, 500), (1, 1_000)).await;
    let deposited = DepositCompleted {
        payment_id: "pay-1".to_owned(),
        player_id: "ada".to_owned(),
        amount: money(1_000),
        balance_after: money(1_000),
        provider_reference: String::new(),
    };
    topics.publish("event-pay-1", "ada-1", deposited).await;
    topics.publish_bet("ada", 2, "bet-1").await;
    topics.publish_bet("ada", 3, "bet-void").await;
    topics.publish("void-bet-void", "ada-4", wager_voided(500)).await;
    topics.publish(&voided_id, "bet-void", bet_voided()).await;
}

/// Difference that is expected between the clocks of store and broker, and a little more. What is older than the oldest record by
/// less may be deleted.
const CLOCKS_DIFFER: Duration = Duration::from_secs(11);

/// A decision that is only in the tail of its account. Returns it without the place of its row.
async fn decide_in_tail(world: &World, player_id: &str) -> Document {
    world.account(player_id, 1, 0).await;
    let decision = doc! {
        "seq": 1_i64, "command_id": format!("{player_id}-1"), "keys": [format!("c:{player_id}-1")],
        "outcome": "rejected", "at": world.at(), "type": EventType::ApplyWager.as_str(),
        "postings": Vec::<Document>::new(),
        "event": { "id": format!("event-{player_id}"), "type": EventType::WagerRejected.as_str() },
    };
    let in_tail = doc! { "next_seq": 2_i64, "tail": [decision.clone()] };
    world.update(&world.databases.payment, "accounts", player_id, in_tail).await;
    decision
}

#[tokio::test]
async fn planted_records_are_found_by_place() {
    let mut world = World::new().await;
    let topics = Topics::new(&world).await;
    play(&world, &topics).await;
    // Redelivery publishes the same event again.
    topics.publish_bet("ada", 2, "bet-1").await;
    let (report, _) = world.audit_from(&Mark::at(None)).await;
    assert!(report.is_clean(), "{report:#?}");
    for check in checks() {
        assert!(checked(&report, check) > 0, "{}: {report:#?}", check.name());
    }

    // A second settlement with another amount, a late wager that was not decided, and another content of a void.
    let second = topics.publish("second", "bet-1", settled("ada", "bet-1", 600)).await;
    let late = topics.publish("event-late", "ada-99", applied("ada", "bet-late", 1)).await;
    let other = topics.publish("void-bet-void", "ada-4", wager_voided(501)).await;
    // A bet whose events are not on the topics, younger than the oldest record of the topics.
    tokio::time::sleep(CLOCKS_DIFFER).await;
    world.later();
    world.account("bob", 2, 400).await;
    world.bet("bob", 1, "bet-silent", 500, 400).await;
    let decision = decide_in_tail(&world, "cid").await;
    let (report, mark) = world.audit_from(&Mark::at(None)).await;
    let expected: BTreeSet<&str> = checks().map(CheckId::name).collect();
    let mut found = violated(&report);
    // The sums have no bob yet. That is compared when the bucket of now is complete, which depends on the time.
    found.remove(CheckId::Rollups.name());
    assert_eq!(found, expected, "{report:#?}");
    let found = pointers(&report);
    for place in [
        pointer(Topic::BetsEvents, second),
        pointer(Topic::PaymentsEvents, late),
        pointer(Topic::PaymentsEvents, other),
        "game.bets _id=bet-silent".to_owned(),
        "payment.ledger _id=bob/1".to_owned(),
    ] {
        assert!(found.contains(place.as_str()), "{place}: {report:#?}");
    }
    let shows = format!("--partition {} --offset {} ", second.partition, second.offset);
    assert!(found.iter().any(|pointer| pointer.contains(&shows)), "{shows}: {report:#?}");
    let is_of_amount = report.findings().any(|finding| finding.what.contains("stated payout 6.00 EUR"));
    assert!(is_of_amount, "{report:#?}");

    // The next audit reads the open records again, and the row that was written late, whose event is lost. The other missing events
    // arrive before the audit after it.
    let mut row = doc! { "_id": "cid/1", "player_id": "cid" };
    row.extend(decision);
    world.insert(&world.databases.payment, "ledger", row).await;
    let (report, mark) = world.audit_from(&mark).await;
    assert!(pointers(&report).contains(pointer(Topic::BetsEvents, second).as_str()), "{report:#?}");
    assert_eq!(findings(&report, CheckId::BetEvents), 1, "{report:#?}");
    assert_eq!(findings(&report, CheckId::LedgerEvents), 2, "{report:#?}");
    topics.publish_bet("bob", 1, "bet-silent").await;
    let (report, _) = world.audit_from(&mark).await;
    assert_eq!(findings(&report, CheckId::BetEvents), 0, "{report:#?}");
    assert_eq!(findings(&report, CheckId::LedgerEvents), 1, "{report:#?}");
    assert!(pointers(&report).contains("payment.ledger _id=cid/1"), "{report:#?}");
    world.drop_databases().await;
}

/// Analytics parked the event of a bet, so its fact is missing until an operator acts.
#[tokio::test]
async fn fact_of_an_open_letter_is_no_finding() {
    let world = World::new().await;
    let topics = Topics::new(&world).await;
    play(&world, &topics).await;
    let event_id = of_bet("bet-1", EventType::BetSettled);
    let facts = World::mongo(&world.databases.analytics).await.collection::<Document>("facts");
    assert_eq!(facts.delete_one(doc! { "_id": &event_id }).await.expect("deleted"), 1);
    let results = |report: &Report| {
        [CheckId::Facts, CheckId::EventFacts].map(|check| {
            let result = report.checks.iter().find(|result| result.name == check.name()).expect("the check");
            (result.violations(), result.parked)
        })
    };
    let (report, _) = world.audit_from(&Mark::at(None)).await;
    assert_eq!(results(&report), [(1, 0); 2], "{report:#?}");
    let letter = topics.park(Group::Analytics, Topic::BetsEvents, &event_id).await;
    let (report, mark) = world.audit_from(&Mark::at(None)).await;
    assert_eq!(results(&report), [(0, 1); 2], "{report:#?}");
    topics.act("discard", (Group::Analytics, Topic::BetsEvents), &event_id, letter).await;
    let (report, _) = world.audit_from(&mark).await;
    assert_eq!(results(&report), [(1, 0); 2], "it was discarded and is still missing: {report:#?}");
    world.drop_databases().await;
}

/// Payment parked the command of a bet, so the bet does not end until an operator acts.
#[tokio::test]
async fn bet_of_an_open_letter_is_no_finding() {
    let world = World::new().await;
    let topics = Topics::new(&world).await;
    play(&world, &topics).await;
    let given_up = doc! { "state": "decided", "unanswered_at": world.at() };
    world.update(&world.databases.game, "bets", "bet-1", given_up).await;
    let result = |report: &Report| {
        let name = CheckId::BetsEnded.name();
        let result = report.checks.iter().find(|result| result.name == name).expect("the check");
        (result.violations(), result.parked)
    };
    let (report, _) = world.audit_from(&Mark::at(None)).await;
    assert_eq!(result(&report), (1, 0), "{report:#?}");
    let command_id = of_bet("bet-1", EventType::ApplyWager);
    topics.park(Group::Analytics, Topic::BetsEvents, &command_id).await;
    let (report, _) = world.audit_from(&Mark::at(None)).await;
    assert_eq!(result(&report), (1, 0), "analytics ends no bet: {report:#?}");
    let of_payment = (Group::Payment, Topic::PaymentsCommands);
    let letter = topics.park(of_payment.0, of_payment.1, &command_id).await;
    let (report, mark) = world.audit_from(&Mark::at(None)).await;
    assert_eq!(result(&report), (0, 1), "{report:#?}");
    topics.act("replay", of_payment, &command_id, letter).await;
    let (report, mark) = world.audit_from(&mark).await;
    assert_eq!(result(&report), (1, 0), "the replay did not end it: {report:#?}");
    topics.act("discard", of_payment, &command_id, letter).await;
    let (report, _) = world.audit_from(&mark).await;
    assert_eq!(result(&report), (0, 0), "it stays pending: {report:#?}");
    world.drop_databases().await;
}
