//! Limits of sweeping and repeating: decisions in flight and queued reports are not touched, and a wrong clock has no effect.

use std::sync::Arc;

use bus::lag::Gate;
use payment::domain::PaymentKind;
use payment::ledger::{Hooks, Killed, Ledger, Step};
use payment::provider::intent::State;
use payment::provider::pool::{self, Pool};

use crate::pool::pool_of;
use crate::provider::Provider;
use crate::service::pool_config;
use crate::world::{NoPayments, PATIENCE, World, payment, told, wager};
use testkit::reports;

const HOUR_MS: i64 = 3_600_000;
const HALF_AN_HOUR_MS: u64 = 1_800_000;

/// Dies after its decision.
pub(crate) struct DiesDeciding;

impl Hooks for DiesDeciding {
    fn reached(&self, step: Step, _player_id: &str) -> Result<(), Killed> {
        if step == Step::DecisionWritten { Err(Killed(step)) } else { Ok(()) }
    }
}

#[tokio::test]
async fn a_decision_by_a_clock_that_is_wrong_is_swept_in_time() {
    let world = World::new().await;
    world.fund("p", 100).await;
    for (n, off_ms) in [-HOUR_MS, HOUR_MS].into_iter().enumerate() {
        // Both processes know the store's time. Only the clock of their machine is an hour off.
        let mongo = world.mongo.clone().with_clock_off_by(off_ms);
        let process = || Ledger::new(mongo.clone(), Arc::new(world.producer.clone()), Arc::new(NoPayments));
        let dying = process().with_hooks(Arc::new(DiesDeciding));
        wager(&format!("left-{n}"), "p", 1, 0).run(&dying).await.unwrap_err();
        let ledger = process();
        let swept = ledger.sweep(HALF_AN_HOUR_MS).await.unwrap();
        assert_eq!(swept, 0, "half an hour has not passed, whatever the clock says");
        // Nor does the decision lie in the future.
        testkit::eventually("the decision swept", PATIENCE, || async {
            (ledger.sweep(0).await.unwrap() == 1).then_some(())
        })
        .await;
    }
    world.end().await;
}

/// The write of a decision also trims relayed ones. The new decision must still be found.
#[tokio::test]
async fn a_decision_that_was_written_together_with_a_trim_is_swept() {
    let world = World::new().await;
    world.fund("p", 100).await;
    wager("told", "p", 1, 0).run(&world.ledger()).await.unwrap();
    let dying = world.ledger_with(Arc::new(DiesDeciding));
    wager("left", "p", 1, 0).run(&dying).await.unwrap_err();
    let account = world.ledger().account("p").await.unwrap().unwrap();
    assert_eq!((account.tail.len(), account.oldest_tail_at), (1, Some(account.tail[0].at)));
    testkit::eventually("the decision swept", PATIENCE, || async {
        (world.ledger().sweep(0).await.unwrap() == 1).then_some(())
    })
    .await;
    world.end().await;
}

/// Blocks its first command after the ledger row until the test lets it continue.
struct Slow(tokio::sync::watch::Receiver<bool>, std::sync::atomic::AtomicBool);

impl Hooks for Slow {
    fn reached(&self, step: Step, _player_id: &str) -> Result<(), Killed> {
        if step == Step::RowWritten && !self.1.swap(true, std::sync::atomic::Ordering::SeqCst) {
            let mut go = self.0.clone();
            tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(go.wait_for(|go| *go)).map(drop).unwrap();
            });
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_in_hand_is_left_to_its_handler() {
    let world = World::new().await;
    world.fund("p", 100).await;
    let (go, going) = tokio::sync::watch::channel(false);
    let ledger = world.ledger_with(Arc::new(Slow(going, false.into())));
    let handler = ledger.clone();
    let running = telemetry::spawn(async move { wager("b", "p", 1, 0).run(&handler).await });
    testkit::eventually("a decision in the tail", PATIENCE, || async {
        ledger.account("p").await.ok().flatten().filter(|account| account.tail.len() == 1)
    })
    .await;
    assert_eq!(ledger.sweep(0).await.unwrap(), 0, "however old it is");
    go.send_replace(true);
    running.await.unwrap().unwrap();
    assert_eq!(ledger.sweep(0).await.unwrap(), 1, "in nobody's hand it is swept");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_is_merely_queued_is_not_repeated() {
    reports::listen();
    let (world, provider) = (World::new().await, Provider::start().await);
    let (ledger, door) = world.ledger_with_intents();
    let (intents, _door) = world.intents();
    payment("d", "p", PaymentKind::Deposit, 100).run(&ledger).await.unwrap();
    let pool = pool_of(&world, &provider, ledger);
    let stop = bus::CancellationToken::new();
    let running = telemetry::spawn(pool.clone().run(door, stop.clone()));
    testkit::eventually("a report", PATIENCE, || async {
        intents.find("d").await.ok().flatten().filter(|intent| intent.reports == 1)
    })
    .await;
    stop.cancel();
    running.await.unwrap().unwrap();
    // The report is due again, but no consumer reads the commands. A command that is one millisecond old counts as lag.
    let patient = Pool { config: pool::Config { lease_ms: 3, ..pool_config() }, ..pool };
    let documents = world.mongo.collection::<bson::Document>("intents");
    let due = bson::doc! { "$set": { "next_attempt_at": bson::DateTime::from_millis(0) } };
    documents.update_one(bson::doc! { "_id": "d" }, due.clone()).await.unwrap();
    let mut gate = Gate::telling_after(std::time::Duration::ZERO);
    for _ in 0..3 {
        assert_eq!(patient.repeat_reports(&mut gate).await.unwrap(), 0);
    }
    assert_eq!(intents.find("d").await.unwrap().unwrap().reports, 1);
    assert_eq!(reports::about("were held back for").len(), 1, "a gate that stays closed is told of once");
    // A report that was never published is not a repetition.
    let lost = bson::doc! { "$set": { "reports": 0_i64 } };
    documents.update_one(bson::doc! { "_id": "d" }, lost).await.unwrap();
    assert_eq!(patient.repeat_reports(&mut gate).await.unwrap(), 1);
    assert_eq!(provider.asked(), 1);
    world.end().await;
}

/// An older build left these intents as `reported`, although the ledger has settled the payments, and they are old enough to be
/// reported. There are more of them than one round checks. One more payment is really open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_payments_that_an_older_build_completed_nobody_is_told() {
    const COMPLETED: usize = 40;
    reports::listen();
    let (world, provider) = (World::new().await, Provider::start().await);
    let (ledger, _door) = world.ledger_with_intents();
    let completed = testkit::unique("completed");
    let ids: Vec<String> = (0..COMPLETED).map(|n| format!("{completed}-{n}")).collect();
    for id in &ids {
        payment(id, "p", PaymentKind::Deposit, 100).run(&ledger).await.unwrap();
        told(id, "p", 100, true).run(&ledger).await.unwrap();
        ledger.trim().await.unwrap();
    }
    let open = testkit::unique("open");
    payment(&open, "p", PaymentKind::Deposit, 100).run(&ledger).await.unwrap();
    let documents = world.mongo.collection::<bson::Document>("intents");
    let later = bson::DateTime::from_millis(world.mongo.now().timestamp_millis() + HOUR_MS);
    for id in ids.iter().chain([&open]) {
        // Not due for a repetition, which the report of old payments does not wait for.
        let left = bson::doc! {
            "state": "reported", "captured": true, "created_at": bson::DateTime::from_millis(0), "next_attempt_at": later,
        };
        assert_eq!(
            documents.update_one(bson::doc! { "_id": id }, bson::doc! { "$set": left }).await.unwrap(),
            1
        );
    }
    let (_nobody, door) = tokio::sync::mpsc::channel(1);
    let stop = bus::CancellationToken::new();
    let running = telemetry::spawn(pool_of(&world, &provider, ledger).run(door, stop.clone()));
    testkit::eventually("all of them off the list", PATIENCE, || async {
        let settled = bson::doc! { "state": "settled" };
        (documents.count(settled).await.unwrap() == COMPLETED as u64).then_some(())
    })
    .await;
    testkit::eventually("the open one told of", PATIENCE, || async {
        (!reports::about(&open).is_empty()).then_some(())
    })
    .await;
    stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(reports::about(&completed), Vec::<String>::new());
    assert_eq!(reports::about(&open).len(), 1);
    world.end().await;
}

/// A newer build wrote the settlement of a payment and was rolled back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settlement_that_cannot_be_read_is_told_of_once_and_holds_up_no_other_report() {
    reports::listen();
    let (world, provider) = (World::new().await, Provider::start().await);
    let (ledger, _door) = world.ledger_with_intents();
    let (intents, _door) = world.intents();
    let theirs = testkit::unique("newer-settlement");
    for (id, due_ms) in [(theirs.as_str(), 0), ("ours", 1_000)] {
        payment(id, id, PaymentKind::Deposit, 100).run(&ledger).await.unwrap();
        if id == theirs {
            told(id, id, 100, true).run(&ledger).await.unwrap();
        }
        ledger.trim().await.unwrap();
        let documents = world.mongo.collection::<bson::Document>("intents");
        let due = bson::DateTime::from_millis(due_ms);
        let left = bson::doc! { "state": "reported", "captured": true, "next_attempt_at": due };
        assert_eq!(
            documents.update_one(bson::doc! { "_id": id }, bson::doc! { "$set": left }).await.unwrap(),
            1
        );
    }
    let rows = world.mongo.collection::<bson::Document>("ledger");
    let newer = bson::doc! { "$set": { "outcome": { "kind": "of tomorrow" } } };
    let row = bson::doc! { "keys": format!("r:{theirs}") };
    assert_eq!(rows.update_one(row, newer).await.unwrap(), 1);
    let pool = pool_of(&world, &provider, ledger);
    let mut gate = Gate::default();
    assert_eq!(pool.repeat_reports(&mut gate).await.unwrap(), 1, "ours");
    assert_eq!(intents.find("ours").await.unwrap().unwrap().reports, 1);
    let set_aside = intents.find(&theirs).await.unwrap().unwrap();
    assert_eq!((set_aside.state, set_aside.reports), (State::Reported, 0));
    assert!(set_aside.next_attempt_at > world.mongo.now(), "it is not the first of the next round");
    let documents = world.mongo.collection::<bson::Document>("intents");
    let due = bson::doc! { "$set": { "next_attempt_at": bson::DateTime::from_millis(0) } };
    documents.update_one(bson::doc! { "_id": &theirs }, due).await.unwrap();
    assert_eq!(pool.repeat_reports(&mut gate).await.unwrap(), 0);
    let reported = reports::about(&theirs);
    assert_eq!(reported.len(), 1, "{reported:?}");
    world.end().await;
}
