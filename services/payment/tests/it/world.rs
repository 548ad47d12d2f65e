//! Test world with its own database and topics, ledgers that can die, and all published records.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bus::{CancellationToken, Delivery, HandleAny, HandlerError, Outcome, Producer, RawRecord};
use contracts::topics::catalogue_of;
use contracts::{EventId, EventType, Group, Message, Topic, ids};
use money::{Currency, Money};
use payment::domain::{PaymentKind, PendingPayment, Wager};
use payment::ledger::{Admission, Entry, Hooks, Incoming, Ledger, LedgerError, Payments, Request, Verdict};
use payment::provider::intent::Intent;
use payment::provider::intents::Intents;
use store::StoreError;
use store::mongo::{Config as MongoConfig, Mongo};
use tokio::sync::mpsc;

/// Longest wait of a test for an expected event.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(60);

/// Lease of a claimed payment in these tests. A slow machine must not end it in the middle of a request, and a test can wait for
/// its end.
pub(crate) const LEASE_MS: u64 = 20_000;

/// One record of the event topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Published {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) id: String,
    pub(crate) event_type: EventType,
    pub(crate) message: String,
    /// Key, value and headers without those of the trace. They must be the same bytes each time.
    pub(crate) bytes: Vec<u8>,
}

/// All published records, by partition and offset.
#[derive(Debug, Clone, Default)]
pub(crate) struct PublishedRecords(Arc<Mutex<BTreeMap<(i32, i64), Published>>>);

impl PublishedRecords {
    pub(crate) fn all(&self) -> Vec<Published> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

#[async_trait]
impl HandleAny for PublishedRecords {
    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        let record = &delivery.record;
        let mut bytes = record.key.clone().unwrap_or_default().to_vec();
        bytes.extend_from_slice(&record.value);
        // Headers that differ each time: the trace, and the time of sending.
        let traced = ["traceparent", "tracestate", "baggage", "sentry-trace", "sentry-task-enqueued-time"];
        for (name, value) in record.headers.iter().filter(|(name, _)| !traced.contains(&name.as_str())) {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(value);
        }
        let published = Published {
            partition: record.partition,
            offset: record.offset,
            id: delivery.event.id.to_string(),
            event_type: delivery.event.event_type(),
            message: format!("{:?}", delivery.event.message),
            bytes,
        };
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        records.insert((record.partition, record.offset), published);
        Ok(Outcome::Applied)
    }
}

/// List of payments that no pool works on.
#[derive(Debug, Default)]
pub(crate) struct NoPayments;

#[async_trait]
impl Payments for NoPayments {
    async fn ensure(&self, _player_id: &str, _entry: &Entry) -> Result<(), StoreError> {
        Ok(())
    }

    async fn admit(&self, _payment_id: &str, _captured: bool) -> Result<Admission, StoreError> {
        Ok(Admission::Admitted)
    }

    async fn mark_settled(&self, _payment_id: &str, _captured: Option<bool>) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Real servers, with names that no other test uses.
pub(crate) struct World {
    pub(crate) mongo: Mongo,
    pub(crate) mongo_config: MongoConfig,
    pub(crate) kafka: bus::Config,
    pub(crate) producer: Producer,
    pub(crate) records: PublishedRecords,
    stop: CancellationToken,
    /// Number of records that were added to the dead letters to count them.
    probes: AtomicI64,
}

impl World {
    pub(crate) async fn new() -> Self {
        let kafka = bus::Config {
            bootstrap_servers: testkit::kafka(),
            namespace: testkit::unique("pay"),
            ..bus::Config::default()
        };
        bus::admin::ensure_topics(&kafka, &catalogue_of(contracts::Group::Payment)).await.expect("topics");
        let mongo_config: MongoConfig = testkit::long_timeouts::mongo("pay");
        let mongo = Mongo::connect(&mongo_config).await.expect("a MongoDB server");
        let producer = Producer::new(&kafka).expect("a producer");
        let records = PublishedRecords::default();
        let topics = [Topic::PaymentsEvents];
        let stop = testkit::tail::start(&kafka, &topics, records.clone(), &producer).await;
        let world = Self { mongo, mongo_config, kafka, producer, records, stop, probes: AtomicI64::new(0) };
        world.ledger().ensure_indexes().await.expect("indexes");
        world
    }

    /// Creates a new process, which does not know what others have relayed.
    pub(crate) fn ledger(&self) -> Ledger {
        Ledger::new(self.mongo.clone(), Arc::new(self.producer.clone()), Arc::new(NoPayments))
    }

    /// Returns the list of payments, and the receiver of new ones, which no pool reads.
    pub(crate) fn intents(&self) -> (Intents, mpsc::Receiver<String>) {
        let (new_payments, receiver) = mpsc::channel(16);
        (Intents::new(&self.mongo, new_payments, LEASE_MS), receiver)
    }

    /// Creates a new process that keeps a list of payments, which no pool works on.
    pub(crate) fn ledger_with_intents(&self) -> (Ledger, mpsc::Receiver<String>) {
        let (intents, receiver) = self.intents();
        (Ledger::new(self.mongo.clone(), Arc::new(self.producer.clone()), Arc::new(intents)), receiver)
    }

    /// Returns the number of dead letters. Their topic has one partition, so the offset of one more record is the count.
    pub(crate) async fn parked(&self) -> i64 {
        let topic = Topic::PaymentsCommands.dlq(Group::Payment);
        let probe = RawRecord { topic, key: None, headers: Vec::new(), value: Vec::new().into() };
        let place = self.producer.publish_raw(&probe).await.expect("acknowledged").offset;
        place - self.probes.fetch_add(1, Ordering::SeqCst)
    }

    pub(crate) fn ledger_with(&self, hooks: Arc<dyn Hooks>) -> Ledger {
        self.ledger().with_hooks(hooks)
    }

    /// Opens an account with money in it, by a deposit.
    pub(crate) async fn fund(&self, player_id: &str, minor: i64) {
        let ledger = self.ledger();
        for command in deposit(&format!("fund-{player_id}"), player_id, minor) {
            command.run(&ledger).await.expect("funded");
        }
        ledger.trim().await.expect("trimmed");
    }

    /// Waits until `holds` is true of a payment on the list. `what` describes the condition.
    pub(crate) async fn listed(&self, payment: &str, what: &str, holds: impl Fn(&Intent) -> bool) {
        let (intents, _receiver) = self.intents();
        let holds = &holds;
        testkit::eventually(what, WAIT_MAX, || async {
            intents.find(payment).await.ok().flatten().filter(holds)
        })
        .await;
    }

    /// Writes `fields` into a payment on the list, as time or another build may have left it.
    pub(crate) async fn rewrite(&self, payment: &str, fields: bson::Document) {
        let intents = self.mongo.collection::<bson::Document>("intents");
        let change = bson::doc! { "$set": fields };
        let matched = intents.update_one(bson::doc! { "_id": payment }, change).await.unwrap();
        assert_eq!(matched, 1, "{payment} is on the list");
    }

    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.mongo.drop_database().await.expect("dropped");
    }
}

/// Command as recorded on a topic. It can be delivered again and again.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    pub(crate) id: EventId,
    pub(crate) player_id: String,
    pub(crate) command_type: EventType,
    pub(crate) request: Request,
}

impl Recorded {
    pub(crate) async fn run(&self, ledger: &Ledger) -> Result<Verdict, LedgerError> {
        let hashed = contracts::proto::payments::v1::CommandConflict {
            command_id: format!("{:?}", self.request),
            command_type: String::new(),
            player_id: self.player_id.clone(),
        };
        let incoming = Incoming {
            player_id: &self.player_id,
            command_id: &self.id,
            command_type: self.command_type,
            // Any function of the request will do.
            request_hash: ids::request_hash(&Message::from(hashed)),
            request: self.request.clone(),
        };
        ledger.execute(&incoming).await
    }
}

pub(crate) fn event_id(text: &str) -> EventId {
    text.parse().unwrap()
}

pub(crate) fn eur(minor: i64) -> Money {
    Money::new(minor, Currency::Eur)
}

pub(crate) fn wager(id: &str, player_id: &str, stake: i64, payout: i64) -> Recorded {
    Recorded {
        id: event_id(id),
        player_id: player_id.to_owned(),
        command_type: EventType::ApplyWager,
        request: Request::ApplyWager(Wager {
            wager_id: event_id(&format!("wager-{id}")),
            game: "slots".to_owned(),
            stake: eur(stake),
            payout: eur(payout),
        }),
    }
}

pub(crate) fn void(id: &str, player_id: &str, wager: &str) -> Recorded {
    Recorded {
        id: event_id(id),
        player_id: player_id.to_owned(),
        command_type: EventType::VoidWager,
        request: Request::VoidWager {
            wager_id: event_id(&format!("wager-{wager}")),
            reason: "a test".to_owned(),
        },
    }
}

/// Returns the request of a player for a payment.
pub(crate) fn payment(id: &str, player_id: &str, kind: PaymentKind, minor: i64) -> Recorded {
    let command_type = match kind {
        PaymentKind::Deposit => EventType::Deposit,
        PaymentKind::Withdrawal => EventType::Withdraw,
    };
    let request = Request::Payment(PendingPayment { kind, amount: eur(minor) });
    Recorded { id: event_id(id), player_id: player_id.to_owned(), command_type, request }
}

/// Returns the command that the provider's answer and its webhook become.
pub(crate) fn provider_report(payment: &str, player_id: &str, minor: i64, captured: bool) -> Recorded {
    let payment_id = event_id(payment);
    Recorded {
        id: ids::provider_reported_id(&payment_id),
        player_id: player_id.to_owned(),
        command_type: EventType::ProviderReported,
        request: Request::Report {
            payment_id,
            captured,
            provider_reference: "ref".to_owned(),
            amount: eur(minor),
        },
    }
}

/// Returns a deposit and the provider's report about it.
pub(crate) fn deposit(id: &str, player_id: &str, minor: i64) -> [Recorded; 2] {
    [payment(id, player_id, PaymentKind::Deposit, minor), provider_report(id, player_id, minor, true)]
}
