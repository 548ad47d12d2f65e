//! Unexpected answers of the provider. A payment ends once or is reported, and no other payment waits for it.

use contracts::EventType;
use payment::provider::intent::State;

use crate::audit::Audit;
use crate::provider::{Behaviour, Provider};
use crate::service::{IMPATIENT_MS, Running, answer, balance, deposit, send, withdraw};
use crate::world::{WAIT_MAX, World};
use testkit::reports;

async fn attempts(world: &World, payment: &str, at_least: i64) {
    world.listed(payment, "attempts", |intent| intent.attempts >= at_least).await;
}

async fn parked(world: &World, payment: &str) {
    world.listed(payment, "a parked payment", |intent| intent.state == State::Parked).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusal_of_first_request_is_final() {
    let (world, provider) = (World::new().await, Provider::start().await);
    let service = Running::start(&world, &provider).await;
    provider.set(Behaviour::Refused);
    send(&world, "d", deposit(100)).await;
    assert_eq!(answer(&world, "d").await.event_type, EventType::DepositFailed);
    assert_eq!(provider.requests(), 1);
    service.stop().await;
    Audit::at_rest(&world).await.assert_sound();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusal_after_lost_answer_returns_no_money() {
    let (world, provider) = (World::new().await, Provider::start().await);
    let service = Running::start(&world, &provider).await;
    send(&world, "funds", deposit(100)).await;
    answer(&world, "funds").await;
    provider.set(Behaviour::AcceptsThenSilent);
    send(&world, "w", withdraw(60)).await;
    // An attempt is counted before its request is sent.
    testkit::eventually("the payout", WAIT_MAX, || async { (provider.captured() == 2).then_some(()) }).await;
    provider.set(Behaviour::Refused);
    assert_eq!(answer(&world, "w").await.event_type, EventType::WithdrawalCompleted, "it was paid out");
    assert_eq!(balance(&service).await, 40);
    service.stop_and_audit(world, &provider).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusal_after_lost_request_leads_to_void() {
    let (world, provider) = (World::new().await, Provider::start().await);
    let service = Running::start(&world, &provider).await;
    send(&world, "funds", deposit(100)).await;
    answer(&world, "funds").await;
    provider.set(Behaviour::Silent);
    send(&world, "w", withdraw(60)).await;
    attempts(&world, "w", 1).await;
    provider.set(Behaviour::Refused);
    assert_eq!(answer(&world, "w").await.event_type, EventType::WithdrawalFailed);
    assert_eq!(balance(&service).await, 100);
    service.stop_and_audit(world, &provider).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_reference_does_not_prevent_settlement() {
    let (world, provider) = (World::new().await, Provider::start().await);
    let service = Running::start(&world, &provider).await;
    provider.set(Behaviour::LongReference);
    send(&world, "d", deposit(100)).await;
    assert_eq!(answer(&world, "d").await.event_type, EventType::DepositCompleted);
    service.stop_and_audit(world, &provider).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_amount_parks_payment() {
    reports::start_capture();
    let (world, provider) = (World::new().await, Provider::start().await);
    let service = Running::start(&world, &provider).await;
    provider.set(Behaviour::OtherAmount);
    let id = testkit::unique("other-amount");
    send(&world, &id, deposit(100)).await;
    parked(&world, &id).await;
    provider.set(Behaviour::Normal);
    send(&world, "next", deposit(10)).await;
    assert_eq!(answer(&world, "next").await.event_type, EventType::DepositCompleted);
    reports::expect_one(&id);
    service.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_outcome_parks_until_operator_voids() {
    reports::start_capture();
    let (world, provider) = (World::new().await, Provider::start().await);
    let service = Running::start_with(&world, &provider, |config| config.attempts_max = 1).await;
    provider.set(Behaviour::Silent);
    let id = testkit::unique("unknown");
    send(&world, &id, deposit(100)).await;
    parked(&world, &id).await;
    let before = provider.requests();
    provider.set(Behaviour::Normal);
    send(&world, "next", deposit(10)).await;
    assert_eq!(answer(&world, "next").await.event_type, EventType::DepositCompleted);
    assert_eq!(provider.requests(), before + 1, "a parked payment is not sent");
    reports::expect_one(&id);
    let typed = contracts::proto::payments::v1::ProviderReported {
        payment_id: id.clone(),
        player_id: "p".to_owned(),
        outcome: contracts::ProviderOutcome::Declined.into(),
        provider_reference: String::new(),
        amount: crate::service::amount(100),
    };
    send(&world, "typed", typed).await;
    assert_eq!(answer(&world, &id).await.event_type, EventType::DepositFailed, "voided and then settled");
    assert_eq!(balance(&service).await, 10);
    service.stop_and_audit(world, &provider).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payment_open_for_too_long_is_reported_once() {
    reports::start_capture();
    let (world, provider) = (World::new().await, Provider::start().await);
    let service = Running::start_with(&world, &provider, |config| config.escalate_after_ms = 1_000).await;
    provider.set(Behaviour::Silent);
    let id = testkit::unique("stuck");
    send(&world, &id, deposit(100)).await;
    testkit::eventually("a report", WAIT_MAX, || async {
        (!reports::containing(&id).is_empty()).then_some(())
    })
    .await;
    attempts(&world, &id, 3).await;
    reports::expect_one(&id);
    service.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn id_with_url_characters_is_looked_up() {
    let (world, provider) = (World::new().await, Provider::start().await);
    let service = Running::start_with(&world, &provider, |config| config.timeout_ms = IMPATIENT_MS).await;
    provider.set(Behaviour::AcceptsAndHangs);
    let id = "d&idempotency_key=x#%41+";
    send(&world, id, deposit(100)).await;
    assert_eq!(answer(&world, id).await.event_type, EventType::DepositCompleted, "found under its key");
    service.stop_and_audit(world, &provider).await;
}
