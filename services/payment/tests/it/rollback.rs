//! Documents of a newer build that was rolled back. Their players wait for the newer build, all other players are served, and
//! each such document is reported once.

use bson::{Document, doc};
use contracts::{Classify as _, ErrorClass, EventType};
use money::Currency;
use payment::domain::PaymentKind;
use payment::ledger::{LedgerError, Payments as _, Verdict};
use payment::provider::intent::State;

use crate::audit::Audit;
use crate::clash::decide_and_die;
use crate::provider::Provider;
use crate::service::{Running, answer, bet_of, deposit, send};
use crate::world::{World, payment, wager};
use testkit::reports;

/// Writes `fields` into the document `id`, as another build or a later time would have done.
pub(crate) async fn newer(world: &World, collection: &'static str, id: &str, fields: Document) {
    let documents = world.mongo.collection::<Document>(collection);
    let matched = documents.update_one(doc! { "_id": id }, doc! { "$set": fields }).await.unwrap();
    assert_eq!(matched, 1, "{collection} {id}");
}

/// Creates an account with a fifth currency, which only a newer build knows, and marks it as due for a sweep.
async fn account_in_yen(world: &World) -> String {
    let player_id = testkit::unique("newer");
    world.fund(&player_id, 100).await;
    let long_ago = bson::DateTime::from_millis(1_000);
    newer(world, "accounts", &player_id, doc! { "balances.JPY": 5_000_i64, "oldest_tail_at": long_ago })
        .await;
    player_id
}

#[tokio::test]
async fn unknown_currency_parks_only_that_player() {
    reports::start_capture();
    let world = World::new().await;
    let theirs = account_in_yen(&world).await;
    world.fund("p", 100).await;
    let ledger = world.ledger();
    let error = wager("theirs", &theirs, 10, 0).run(&ledger).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Poison, "parked, and the process continues: {error}");
    assert!(matches!(wager("ours", "p", 10, 0).run(&ledger).await.unwrap(), Verdict::Decided(_)));
    // The sweeper finds the unreadable account first and continues.
    decide_and_die(&world, &wager("left", "p", 10, 0)).await;
    for _ in 0..3 {
        world.ledger().sweep(0).await.unwrap();
    }
    let account = ledger.account("p").await.unwrap().unwrap();
    assert_eq!((account.balances[&Currency::Eur], account.tail.len()), (80, 0), "swept");
    reports::expect_one(&theirs);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreadable_account_returns_500() {
    reports::start_capture();
    let (world, provider) = (World::new().await, Provider::start().await);
    let theirs = testkit::unique("newer");
    world.fund(&theirs, 100).await;
    // Its tail is empty, so no sweeper finds it.
    newer(&world, "accounts", &theirs, doc! { "balances.JPY": 5_000_i64 }).await;
    let service = Running::start(&world, &provider).await;
    service.is_up().await;
    for _ in 0..2 {
        let (status, _) = service.get(&format!("/internal/v1/accounts/{theirs}/balances")).await;
        assert_eq!(status, 500, "a retry does not help");
    }
    reports::expect_one(&theirs);
    service.stop().await;
    world.end().await;
}

#[tokio::test]
async fn unknown_event_in_tail_stops_only_that_account() {
    reports::start_capture();
    let world = World::new().await;
    let theirs = testkit::unique("newer");
    for player_id in [theirs.as_str(), "p"] {
        world.fund(player_id, 100).await;
        decide_and_die(&world, &wager(&format!("left-{player_id}"), player_id, 10, 0)).await;
    }
    let of_tomorrow = "casino.payments.v9.WagerApplauded";
    newer(&world, "accounts", &theirs, doc! { "tail.0.event.type": of_tomorrow }).await;
    let ledger = world.ledger();
    assert_eq!(ledger.sweep(0).await.unwrap(), 1, "p's");
    assert_eq!(ledger.account("p").await.unwrap().unwrap().tail.len(), 0);
    let error = wager("next", &theirs, 1, 0).run(&ledger).await.unwrap_err();
    assert!(matches!(error, LedgerError::Unreadable(_)) && error.class() == ErrorClass::Poison, "{error}");
    assert!(matches!(wager("next-p", "p", 1, 0).run(&ledger).await.unwrap(), Verdict::Decided(_)));
    reports::expect_one(&theirs);
    world.end().await;
}

#[tokio::test]
async fn pool_skips_payment_of_unknown_kind() {
    reports::start_capture();
    let world = World::new().await;
    let theirs = testkit::unique("newer-payment");
    let (ledger, _receiver) = world.ledger_with_intents();
    let (intents, _receiver) = world.intents();
    for id in [theirs.as_str(), "ours"] {
        payment(id, id, PaymentKind::Deposit, 100).run(&ledger).await.unwrap();
        newer(&world, "intents", id, doc! { "next_attempt_at": bson::DateTime::from_millis(0) }).await;
    }
    newer(&world, "intents", &theirs, doc! { "kind": "chargeback" }).await;
    for _ in 0..3 {
        let due = intents.due(State::Requested, 1).await.unwrap();
        assert_eq!(due.iter().map(|intent| intent.payment_id.as_str()).collect::<Vec<_>>(), ["ours"]);
    }
    assert!(intents.admit(&theirs, true).await.unwrap_err().is_unreadable());
    reports::expect_one(&theirs);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rolled_back_service_serves_other_players() {
    let (world, provider) = (World::new().await, Provider::start().await);
    let theirs = account_in_yen(&world).await;
    let service = Running::start(&world, &provider).await;
    send(&world, "theirs", bet_of(&theirs, "theirs", 10)).await;
    send(&world, "funds", deposit(100)).await;
    answer(&world, "funds").await;
    send(&world, "ours", bet_of("p", "ours", 10)).await;
    assert_eq!(answer(&world, "ours").await.event_type, EventType::WagerApplied);
    testkit::eventually("a dead letter", crate::world::WAIT_MAX, || async {
        (world.parked().await == 1).then_some(())
    })
    .await;
    service.stop().await;
    // After the newer build is deployed again, all data is there.
    let documents = world.mongo.collection::<Document>("accounts");
    let known = doc! { "$unset": { "balances.JPY": 1 } };
    documents.update_one(doc! { "_id": &theirs }, known).await.unwrap();
    let ledger = world.ledger();
    assert!(matches!(wager("again", &theirs, 10, 0).run(&ledger).await.unwrap(), Verdict::Decided(_)));
    ledger.trim().await.unwrap();
    Audit::at_rest(&world).await.assert_sound();
    world.end().await;
}
