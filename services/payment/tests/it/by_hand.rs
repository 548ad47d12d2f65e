//! Settlements by hand, against a real pool and the provider's own statement. Either money moves once, or the report is refused.

use contracts::proto::payments::v1::{ProviderOutcome, ProviderReported};
use contracts::{Event, EventType, Message, ids};
use money::Currency;
use payment::domain::PaymentKind;
use payment::ledger::{Admission, Payments as _, Verdict};
use payment::provider::client::Answer;
use payment::provider::intent::State;
use payment::provider::intents::Recorded;

use crate::audit::Audit;
use crate::provider::{Mood, Provider};
use crate::service::{Running, amount, answer, balance, deposit, send, withdraw};
use crate::world::{PATIENCE, World, event_id, payment, told};
use testkit::reports;

/// Publishes what an operator types on the console, under its own id.
async fn type_in(world: &World, id: &str, payment: &str, minor: i64, outcome: ProviderOutcome) {
    let report = ProviderReported {
        payment_id: payment.to_owned(),
        player_id: "p".to_owned(),
        outcome: outcome.into(),
        provider_reference: "by hand".to_owned(),
        amount: amount(minor),
    };
    send(world, id, report).await;
}

/// Waits until the pool has claimed `payment`.
async fn asked_for(world: &World, payment: &str) {
    world.listed(payment, "a question without an outcome", |intent| intent.attempts > 0).await;
}

/// Waits until the pool asks for a void. No earlier request is in flight then.
async fn void_asked(provider: &Provider) {
    testkit::eventually("a void", PATIENCE, || async { (provider.voids() > 0).then_some(()) }).await;
}

async fn state_of(world: &World, payment: &str, state: State) {
    world.listed(payment, &format!("{payment} {state:?}"), |intent| intent.state == state).await;
}

/// Waits until the typed report is a dead letter.
async fn parked(world: &World) {
    testkit::eventually("a dead letter", PATIENCE, || async { (world.parked().await > 0).then_some(()) })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withdrawal_declined_by_hand_after_the_provider_was_asked_is_voided_and_never_paid_out() {
    let (world, provider) = (World::new().await, Provider::start().await);
    let service = Running::start(&world, &provider).await;
    send(&world, "funds", deposit(100)).await;
    answer(&world, "funds").await;
    provider.set(Mood::Silent);
    send(&world, "w", withdraw(60)).await;
    asked_for(&world, "w").await;
    type_in(&world, "typed", "w", 60, ProviderOutcome::Declined).await;
    parked(&world).await;
    assert_eq!(balance(&service).await, 40, "nothing moves on an operator's word");
    void_asked(&provider).await;
    provider.set(Mood::Fine);
    assert_eq!(answer(&world, "w").await.event_type, EventType::WithdrawalFailed);
    assert_eq!(balance(&service).await, 100);
    state_of(&world, "w", State::Settled).await;
    service.stop().await;
    assert_eq!(provider.captured(), 1, "the deposit alone");
    Audit::with_statement(&world, &provider).await.assert_sound();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deposit_declined_by_hand_after_the_card_was_charged_is_credited() {
    let (world, provider) = (World::new().await, Provider::start().await);
    let service = Running::start(&world, &provider).await;
    provider.set(Mood::TakesAndFallsSilent);
    send(&world, "d", deposit(100)).await;
    asked_for(&world, "d").await;
    type_in(&world, "typed", "d", 100, ProviderOutcome::Declined).await;
    parked(&world).await;
    provider.set(Mood::Fine);
    assert_eq!(answer(&world, "d").await.event_type, EventType::DepositCompleted, "the void came too late");
    assert_eq!(balance(&service).await, 100);
    service.ends_sound(world, &provider).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deposit_captured_by_hand_after_the_provider_was_asked_waits_for_its_word() {
    let (world, provider) = (World::new().await, Provider::start().await);
    let service = Running::start(&world, &provider).await;
    provider.set(Mood::Silent);
    send(&world, "d", deposit(100)).await;
    asked_for(&world, "d").await;
    type_in(&world, "typed", "d", 100, ProviderOutcome::Captured).await;
    parked(&world).await;
    assert_eq!(balance(&service).await, serde_json::Value::Null);
    provider.set(Mood::Fine);
    answer(&world, "d").await;
    type_in(&world, "typed-again", "d", 100, ProviderOutcome::Captured).await;
    send(&world, "after", withdraw(1)).await;
    answer(&world, "after").await;
    assert_eq!(balance(&service).await, 99, "credited once");
    service.stop().await;
    assert_eq!(provider.captured(), 2);
    Audit::with_statement(&world, &provider).await.assert_sound();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withdrawal_given_back_by_hand_before_anybody_asked_is_never_asked_for() {
    let (world, provider) = (World::new().await, Provider::start().await);
    let service = Running::start(&world, &provider).await;
    send(&world, "funds", deposit(100)).await;
    answer(&world, "funds").await;
    service.stop().await;
    let (ledger, _door) = world.ledger_with_intents();
    payment("w", "p", PaymentKind::Withdrawal, 60).run(&ledger).await.unwrap();
    let mut by_hand = told("w", "p", 60, false);
    by_hand.id = event_id("typed");
    assert!(matches!(by_hand.run(&ledger).await.unwrap(), Verdict::Decided(_)));
    payment("w2", "p", PaymentKind::Withdrawal, 10).run(&ledger).await.unwrap();
    ledger.trim().await.unwrap();
    // Both are overdue, `w` for longer. A pool that starts `w2` has therefore passed `w`.
    for (id, due_ms) in [("w", 1), ("w2", 2)] {
        world.rewrite(id, bson::doc! { "next_attempt_at": bson::DateTime::from_millis(due_ms) }).await;
    }
    let before = provider.asked();
    let service = Running::start(&world, &provider).await;
    assert_eq!(answer(&world, "w2").await.event_type, EventType::WithdrawalCompleted);
    assert_eq!(balance(&service).await, 90);
    service.stop().await;
    assert_eq!(provider.asked(), before + 1, "w2 alone was asked for, and nothing is under way any more");
    Audit::with_statement(&world, &provider).await.assert_sound();
    world.end().await;
}

/// A build without the admission check left this payment: settled by hand in the ledger, and still on the list.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_older_build_settled_by_hand_is_not_asked_for() {
    let (world, provider) = (World::new().await, Provider::start().await);
    world.fund("p", 100).await;
    let ledger = world.ledger();
    payment("w", "p", PaymentKind::Withdrawal, 60).run(&ledger).await.unwrap();
    let mut by_hand = told("w", "p", 60, false);
    by_hand.id = event_id("typed");
    by_hand.run(&ledger).await.unwrap();
    ledger.trim().await.unwrap();
    let (intents, _door) = world.intents();
    let asked = ledger.decision("w").await.unwrap().expect("it was decided").1;
    intents.ensure("p", &asked).await.unwrap();
    let service = Running::start(&world, &provider).await;
    state_of(&world, "w", State::Settled).await;
    service.stop().await;
    assert_eq!(provider.asked(), 0);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_question_and_a_settlement_by_hand_exactly_one_begins() {
    let world = World::new().await;
    let (ledger, _door) = world.ledger_with_intents();
    let (intents, _door) = world.intents();
    let mut asked = 0;
    for n in 0..40 {
        let id = format!("d{n}");
        payment(&id, "p", PaymentKind::Deposit, 100).run(&ledger).await.unwrap();
        let (question, by_hand) = (intents.claim(&id, true), intents.admit(&id, false));
        // Either one first, or both at once in either order.
        let (claimed, admitted) = match n % 4 {
            0 => (question.await, by_hand.await),
            1 => {
                let admitted = by_hand.await;
                (question.await, admitted)
            }
            2 => tokio::join!(question, by_hand),
            _ => {
                let (admitted, claimed) = tokio::join!(by_hand, question);
                (claimed, admitted)
            }
        };
        let (claimed, admitted) = (claimed.unwrap().is_some(), admitted.unwrap() == Admission::Admitted);
        assert_ne!(claimed, admitted, "{id}");
        if n % 4 < 2 {
            assert_eq!(claimed, n % 4 == 0, "{id}: the first one wins");
        }
        asked += usize::from(claimed);
    }
    println!("asked {asked} times, settled by hand {} times", 40 - asked);
    world.end().await;
}

#[tokio::test]
async fn a_refusal_counts_only_while_nobody_else_has_asked() {
    let world = World::new().await;
    let (ledger, _door) = world.ledger_with_intents();
    let (intents, _door) = world.intents();
    payment("d", "p", PaymentKind::Deposit, 100).run(&ledger).await.unwrap();
    intents.claim("d", true).await.unwrap().expect("the first");
    world.rewrite("d", bson::doc! { "next_attempt_at": bson::DateTime::from_millis(0) }).await;
    intents.claim("d", false).await.unwrap().expect("the lease of the first is over");
    let late = intents.record("d", &Answer::new(false, ""), Some(1)).await.unwrap();
    assert_eq!(late, Recorded::Overtaken);
    let word = intents.record("d", &Answer::new(true, "ref"), None).await.unwrap();
    assert!(matches!(word, Recorded::Word(_)), "{word:?}");
    let other = intents.record("d", &Answer::new(false, ""), None).await.unwrap();
    assert!(matches!(other, Recorded::Contradicted(_)), "the first word stands: {other:?}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capture_that_the_ledger_does_not_know_is_an_error_event() {
    reports::listen();
    let (world, provider) = (World::new().await, Provider::start().await);
    let id = testkit::unique("contradicted");
    let (ledger, _door) = world.ledger_with_intents();
    payment(&id, "p", PaymentKind::Deposit, 100).run(&ledger).await.unwrap();
    let mut by_hand = told(&id, "p", 100, false);
    by_hand.id = event_id("typed");
    by_hand.run(&ledger).await.unwrap();
    ledger.trim().await.unwrap();
    assert!(reports::about(&id).is_empty());
    let service = Running::start(&world, &provider).await;
    service.is_up().await;
    let captured = serde_json::json!({
        "payment_id": id, "reference": "ref", "status": "captured", "amount_minor": 100, "currency": "EUR",
    });
    assert_eq!(service.webhook(&captured, crate::service::SECRET).await, 202);
    let reported = reports::about(&id);
    assert_eq!(reported.len(), 1, "{reported:?}");
    assert!(reported[0].contains("captured"), "{reported:?}");
    // The same report on the command topic, as an older pool would publish it.
    let report = ProviderReported {
        payment_id: id.clone(),
        player_id: "p".to_owned(),
        outcome: ProviderOutcome::Captured.into(),
        provider_reference: "ref".to_owned(),
        amount: amount(100),
    };
    let message = Message::from(report);
    let hash = ids::request_hash(&message);
    let event = Event::command(ids::provider_reported_id(&event_id(&id)), "test", hash, message);
    world.producer.publish(&event).await.unwrap();
    testkit::eventually("a second report", PATIENCE, || async {
        (reports::about(&id).len() == 2).then_some(())
    })
    .await;
    let account = ledger.account("p").await.unwrap().unwrap();
    assert_eq!(account.balances.get(&Currency::Eur).copied().unwrap_or(0), 0, "nothing moved");
    service.stop().await;
    world.end().await;
}
