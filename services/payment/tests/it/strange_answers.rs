//! Unexpected answers of the provider. A payment ends once or is reported, and no other payment waits for it.

use contracts::EventType;
use payment::provider::intent::State;

use crate::audit::Audit;
use crate::provider::{Mood, Provider};
use crate::service::{Running, answer, balance, deposit, send, withdraw};
use crate::world::{PATIENCE, World};
use testkit::reports;

async fn attempts(world: &World, payment: &str, at_least: i64) {
    world.listed(payment, "attempts", |intent| intent.attempts >= at_least).await;
}

async fn parked(world: &World, payment: &str) {
    world.listed(payment, "a parked payment", |intent| intent.state == State::Parked).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_of_the_first_question_is_final() {
    let (world, provider) = (World::new().await, Provider::start().await);
    let service = Running::start(&world, &provider).await;
    provider.set(Mood::Refused);
    send(&world, "d", deposit(100)).await;
    assert_eq!(answer(&world, "d").await.event_type, EventType::DepositFailed);
    assert_eq!(provider.asked(), 1);
    service.stop().await;
    Audit::at_rest(&world).await.assert_sound();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_after_a_lost_answer_gives_nothing_back() {
    let (world, provider) = (World::new().await, Provider::start().await);
    let service = Running::start(&world, &provider).await;
    send(&world, "funds", deposit(100)).await;
    answer(&world, "funds").await;
    provider.set(Mood::TakesAndFallsSilent);
    send(&world, "w", withdraw(60)).await;
    // An attempt is counted before the provider is asked.
    testkit::eventually("the payout", PATIENCE, || async { (provider.captured() == 2).then_some(()) }).await;
    provider.set(Mood::Refused);
    assert_eq!(answer(&world, "w").await.event_type, EventType::WithdrawalCompleted, "it was paid out");
    assert_eq!(balance(&service).await, 40);
    service.ends_sound(world, &provider).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_after_a_lost_question_is_made_final_by_a_void() {
    let (world, provider) = (World::new().await, Provider::start().await);
    let service = Running::start(&world, &provider).await;
    send(&world, "funds", deposit(100)).await;
    answer(&world, "funds").await;
    provider.set(Mood::Silent);
    send(&world, "w", withdraw(60)).await;
    attempts(&world, "w", 1).await;
    provider.set(Mood::Refused);
    assert_eq!(answer(&world, "w").await.event_type, EventType::WithdrawalFailed);
    assert_eq!(balance(&service).await, 100);
    service.ends_sound(world, &provider).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reference_that_no_event_can_carry_keeps_nobody_from_the_money() {
    let (world, provider) = (World::new().await, Provider::start().await);
    let service = Running::start(&world, &provider).await;
    provider.set(Mood::LongWinded);
    send(&world, "d", deposit(100)).await;
    assert_eq!(answer(&world, "d").await.event_type, EventType::DepositCompleted);
    service.ends_sound(world, &provider).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_amount_is_parked_and_reported_once() {
    reports::listen();
    let (world, provider) = (World::new().await, Provider::start().await);
    let service = Running::start(&world, &provider).await;
    provider.set(Mood::SaysAnotherAmount);
    let id = testkit::unique("other-amount");
    send(&world, &id, deposit(100)).await;
    parked(&world, &id).await;
    provider.set(Mood::Fine);
    send(&world, "next", deposit(10)).await;
    assert_eq!(answer(&world, "next").await.event_type, EventType::DepositCompleted);
    let reported = reports::about(&id);
    assert_eq!(reported.len(), 1, "{reported:?}");
    service.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_that_stays_unknown_is_parked_after_so_many_attempts_and_an_operator_may_void_it() {
    reports::listen();
    let (world, provider) = (World::new().await, Provider::start().await);
    let service = Running::start_with(&world, &provider, |config| config.attempts_max = 1).await;
    provider.set(Mood::Silent);
    let id = testkit::unique("unknown");
    send(&world, &id, deposit(100)).await;
    parked(&world, &id).await;
    let asked = provider.asked();
    provider.set(Mood::Fine);
    send(&world, "next", deposit(10)).await;
    assert_eq!(answer(&world, "next").await.event_type, EventType::DepositCompleted);
    assert_eq!(provider.asked(), asked + 1, "nobody asks for what is parked");
    let reported = reports::about(&id);
    assert_eq!(reported.len(), 1, "{reported:?}");
    let typed = contracts::proto::payments::v1::ProviderReported {
        payment_id: id.clone(),
        player_id: "p".to_owned(),
        outcome: contracts::ProviderOutcome::Declined.into(),
        provider_reference: String::new(),
        amount: crate::service::amount(100),
    };
    send(&world, "typed", typed).await;
    assert_eq!(answer(&world, &id).await.event_type, EventType::DepositFailed, "voided, and then ended");
    assert_eq!(balance(&service).await, 10);
    service.ends_sound(world, &provider).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_that_is_open_for_too_long_is_reported_once() {
    reports::listen();
    let (world, provider) = (World::new().await, Provider::start().await);
    let service = Running::start_with(&world, &provider, |config| config.escalate_after_ms = 1_000).await;
    provider.set(Mood::Silent);
    let id = testkit::unique("stuck");
    send(&world, &id, deposit(100)).await;
    testkit::eventually("a report", PATIENCE, || async { (!reports::about(&id).is_empty()).then_some(()) })
        .await;
    attempts(&world, &id, 3).await;
    let reported = reports::about(&id);
    assert_eq!(reported.len(), 1, "{reported:?}");
    service.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_with_every_sign_of_an_address_is_looked_up_by_its_own_name() {
    let (world, provider) = (World::new().await, Provider::start().await);
    let service = Running::start(&world, &provider).await;
    provider.set(Mood::TakesAndHangs);
    let id = "d&idempotency_key=x#%41+";
    send(&world, id, deposit(100)).await;
    assert_eq!(answer(&world, id).await.event_type, EventType::DepositCompleted, "found under its key");
    service.ends_sound(world, &provider).await;
}
