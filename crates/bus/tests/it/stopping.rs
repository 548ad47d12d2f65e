//! Stop of a consumer: in order, within its deadlines, and with an error when it is stuck.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bus::{ConsumerError, Delivery, HandleAny, HandlerError, Outcome, Producer};
use contracts::Group;
use tokio::sync::Semaphore;

use crate::support::{
    DEADLINE, Running, TestHandler, bets, broker_for, committed_reaches, committed_sum, place_bet,
};

/// Signals its start, and ends when the test permits it.
struct Gate {
    started: Semaphore,
    may_end: Semaphore,
}

impl Gate {
    fn closed() -> Arc<Self> {
        Arc::new(Self { started: Semaphore::new(0), may_end: Semaphore::new(0) })
    }
}

#[async_trait]
impl HandleAny for Gate {
    async fn handle(&self, _: &Delivery) -> Result<Outcome, HandlerError> {
        self.started.add_permits(1);
        self.may_end.acquire().await.expect("open").forget();
        Ok(Outcome::Applied)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stop_finishes_and_commits_running_records() {
    // The drain deadline is far away, so only the gate decides when the stop ends.
    let config = bus::Config {
        stop_drain_deadline_ms: 120_000,
        close_deadline_ms: 20_000,
        ..broker_for(Group::Game).await
    };
    let producer = Producer::new(&config).expect("a producer");
    for number in 0..5 {
        producer.publish(&place_bet(&format!("p{number}"), 1)).await.expect("published");
    }
    let gate = Gate::closed();
    let consumer = Running::start(&config, Group::Game, bets(gate.clone())).ready().await;
    gate.started.acquire().await.expect("open").forget();
    consumer.request_stop();
    consumer.wait_ready(false).await;
    gate.may_end.add_permits(100);
    let stats = consumer.stats.clone();
    consumer.ended().await.expect("stops in order");
    assert_eq!(committed_sum(&config, Group::Game), i64::try_from(stats.taken()).expect("few"));

    // Untaken records go to the next member, and no record is handled twice
    let handler = TestHandler::all();
    let next = Running::start(&config, Group::Game, bets(handler.clone()));
    committed_reaches(&config, Group::Game, 5).await;
    assert_eq!(handler.seen().len(), 5 - usize::try_from(stats.taken()).expect("few"));
    next.stop().await.expect("stops in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_handler_is_stopped_at_the_deadline() {
    let config = bus::Config { stop_drain_deadline_ms: 300, ..broker_for(Group::Game).await };
    let producer = Producer::new(&config).expect("a producer");
    producer.publish(&place_bet("p", 1)).await.expect("published");
    let gate = Gate::closed();
    let consumer = Running::start(&config, Group::Game, bets(gate.clone())).ready().await;
    gate.started.acquire().await.expect("open").forget();
    let began = Instant::now();
    consumer.stop().await.expect("stops in order");
    assert!(began.elapsed() < Duration::from_secs(30), "took {:?}", began.elapsed());
    assert_eq!(committed_sum(&config, Group::Game), 0, "an unfinished record was committed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stuck_handler_stops_the_consumer() {
    let config = bus::Config { stall_deadline_ms: 500, ..broker_for(Group::Game).await };
    let producer = Producer::new(&config).expect("a producer");
    producer.publish(&place_bet("p", 1)).await.expect("published");
    let gate = Gate::closed();
    let consumer = Running::start(&config, Group::Game, bets(gate));
    match consumer.ended().await {
        Err(ConsumerError::Stalled { what, stalled_ms }) => {
            assert!(stalled_ms >= 500);
            let place = "casino.bets.commands.v1 in game";
            assert!(what.contains(place) && what.contains("step=its handler"), "{what}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(committed_sum(&config, Group::Game), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumer_without_a_broker_stops_on_request() {
    let config = bus::Config {
        bootstrap_servers: "127.0.0.1:1".to_owned(),
        close_deadline_ms: 2_000,
        commit_deadline_ms: 1_000,
        ..bus::Config::default()
    };
    let consumer = Running::start(&config, Group::Game, bets(TestHandler::all()));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!consumer.is_ready());
    let began = Instant::now();
    consumer.stop().await.expect("stops in order");
    assert!(began.elapsed() < Duration::from_secs(30), "took {:?}", began.elapsed());
}

/// A record that failed fatally is not overtaken by the next one of its key, whatever the consumer does at that moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fatal_error_during_stop_is_returned() {
    let config = bus::Config { stop_drain_deadline_ms: 120_000, ..broker_for(Group::Game).await };
    let producer = Producer::new(&config).expect("a producer");
    for number in 1..=2 {
        producer.publish(&place_bet("p", number)).await.expect("published");
    }
    let gate = Arc::new(FatalFirst { gate: Gate::closed(), ids: std::sync::Mutex::default() });
    let consumer = Running::start(&config, Group::Game, bets(gate.clone())).ready().await;
    gate.gate.started.acquire().await.expect("open").forget();
    testkit::eventually("both to be in flight", DEADLINE, || async {
        (consumer.stats.in_flight_records() == 2).then_some(())
    })
    .await;
    consumer.request_stop();
    consumer.wait_ready(false).await;
    gate.gate.may_end.add_permits(100);
    let ended = consumer.ended().await;
    assert!(matches!(ended, Err(ConsumerError::Handler { offset: 0, .. })), "{ended:?}");
    assert_eq!(*gate.ids.lock().expect("not poisoned"), vec!["p-1".to_owned()]);
    assert_eq!(committed_sum(&config, Group::Game), 0);
}

struct FatalFirst {
    gate: Arc<Gate>,
    ids: std::sync::Mutex<Vec<String>>,
}

#[async_trait]
impl HandleAny for FatalFirst {
    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        self.ids.lock().expect("not poisoned").push(delivery.event.id.to_string());
        self.gate.handle(delivery).await?;
        match delivery.event.id.as_str() {
            "p-1" => Err(HandlerError::fatal("the ledger contradicts itself")),
            _ => Ok(Outcome::Applied),
        }
    }
}
