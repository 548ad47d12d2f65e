//! Shared test support: an own namespace on the broker, events to publish, handlers that record, and raw reads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bus::{
    CancellationToken, Config, Consumer, ConsumerError, ConsumerStats, Delivery, HandleAny, HandlerError,
    Outcome, Producer, Published, RecordHook, Router, Tail,
};
use bytes::Bytes;
use contracts::proto::bets::v1::PlaceBet;
use contracts::proto::common::v1::Money;
use contracts::proto::players::v1::PreferencesChanged;
use contracts::{Event, EventId, EventType, Group, Topic, TopicSpec, ids};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Headers as _;
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use testkit::eventually;
use testkit::receiver::Receiver;

/// Long enough for a rebalance on a busy machine. A test that passes never waits for it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Runs the body of a scenario (`testkit::scenario`) with its own Sentry server, which it returns. Returns None in another process.
pub(crate) fn scenario<F: Future<Output = ()>>(
    body: impl FnOnce(Arc<Receiver>) -> F,
) -> Option<Arc<Receiver>> {
    testkit::scenario::received("game", body).map(|(receiver, ())| receiver)
}

/// Creates a namespace with the topics that `group` reads, and their retry and dead-letter topics.
pub(crate) async fn broker_for(group: Group) -> Config {
    let config = namespace();
    bus::admin::ensure_topics(&config, &specs_for(group)).await.expect("topics can be created");
    config
}

/// A namespace of its own, with generous time-outs. With production's, a member on a busy machine gives back records that it
/// handled, because its last commit was not confirmed in time or because the group removed it.
pub(crate) fn namespace() -> Config {
    Config {
        bootstrap_servers: testkit::kafka(),
        namespace: testkit::unique("bus"),
        client_id: "bus-test".to_owned(),
        commit_interval_ms: 100,
        session_timeout_ms: 30_000,
        commit_deadline_ms: 20_000,
        revoke_drain_deadline_ms: 30_000,
        // Both together are below `DEADLINE`
        stop_drain_deadline_ms: 30_000,
        close_deadline_ms: 20_000,
        ..Config::default()
    }
}

pub(crate) fn specs_for(group: Group) -> Vec<TopicSpec> {
    let wanted = |spec: &TopicSpec| {
        let is_read = |topic: &Topic| spec.name == topic.name() || spec.name == topic.dlq(group);
        group.reads().iter().any(is_read) || group.retry_topics().contains(&spec.name)
    };
    contracts::topics::catalogue().into_iter().filter(wanted).collect()
}

pub(crate) fn place_bet(player: &str, number: u64) -> Event {
    let message = PlaceBet {
        player_id: player.to_owned(),
        game: "slots".to_owned(),
        stake: Some(Money { minor: 100, currency: "EUR".to_owned() }),
    };
    let id: EventId = format!("{player}-{number}").parse().expect("a valid id");
    let hash = ids::request_hash(&message.clone().into());
    Event::command(id, "/test", hash, message)
}

/// An event of a topic that groups with retry topics read.
pub(crate) fn preference(player: &str, number: u64) -> Event {
    let message = PreferencesChanged { player_id: player.to_owned(), email_enabled: true };
    let id: EventId = format!("{player}-{number}").parse().expect("a valid id");
    let hash = ids::request_hash(&message.clone().into());
    Event { request_hash: None, ..Event::command(id, "/test", hash, message) }
}

pub(crate) fn preferences(handler: impl HandleAny + 'static) -> Router {
    Router::new().on_each([EventType::PreferencesChanged], handler)
}

/// Publishes all events at once and waits for their acknowledgements.
pub(crate) async fn publish_all(producer: &Producer, events: &[Event]) -> Vec<Published> {
    let published = futures::future::try_join_all(events.iter().map(|event| producer.publish(event)));
    published.await.expect("published")
}

/// Returns the broker's name of a topic.
pub(crate) fn physical(config: &Config, topic: &str) -> String {
    format!("{}.{topic}", config.namespace)
}

/// One handled record, as its handler saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) event: Event,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) attempt: u32,
}

type Respond = dyn Fn(&Delivery) -> Result<Outcome, HandlerError> + Send + Sync;

/// Records what it handled. The test decides what it returns.
pub(crate) struct TestHandler {
    seen: Mutex<Vec<Seen>>,
    respond: Box<Respond>,
}

impl TestHandler {
    pub(crate) fn new(
        respond: impl Fn(&Delivery) -> Result<Outcome, HandlerError> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { seen: Mutex::default(), respond: Box::new(respond) })
    }

    pub(crate) fn all() -> Arc<Self> {
        Self::new(|_| Ok(Outcome::Applied))
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("not poisoned").clone()
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.seen().iter().map(|seen| seen.event.id.to_string()).collect()
    }

    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Seen> {
        eventually("records to be handled", DEADLINE, || async {
            let seen = self.seen();
            (seen.len() >= count).then_some(seen)
        })
        .await
    }
}

#[async_trait]
impl HandleAny for TestHandler {
    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        self.seen.lock().expect("not poisoned").push(Seen {
            event: delivery.event.clone(),
            partition: delivery.record.partition,
            offset: delivery.record.offset,
            attempt: delivery.attempt,
        });
        (self.respond)(delivery)
    }
}

pub(crate) fn bets(handler: impl HandleAny + 'static) -> Router {
    Router::new().on_each([EventType::PlaceBet], handler)
}

/// A consumer or tail that runs beside the test.
pub(crate) struct Running {
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), ConsumerError>>,
    ready: tokio::sync::watch::Receiver<bool>,
    pub(crate) stats: Arc<ConsumerStats>,
}

impl Running {
    pub(crate) fn start(config: &Config, group: Group, router: Router) -> Self {
        let producer = Producer::new(config).expect("a producer");
        let consumer = Consumer::new(config, group, router, producer).expect("a consumer");
        Self::spawn(consumer.stats(), |shutdown, ready| consumer.run(shutdown, ready))
    }

    pub(crate) fn start_with_hook(
        config: &Config,
        group: Group,
        router: Router,
        hook: Arc<dyn RecordHook>,
    ) -> Self {
        let producer = Producer::new(config).expect("a producer");
        let consumer = Consumer::new(config, group, router, producer).expect("a consumer").with_hook(hook);
        Self::spawn(consumer.stats(), |shutdown, ready| consumer.run(shutdown, ready))
    }

    pub(crate) fn start_tail(config: &Config, topics: &[Topic], router: Router) -> Self {
        let producer = Producer::new(config).expect("a producer");
        let tail = Tail::new(config, topics, router, producer).expect("a tail");
        Self::spawn(tail.stats(), |shutdown, ready| tail.run(shutdown, ready))
    }

    fn spawn<F: Future<Output = Result<(), ConsumerError>> + Send + 'static>(
        stats: Arc<ConsumerStats>,
        run: impl FnOnce(CancellationToken, Box<dyn Fn(bool) + Send + Sync>) -> F,
    ) -> Self {
        let (sender, ready) = tokio::sync::watch::channel(false);
        let shutdown = CancellationToken::new();
        let on_ready = Box::new(move |is_ready| {
            sender.send_replace(is_ready);
        });
        let task = telemetry::spawn(run(shutdown.clone(), on_ready));
        Self { shutdown, task, ready, stats }
    }

    pub(crate) async fn ready(mut self) -> Self {
        let became_ready = tokio::time::timeout(DEADLINE, self.ready.wait_for(|is_ready| *is_ready)).await;
        became_ready.expect("ready in time").expect("still running");
        self
    }

    pub(crate) fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    pub(crate) async fn wait_ready(&self, is_ready: bool) {
        eventually("readiness to change", DEADLINE, || async { (self.is_ready() == is_ready).then_some(()) })
            .await;
    }

    pub(crate) async fn wait_paused(&self) {
        eventually("fetching to pause", DEADLINE, || async { (self.stats.pauses() > 0).then_some(()) }).await;
    }

    pub(crate) fn request_stop(&self) {
        self.shutdown.cancel();
    }

    pub(crate) async fn ended(self) -> Result<(), ConsumerError> {
        tokio::time::timeout(DEADLINE, self.task).await.expect("ends in time").expect("does not panic")
    }

    pub(crate) async fn stop(self) -> Result<(), ConsumerError> {
        self.request_stop();
        self.ended().await
    }
}

/// A record on the broker, read without the bus.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stored {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Stored {
    /// Returns the only header of this name. Our producers write each header once.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let mut found = self.headers.iter().filter(|(key, _)| key == name);
        let only = found.next()?;
        assert!(found.next().is_none(), "{name} occurs more than once: {:?}", self.headers);
        only.1.as_ref().map(|value| String::from_utf8_lossy(value).into_owned())
    }
}

/// Waits until partition 0 of a topic has `count` records, and reads them. Dead-letter topics have only this partition.
pub(crate) async fn stored(config: &Config, topic: &str, count: usize) -> Vec<Stored> {
    stored_in(config, topic, 0, count).await
}

fn read_all(config: &Config, topic: &str, partition: i32, count: usize) -> Vec<Stored> {
    let reader = raw_consumer(config, "raw");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Beginning).expect("a position");
    reader.assign(&list).expect("assigned");
    let began = std::time::Instant::now();
    let mut found = Vec::new();
    while found.len() < count {
        assert!(began.elapsed() < DEADLINE, "{topic} has {} of {count} records", found.len());
        let Some(Ok(message)) = reader.poll(Duration::from_millis(100)) else { continue };
        let headers = message
            .headers()
            .map(|headers| headers.iter().map(|h| (h.key.to_owned(), h.value.map(<[u8]>::to_vec))).collect());
        found.push(Stored {
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers.unwrap_or_default(),
        });
    }
    found
}

pub(crate) fn raw_consumer(config: &Config, group: &str) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", &config.bootstrap_servers)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .create()
        .expect("a raw consumer")
}

/// Returns the group's committed offsets by topic and partition, without partitions that it never committed. `None` when the
/// broker did not answer in time.
pub(crate) fn committed(config: &Config, group: Group) -> Option<BTreeMap<(String, i32), i64>> {
    let observer = raw_consumer(config, &physical(config, group.as_str()));
    let mut list = TopicPartitionList::new();
    for topic in group.reads() {
        let name = physical(config, topic.name());
        let metadata = observer.fetch_metadata(Some(&name), Duration::from_secs(10)).ok()?;
        for partition in metadata.topics()[0].partitions() {
            list.add_partition(&name, partition.id());
        }
    }
    let stored = observer.committed_offsets(list, Duration::from_secs(10)).ok()?;
    let mut offsets = BTreeMap::new();
    for element in stored.elements() {
        if let Offset::Offset(offset) = element.offset() {
            let topic = element.topic().trim_start_matches(&format!("{}.", config.namespace)).to_owned();
            offsets.insert((topic, element.partition()), offset);
        }
    }
    Some(offsets)
}

pub(crate) fn committed_sum(config: &Config, group: Group) -> i64 {
    committed(config, group).expect("committed offsets").values().sum()
}

pub(crate) async fn committed_reaches(config: &Config, group: Group, sum: i64) {
    eventually("the committed offsets to arrive", DEADLINE, || async {
        (committed(config, group)?.values().sum::<i64>() == sum).then_some(())
    })
    .await;
}

/// Publishes without the bus, like the stock console producer.
pub(crate) async fn publish_raw(config: &Config, topic: &str, key: Option<&[u8]>, value: &[u8]) {
    let producer = raw_producer(config);
    let name = physical(config, topic);
    let mut record: rdkafka::producer::FutureRecord<'_, [u8], [u8]> =
        rdkafka::producer::FutureRecord::to(&name).payload(value);
    record.key = key;
    producer.send(record, Duration::from_secs(10)).await.expect("published");
}

pub(crate) fn raw_producer(config: &Config) -> rdkafka::producer::FutureProducer {
    ClientConfig::new()
        .set("bootstrap.servers", &config.bootstrap_servers)
        .set("partitioner", "murmur2_random")
        .create()
        .expect("a raw producer")
}

pub(crate) const CONSOLE_BET: &[u8] = br#"{"type":"casino.bets.v1.PlaceBet","data":{"playerId":"console","game":"slots","stake":{"minor":"100","currency":"EUR"}}}"#;

pub(crate) fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

/// Like [`stored`], for any partition.
pub(crate) async fn stored_in(config: &Config, topic: &str, partition: i32, count: usize) -> Vec<Stored> {
    let (config, topic) = (config.clone(), physical(config, topic));
    let read = telemetry::spawn_blocking(move || read_all(&config, &topic, partition, count));
    read.await.expect("read does not panic")
}

/// Returns ids of players whose records go to partition `partition` of six.
pub(crate) fn players_in(partition: i32) -> impl Iterator<Item = String> {
    let names = (0..).map(|number| format!("player-{number}"));
    names.filter(move |name| partition_of(name) == partition)
}

/// Returns the id of another player whose records go to the same partition. A reader that was not there yet gets the records of
/// both in the order in which they were published, and has them before it can get a copy that one of them made.
pub(crate) fn beside(player: &str) -> String {
    players_in(partition_of(player)).find(|other| other != player).expect("a key")
}

fn partition_of(player: &str) -> i32 {
    (crate::producing::murmur2(player.as_bytes()) & 0x7fff_ffff) % 6
}

/// Copies a dead letter unchanged back to a topic, as any tool would.
pub(crate) async fn replay(config: &Config, letter: &Stored, topic: &str) {
    use rdkafka::message::{Header, OwnedHeaders};
    let name = physical(config, topic);
    let headers = letter.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
        headers.insert(Header { key, value: value.as_deref() })
    });
    let mut record: rdkafka::producer::FutureRecord<'_, [u8], [u8]> =
        rdkafka::producer::FutureRecord::to(&name).headers(headers);
    (record.key, record.payload) = (letter.key.as_deref(), letter.value.as_deref());
    raw_producer(config).send(record, Duration::from_secs(10)).await.expect("published");
}

/// Returns the end offset of partition 0 of a topic.
pub(crate) fn end_of(config: &Config, topic: &str) -> i64 {
    let watermarks = raw_consumer(config, "raw").fetch_watermarks(&physical(config, topic), 0, DEADLINE);
    watermarks.expect("watermarks").1
}
