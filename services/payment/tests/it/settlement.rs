//! A payment is settled once in the ledger, by the first report. `by_hand` tests what the provider does meanwhile.

use money::Currency;
use payment::domain::PaymentKind;
use payment::ledger::{Ledger, Request, Verdict};

use crate::audit::Audit;
use crate::world::{self, Recorded, World, event_id};

fn requested(id: &str, kind: PaymentKind, minor: i64) -> Recorded {
    world::payment(id, "p", kind, minor)
}

/// Returns the command that the provider's answer and its webhook become.
fn reported(payment: &str, minor: i64, captured: bool) -> Recorded {
    world::provider_report(payment, "p", minor, captured)
}

/// Returns the report of an operator, under its own id.
fn by_hand(id: &str, payment: &str, minor: i64, captured: bool) -> Recorded {
    let mut command = Recorded { id: event_id(id), ..reported(payment, minor, captured) };
    if let Request::Report { provider_reference, .. } = &mut command.request {
        "by hand".clone_into(provider_reference);
    }
    command
}

async fn held(ledger: &Ledger) -> Option<i64> {
    ledger.account("p").await.unwrap().unwrap().balances.get(&Currency::Eur).copied()
}

#[tokio::test]
async fn deposit_settled_by_hand_is_not_credited_again() {
    let world = World::new().await;
    let ledger = world.ledger();
    requested("d", PaymentKind::Deposit, 40).run(&ledger).await.unwrap();
    let verdict = by_hand("typed", "d", 40, true).run(&ledger).await.unwrap();
    assert!(matches!(verdict, Verdict::Decided(_)));
    assert_eq!(reported("d", 40, true).run(&ledger).await.unwrap(), Verdict::Conflict, "still in the tail");
    ledger.trim().await.unwrap();
    assert_eq!(reported("d", 40, true).run(&ledger).await.unwrap(), Verdict::Conflict, "only in the ledger");
    let again = by_hand("typed-again", "d", 40, true).run(&ledger).await.unwrap();
    assert!(matches!(again, Verdict::Found(_)), "the same request has the same answer");
    assert_eq!(held(&ledger).await, Some(40));
    let settled = ledger.settlement(&event_id("d")).await.unwrap().expect("it is settled");
    assert_eq!(settled.command_id, "typed");
    Audit::at_rest(&world).await.assert_sound();
    world.end().await;
}

#[tokio::test]
async fn first_outcome_of_withdrawal_stands() {
    let world = World::new().await;
    world.fund("p", 100).await;
    let ledger = world.ledger();
    requested("w", PaymentKind::Withdrawal, 60).run(&ledger).await.unwrap();
    assert_eq!(held(&ledger).await, Some(40));
    by_hand("typed", "w", 60, false).run(&ledger).await.unwrap();
    assert_eq!(reported("w", 60, true).run(&ledger).await.unwrap(), Verdict::Conflict);
    assert_eq!(held(&ledger).await, Some(100));
    ledger.trim().await.unwrap();
    let audit = Audit::at_rest(&world).await;
    audit.assert_sound();
    assert_eq!(audit.decisions, 4, "the amount in `suspense` moved once");
    world.end().await;
}

#[tokio::test]
async fn settlement_without_payment_key_is_found() {
    let world = World::new().await;
    let ledger = world.ledger();
    requested("d", PaymentKind::Deposit, 40).run(&ledger).await.unwrap();
    reported("d", 40, true).run(&ledger).await.unwrap();
    ledger.trim().await.unwrap();
    let rows = world.mongo.collection::<bson::Document>("ledger");
    let without = bson::doc! { "$pull": { "keys": "r:d" } };
    assert_eq!(rows.update_one(bson::doc! { "keys": "r:d" }, without).await.unwrap(), 1);
    assert_eq!(by_hand("typed", "d", 40, true).run(&ledger).await.unwrap(), Verdict::Conflict);
    assert_eq!(held(&ledger).await, Some(40));
    assert!(ledger.settlement(&event_id("d")).await.unwrap().is_some());
    world.end().await;
}

#[tokio::test]
async fn payment_settled_by_hand_is_shown_as_completed() {
    let world = World::new().await;
    let ledger = world.ledger();
    requested("d", PaymentKind::Deposit, 40).run(&ledger).await.unwrap();
    let (new_payments, _receiver) = tokio::sync::mpsc::channel(1);
    let app = payment::http::App {
        intents: payment::provider::intents::Intents::new(&world.mongo, new_payments, 1_000),
        ledger: ledger.clone(),
        producer: world.producer.clone(),
        webhook_secret: chassis::config::Secret::default(),
        webhook_secret_old: chassis::config::Secret::default(),
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/internal/v1/payments/d", listener.local_addr().unwrap());
    let serving = telemetry::spawn(async move { axum::serve(listener, payment::http::routes(app)).await });
    let state = async || {
        let client = telemetry::http::Client::new().unwrap();
        let answer: serde_json::Value = client.get(&url).send().await.unwrap().json().await.unwrap();
        answer["state"].clone()
    };
    assert_eq!(state().await, "pending");
    by_hand("typed", "d", 40, true).run(&ledger).await.unwrap();
    assert_eq!(state().await, "completed");
    serving.abort();
    world.end().await;
}
