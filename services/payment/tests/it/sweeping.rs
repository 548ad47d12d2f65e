//! Limits of sweeping and repeating: decisions in flight and queued reports are not touched, and a wrong clock has no effect.

use std::sync::Arc;

use bson::{DateTime, doc};
use bus::lag::Gate;
use payment::config::ProviderConfig;
use payment::domain::PaymentKind;
use payment::ledger::{Hooks, Killed, Ledger, Step};
use payment::provider::intent::State;
use payment::provider::pool::Pool;

use crate::clash::{DiesAfterDecision, decide_and_die};
use crate::pool::pool_of;
use crate::provider::Provider;
use crate::service::pool_config;
use crate::world::{NoPayments, WAIT_MAX, World, payment, provider_report, wager};
use testkit::reports;

const HOUR_MS: i64 = 3_600_000;
const HALF_AN_HOUR_MS: u64 = 1_800_000;

#[tokio::test]
async fn wrong_clock_does_not_affect_sweep() {
    let world = World::new().await;
    world.fund("p", 100).await;
    for (n, off_ms) in [-HOUR_MS, HOUR_MS].into_iter().enumerate() {
        // Both processes know the store's time. Only the clock of their machine is an hour off.
        let mongo = world.mongo.clone().with_clock_off_by(off_ms);
        let process = || Ledger::new(mongo.clone(), Arc::new(world.producer.clone()), Arc::new(NoPayments));
        let dying = process().with_hooks(Arc::new(DiesAfterDecision { lower_first: true }));
        wager(&format!("left-{n}"), "p", 1, 0).run(&dying).await.unwrap_err();
        let ledger = process();
        let swept = ledger.sweep(HALF_AN_HOUR_MS).await.unwrap();
        assert_eq!(swept, 0, "half an hour has not passed by the store's time");
        // Nor does the decision lie in the future.
        testkit::eventually("the decision swept", WAIT_MAX, || async {
            (ledger.sweep(0).await.unwrap() == 1).then_some(())
        })
        .await;
    }
    world.end().await;
}

/// The write of a decision also trims relayed ones. The new decision must still be found.
#[tokio::test]
async fn decision_written_with_trim_is_swept() {
    let world = World::new().await;
    world.fund("p", 100).await;
    wager("relayed", "p", 1, 0).run(&world.ledger()).await.unwrap();
    decide_and_die(&world, &wager("left", "p", 1, 0)).await;
    let account = world.ledger().account("p").await.unwrap().unwrap();
    assert_eq!((account.tail.len(), account.oldest_tail_at), (1, Some(account.tail[0].at)));
    testkit::eventually("the decision swept", WAIT_MAX, || async {
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
async fn account_in_flight_is_not_swept() {
    let world = World::new().await;
    world.fund("p", 100).await;
    let (go, going) = tokio::sync::watch::channel(false);
    let ledger = world.ledger_with(Arc::new(Slow(going, false.into())));
    let handler = ledger.clone();
    let running = telemetry::spawn(async move { wager("b", "p", 1, 0).run(&handler).await });
    testkit::eventually("a decision in the tail", WAIT_MAX, || async {
        ledger.account("p").await.ok().flatten().filter(|account| account.tail.len() == 1)
    })
    .await;
    assert_eq!(ledger.sweep(0).await.unwrap(), 0, "however old it is");
    go.send_replace(true);
    running.await.unwrap().unwrap();
    assert_eq!(ledger.sweep(0).await.unwrap(), 1, "without a handler it is swept");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queued_report_is_not_repeated() {
    reports::start_capture();
    let (world, provider) = (World::new().await, Provider::start().await);
    let (ledger, new_payments) = world.ledger_with_intents();
    let (intents, _receiver) = world.intents();
    payment("d", "p", PaymentKind::Deposit, 100).run(&ledger).await.unwrap();
    let pool = pool_of(&world, &provider, ledger);
    let stop = bus::CancellationToken::new();
    let running = telemetry::spawn(pool.clone().run(new_payments, stop.clone()));
    testkit::eventually("a report", WAIT_MAX, || async {
        intents.find("d").await.ok().flatten().filter(|intent| intent.reports == 1)
    })
    .await;
    stop.cancel();
    running.await.unwrap().unwrap();
    // The report is due again, but no consumer reads the commands. A command that is one millisecond old counts as lag.
    let patient = Pool { config: ProviderConfig { lease_ms: 3, ..pool_config() }, ..pool };
    world.rewrite("d", doc! { "next_attempt_at": DateTime::from_millis(0) }).await;
    let mut gate = Gate::reporting_after(std::time::Duration::ZERO);
    for _ in 0..3 {
        assert_eq!(patient.repeat_reports(&mut gate).await.unwrap(), 0);
    }
    assert_eq!(intents.find("d").await.unwrap().unwrap().reports, 1);
    // Once for a gate that stays closed.
    reports::expect_one("were held back for");
    // A report that was never published is not a repetition.
    world.rewrite("d", doc! { "reports": 0_i64 }).await;
    assert_eq!(patient.repeat_reports(&mut gate).await.unwrap(), 1);
    assert_eq!(provider.requests(), 1);
    world.end().await;
}

/// An older build left these intents as `reported`, although the ledger has settled the payments, and they are old enough to be
/// reported. There are more of them than one round checks. One more payment is really open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settled_payment_is_not_reported_as_open() {
    const COMPLETED: usize = 40;
    reports::start_capture();
    let (world, provider) = (World::new().await, Provider::start().await);
    let (ledger, _receiver) = world.ledger_with_intents();
    let completed = testkit::unique("completed");
    let ids: Vec<String> = (0..COMPLETED).map(|n| format!("{completed}-{n}")).collect();
    for id in &ids {
        payment(id, "p", PaymentKind::Deposit, 100).run(&ledger).await.unwrap();
        provider_report(id, "p", 100, true).run(&ledger).await.unwrap();
        ledger.trim().await.unwrap();
    }
    let open = testkit::unique("open");
    payment(&open, "p", PaymentKind::Deposit, 100).run(&ledger).await.unwrap();
    let documents = world.mongo.collection::<bson::Document>("intents");
    let later = DateTime::from_millis(world.mongo.now().timestamp_millis() + HOUR_MS);
    for id in ids.iter().chain([&open]) {
        // Not due for a repetition, which the report of old payments does not wait for.
        let created = DateTime::from_millis(0);
        let left =
            doc! { "state": "reported", "captured": true, "created_at": created, "next_attempt_at": later };
        world.rewrite(id, left).await;
    }
    let (_sender, new_payments) = tokio::sync::mpsc::channel(1);
    let stop = bus::CancellationToken::new();
    let running = telemetry::spawn(pool_of(&world, &provider, ledger).run(new_payments, stop.clone()));
    testkit::eventually("all of them settled", WAIT_MAX, || async {
        let settled = doc! { "state": "settled" };
        (documents.count(settled).await.unwrap() == COMPLETED as u64).then_some(())
    })
    .await;
    testkit::eventually("a report about the open payment", WAIT_MAX, || async {
        (!reports::containing(&open).is_empty()).then_some(())
    })
    .await;
    stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(reports::containing(&completed), Vec::<String>::new());
    reports::expect_one(&open);
    world.end().await;
}

/// A newer build wrote the settlement of a payment and was rolled back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreadable_settlement_delays_no_report() {
    reports::start_capture();
    let (world, provider) = (World::new().await, Provider::start().await);
    let (ledger, _receiver) = world.ledger_with_intents();
    let (intents, _receiver) = world.intents();
    let theirs = testkit::unique("newer-settlement");
    for (id, due_ms) in [(theirs.as_str(), 0), ("ours", 1_000)] {
        payment(id, id, PaymentKind::Deposit, 100).run(&ledger).await.unwrap();
        if id == theirs {
            provider_report(id, id, 100, true).run(&ledger).await.unwrap();
        }
        ledger.trim().await.unwrap();
        let due = DateTime::from_millis(due_ms);
        world.rewrite(id, doc! { "state": "reported", "captured": true, "next_attempt_at": due }).await;
    }
    let rows = world.mongo.collection::<bson::Document>("ledger");
    let newer = doc! { "$set": { "outcome": { "kind": "of tomorrow" } } };
    let row = doc! { "keys": format!("r:{theirs}") };
    assert_eq!(rows.update_one(row, newer).await.unwrap(), 1);
    let pool = pool_of(&world, &provider, ledger);
    let mut gate = Gate::default();
    assert_eq!(pool.repeat_reports(&mut gate).await.unwrap(), 1, "ours");
    assert_eq!(intents.find("ours").await.unwrap().unwrap().reports, 1);
    let postponed = intents.find(&theirs).await.unwrap().unwrap();
    assert_eq!((postponed.state, postponed.reports), (State::Reported, 0));
    assert!(postponed.next_attempt_at > world.mongo.now(), "it is not the first of the next round");
    world.rewrite(&theirs, doc! { "next_attempt_at": DateTime::from_millis(0) }).await;
    assert_eq!(pool.repeat_reports(&mut gate).await.unwrap(), 0);
    reports::expect_one(&theirs);
    world.end().await;
}
