//! Payments that do not end by themselves: how often a report is repeated, and which errors are reported.

use bson::{DateTime, doc};
use bus::CancellationToken;
use bus::lag::Gate;
use payment::domain::PaymentKind;
use payment::provider::intent::State;

use crate::pool::pool_of;
use crate::provider::Provider;
use crate::world::{LEASE_MS, WAIT_MAX, World, payment, provider_report};
use testkit::reports;

#[tokio::test]
async fn fifth_report_without_effect_parks_payment() {
    reports::start_capture();
    let (world, provider) = (World::new().await, Provider::start().await);
    let (ledger, _receiver) = world.ledger_with_intents();
    let (intents, _receiver) = world.intents();
    let (fifth, sixth) = (testkit::unique("fifth-report"), testkit::unique("sixth-report"));
    for (id, published) in [(&fifth, 4_i64), (&sixth, 5)] {
        payment(id, "p", PaymentKind::Deposit, 100).run(&ledger).await.unwrap();
        let due = DateTime::from_millis(0);
        let left =
            doc! { "state": "reported", "captured": true, "reports": published, "next_attempt_at": due };
        world.rewrite(id, left).await;
    }
    let pool = pool_of(&world, &provider, ledger);
    testkit::eventually("a parked payment", WAIT_MAX, || async {
        pool.repeat_reports(&mut Gate::default()).await.unwrap();
        intents.find(&sixth).await.unwrap().filter(|intent| intent.state == State::Parked)
    })
    .await;
    let reported = reports::expect_one(&sixth);
    assert!(reported.contains("published 5 times"), "{reported}");
    let last = intents.find(&fifth).await.unwrap().unwrap();
    assert_eq!((last.state, last.reports), (State::Reported, 5), "published for the last time");
    assert_eq!(reports::containing(&fifth), Vec::<String>::new());
    world.end().await;
}

#[tokio::test]
async fn pause_between_reports_doubles() {
    let world = World::new().await;
    let (ledger, _receiver) = world.ledger_with_intents();
    let (intents, _receiver) = world.intents();
    payment("d", "p", PaymentKind::Deposit, 100).run(&ledger).await.unwrap();
    let lease_ms = i64::try_from(LEASE_MS).unwrap();
    for (published, leases) in [(0_i64, 1), (1, 2), (3, 8), (6, 64), (60, 64)] {
        world.rewrite("d", doc! { "state": "reported", "captured": true, "reports": published }).await;
        let intent = intents.find("d").await.unwrap().unwrap();
        let before_ms = world.mongo.now().timestamp_millis();
        intents.mark_reported(&intent).await.unwrap();
        let after_ms = world.mongo.now().timestamp_millis();
        let intent = intents.find("d").await.unwrap().unwrap();
        assert_eq!(intent.reports, published + 1);
        let since_ms = intent.next_attempt_at.timestamp_millis() - leases * lease_ms;
        assert!((before_ms..=after_ms).contains(&since_ms), "{published}: {leases} leases from {since_ms}");
    }
    world.end().await;
}

#[tokio::test]
async fn invalid_report_parks_payment() {
    reports::start_capture();
    let (world, provider) = (World::new().await, Provider::start().await);
    let (ledger, _receiver) = world.ledger_with_intents();
    let (intents, _receiver) = world.intents();
    let id = testkit::unique("no-contract");
    payment(&id, "p", PaymentKind::Deposit, 100).run(&ledger).await.unwrap();
    let (reference, due) = ("x".repeat(300), DateTime::from_millis(0));
    let left = doc! {
        "state": "reported", "captured": true, "provider_reference": reference, "next_attempt_at": due,
    };
    world.rewrite(&id, left).await;
    let pool = pool_of(&world, &provider, ledger);
    for _ in 0..2 {
        pool.repeat_reports(&mut Gate::default()).await.unwrap();
    }
    let intent = intents.find(&id).await.unwrap().unwrap();
    assert_eq!((intent.state, intent.reports), (State::Parked, 0));
    reports::expect_one(&id);
    world.end().await;
}

/// A newer build settled it and was rolled back. The unreadable settlement is reported, and not the age of the payment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreadable_settlement_is_reported() {
    reports::start_capture();
    let (world, provider) = (World::new().await, Provider::start().await);
    let (ledger, _receiver) = world.ledger_with_intents();
    let id = testkit::unique("newer-end");
    payment(&id, "p", PaymentKind::Deposit, 100).run(&ledger).await.unwrap();
    provider_report(&id, "p", 100, false).run(&ledger).await.unwrap();
    ledger.trim().await.unwrap();
    let rows = world.mongo.collection::<bson::Document>("ledger");
    let newer = doc! { "$set": { "outcome": { "kind": "of tomorrow" } } };
    assert_eq!(rows.update_one(doc! { "keys": format!("r:{id}") }, newer).await.unwrap(), 1);
    world.rewrite(&id, doc! { "state": "closed", "created_at": DateTime::from_millis(0) }).await;
    let (_sender, new_payments) = tokio::sync::mpsc::channel(1);
    let stop = CancellationToken::new();
    let running = telemetry::spawn(pool_of(&world, &provider, ledger).run(new_payments, stop.clone()));
    testkit::eventually("a report", WAIT_MAX, || async {
        (!reports::containing(&id).is_empty()).then_some(())
    })
    .await;
    stop.cancel();
    running.await.unwrap().unwrap();
    let reported = reports::expect_one(&id);
    assert!(reported.contains("cannot be read"), "{reported}");
    world.end().await;
}
