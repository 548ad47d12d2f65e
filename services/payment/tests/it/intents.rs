//! Claims of payments on the list: their conditions and their timing.

use std::sync::Arc;

use bson::{DateTime, doc};
use payment::domain::PaymentKind;
use payment::ledger::{Ledger, Payments as _};
use payment::provider::client::Answer;
use payment::provider::intent::State;
use payment::provider::intents::Intents;
use store::mongo::Mongo;
use tokio::sync::mpsc;

use crate::world::{World, payment};
use testkit::reports;

const HOUR_MS: i64 = 3_600_000;
const HALF_AN_HOUR_MS: u64 = 1_800_000;

/// Creates a process with a lease of half an hour, which is longer than any test.
fn process(world: &World, mongo: &Mongo) -> (Ledger, Intents) {
    // The receiver is dropped, so no pool gets new payments.
    let (new_payments, _) = mpsc::channel(1);
    let intents = Intents::new(mongo, new_payments, HALF_AN_HOUR_MS);
    let outbox = Arc::new(world.producer.clone());
    (Ledger::new(mongo.clone(), outbox, Arc::new(intents.clone())), intents)
}

/// Tries to claim `id`. Returns the number of claims so far, or `None` when the claim was refused.
async fn claimed(intents: &Intents, id: &str, fresh: bool) -> Option<i64> {
    intents.claim(id, fresh).await.unwrap().map(|intent| intent.attempts)
}

#[tokio::test]
async fn lease_excludes_second_claim() {
    let world = World::new().await;
    let (ledger, intents) = process(&world, &world.mongo);
    payment("d", "p", PaymentKind::Deposit, 100).run(&ledger).await.unwrap();
    assert_eq!(claimed(&intents, "d", false).await, None, "a new payment needs a fresh claim");
    assert_eq!(claimed(&intents, "d", true).await, Some(1));
    assert_eq!(claimed(&intents, "d", true).await, None, "the first claim is taken");
    assert_eq!(claimed(&intents, "d", false).await, None, "the lease runs");
    world.rewrite("d", doc! { "next_attempt_at": DateTime::from_millis(0) }).await;
    assert_eq!(claimed(&intents, "d", false).await, Some(2));
    assert_eq!(claimed(&intents, "d", false).await, None, "the new lease runs");
    world.end().await;
}

#[tokio::test]
async fn lease_follows_store_time() {
    let world = World::new().await;
    for off_ms in [-HOUR_MS, HOUR_MS] {
        // The process knows the store's time. Only its own clock is an hour off.
        let (ledger, intents) = process(&world, &world.mongo.clone().with_clock_off_by(off_ms));
        let id = format!("d{off_ms}");
        payment(&id, "p", PaymentKind::Deposit, 100).run(&ledger).await.unwrap();
        assert_eq!(claimed(&intents, &id, false).await, None, "{off_ms}");
        assert_eq!(claimed(&intents, &id, true).await, Some(1), "{off_ms}");
        assert_eq!(claimed(&intents, &id, false).await, None, "{off_ms}");
        assert!(intents.due(State::Requested, 10).await.unwrap().is_empty(), "{off_ms}");
        let over = intents.find(&id).await.unwrap().unwrap().next_attempt_at.timestamp_millis() - HOUR_MS;
        world.rewrite(&id, doc! { "next_attempt_at": DateTime::from_millis(over) }).await;
        assert_eq!(intents.due(State::Requested, 10).await.unwrap().len(), 1, "{off_ms}: half an hour ago");
        assert_eq!(claimed(&intents, &id, false).await, Some(2), "{off_ms}");
        intents.mark_settled(&id, None).await.unwrap();
    }
    world.end().await;
}

/// The audit reads payments by their time, whatever their state is.
#[tokio::test]
async fn payments_have_an_index_by_time() {
    let world = World::new().await;
    let (_, intents) = process(&world, &world.mongo);
    intents.ensure_indexes().await.unwrap();
    let keys = world.mongo.collection::<bson::Document>("intents").index_keys().await.unwrap();
    let first = |keys: &bson::Document| keys.keys().next().cloned();
    assert!(keys.iter().any(|keys| first(keys).as_deref() == Some("created_at")), "{keys:?}");
    world.end().await;
}

#[tokio::test]
async fn answered_or_settled_payment_is_not_claimed() {
    let world = World::new().await;
    let (ledger, intents) = process(&world, &world.mongo);
    payment("d", "p", PaymentKind::Deposit, 100).run(&ledger).await.unwrap();
    for state in [State::Reported, State::Closed, State::Settled, State::Parked] {
        let due = DateTime::from_millis(0);
        world.rewrite("d", doc! { "state": state.as_str(), "next_attempt_at": due }).await;
        assert_eq!(claimed(&intents, "d", true).await, None, "{state:?}");
        assert_eq!(claimed(&intents, "d", false).await, None, "{state:?}");
    }
    world.rewrite("d", doc! { "state": State::Requested.as_str() }).await;
    assert_eq!(claimed(&intents, "d", false).await, Some(1), "only the state prevented it");
    world.end().await;
}

#[tokio::test]
async fn settlement_against_answer_is_reported() {
    reports::start_capture();
    let world = World::new().await;
    let (ledger, intents) = process(&world, &world.mongo);
    let ids = [testkit::unique("settled-as-answered"), testkit::unique("settled-otherwise")];
    for (id, end) in ids.iter().zip([true, false]) {
        payment(id, "p", PaymentKind::Deposit, 100).run(&ledger).await.unwrap();
        claimed(&intents, id, true).await.expect("claimed");
        intents.record(id, &Answer::new(true, "ref"), None).await.unwrap();
        for _ in 0..2 {
            intents.mark_settled(id, Some(end)).await.unwrap();
        }
        let intent = intents.find(id).await.unwrap().unwrap();
        assert_eq!((intent.state, intent.captured), (State::Settled, Some(true)), "the answer stands");
    }
    assert_eq!(reports::containing(&ids[0]), Vec::<String>::new());
    let reported = reports::expect_one(&ids[1]);
    assert!(reported.contains("a payment was captured"), "{reported}");
    world.end().await;
}

#[tokio::test]
async fn only_open_payment_is_escalated() {
    let world = World::new().await;
    let (ledger, intents) = process(&world, &world.mongo);
    for id in ["open", "ended"] {
        payment(id, "p", PaymentKind::Deposit, 100).run(&ledger).await.unwrap();
    }
    intents.mark_settled("ended", Some(true)).await.unwrap();
    assert!(!intents.mark_escalated("ended").await.unwrap());
    assert!(intents.mark_escalated("open").await.unwrap());
    assert!(!intents.mark_escalated("open").await.unwrap(), "it is escalated already");
    world.end().await;
}
