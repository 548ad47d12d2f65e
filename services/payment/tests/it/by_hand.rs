//! Settlements by hand, against a real pool and the provider's own statement. Either money moves once, or the report is refused.

use contracts::proto::payments::v1::{ProviderOutcome, ProviderReported};
use contracts::{Event, EventType, Message, ids};
use money::Currency;
use payment::domain::PaymentKind;
use payment::ledger::{Admission, Payments as _, Verdict};
use payment::provider::client::Answer;
use payment::provider::intent::State;
use payment::provider::intents::Recorded;

use crate::provider::{Behaviour, Provider};
use crate::service::{Running, amount, answer, balance, deposit, send, withdraw};
use crate::world::{self, WAIT_MAX, World, event_id, payment, provider_report};
use testkit::reports;

/// Publishes a report as an operator does on the console, under its own id.
async fn report_by_hand(world: &World, id: &str, payment: &str, minor: i64, outcome: ProviderOutcome) {
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
async fn claimed(world: &World, payment: &str) {
    world.listed(payment, "a claimed payment", |intent| intent.attempts > 0).await;
}

/// Waits until the pool requests a void. No earlier request is in flight then.
async fn void_requested(provider: &Provider) {
    testkit::eventually("a void", WAIT_MAX, || async { (provider.voids() > 0).then_some(()) }).await;
}

async fn state_of(world: &World, payment: &str, state: State) {
    world.listed(payment, &format!("{payment} {state:?}"), |intent| intent.state == state).await;
}

/// Waits until the report by hand is a dead letter.
async fn parked(world: &World) {
    testkit::eventually("a dead letter", WAIT_MAX, || async { (world.parked().await > 0).then_some(()) })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_decline_by_hand_voids_withdrawal() {
    let (world, provider) = (World::new().await, Provider::start().await);
    let service = Running::start(&world, &provider).await;
    send(&world, "funds", deposit(100)).await;
    answer(&world, "funds").await;
    provider.set(Behaviour::Silent);
    send(&world, "w", withdraw(60)).await;
    claimed(&world, "w").await;
    report_by_hand(&world, "typed", "w", 60, ProviderOutcome::Declined).await;
    parked(&world).await;
    assert_eq!(balance(&service).await, 40, "an operator's report moves nothing");
    void_requested(&provider).await;
    provider.set(Behaviour::Normal);
    assert_eq!(answer(&world, "w").await.event_type, EventType::WithdrawalFailed);
    assert_eq!(balance(&service).await, 100);
    state_of(&world, "w", State::Settled).await;
    service.stop_and_audit(world, &provider).await;
    assert_eq!(provider.captured(), 1, "the deposit alone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn charged_deposit_declined_by_hand_is_credited() {
    let (world, provider) = (World::new().await, Provider::start().await);
    let service = Running::start(&world, &provider).await;
    provider.set(Behaviour::AcceptsThenSilent);
    send(&world, "d", deposit(100)).await;
    // A claim comes before its request, so a void could still be in time.
    testkit::eventually("the charge", WAIT_MAX, || async { (provider.captured() == 1).then_some(()) }).await;
    report_by_hand(&world, "typed", "d", 100, ProviderOutcome::Declined).await;
    parked(&world).await;
    provider.set(Behaviour::Normal);
    assert_eq!(answer(&world, "d").await.event_type, EventType::DepositCompleted, "the void came too late");
    assert_eq!(balance(&service).await, 100);
    service.stop_and_audit(world, &provider).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_capture_by_hand_waits_for_provider() {
    let (world, provider) = (World::new().await, Provider::start().await);
    let service = Running::start(&world, &provider).await;
    provider.set(Behaviour::Silent);
    send(&world, "d", deposit(100)).await;
    claimed(&world, "d").await;
    report_by_hand(&world, "typed", "d", 100, ProviderOutcome::Captured).await;
    parked(&world).await;
    assert_eq!(balance(&service).await, serde_json::Value::Null);
    provider.set(Behaviour::Normal);
    answer(&world, "d").await;
    report_by_hand(&world, "typed-again", "d", 100, ProviderOutcome::Captured).await;
    send(&world, "after", withdraw(1)).await;
    answer(&world, "after").await;
    assert_eq!(balance(&service).await, 99, "credited once");
    service.stop_and_audit(world, &provider).await;
    assert_eq!(provider.captured(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn early_decline_by_hand_prevents_request() {
    let (world, provider) = (World::new().await, Provider::start().await);
    let service = Running::start(&world, &provider).await;
    send(&world, "funds", deposit(100)).await;
    answer(&world, "funds").await;
    service.stop().await;
    let (ledger, _receiver) = world.ledger_with_intents();
    payment("w", "p", PaymentKind::Withdrawal, 60).run(&ledger).await.unwrap();
    let by_hand = world::Recorded { id: event_id("typed"), ..provider_report("w", "p", 60, false) };
    assert!(matches!(by_hand.run(&ledger).await.unwrap(), Verdict::Decided(_)));
    payment("w2", "p", PaymentKind::Withdrawal, 10).run(&ledger).await.unwrap();
    ledger.trim().await.unwrap();
    // Both are overdue, `w` for longer. A pool that starts `w2` has therefore passed `w`.
    for (id, due_ms) in [("w", 1), ("w2", 2)] {
        world.rewrite(id, bson::doc! { "next_attempt_at": bson::DateTime::from_millis(due_ms) }).await;
    }
    let before = provider.requests();
    let service = Running::start(&world, &provider).await;
    assert_eq!(answer(&world, "w2").await.event_type, EventType::WithdrawalCompleted);
    assert_eq!(balance(&service).await, 90);
    service.stop_and_audit(world, &provider).await;
    assert_eq!(provider.requests(), before + 1, "only w2 was sent");
}

/// A build without the admission check left this payment: settled by hand in the ledger, and still on the list.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payment_settled_by_older_build_is_not_sent() {
    let (world, provider) = (World::new().await, Provider::start().await);
    world.fund("p", 100).await;
    let ledger = world.ledger();
    payment("w", "p", PaymentKind::Withdrawal, 60).run(&ledger).await.unwrap();
    let by_hand = world::Recorded { id: event_id("typed"), ..provider_report("w", "p", 60, false) };
    by_hand.run(&ledger).await.unwrap();
    ledger.trim().await.unwrap();
    let (intents, _receiver) = world.intents();
    let requested = ledger.decision("w").await.unwrap().expect("it was decided").1;
    intents.ensure("p", &requested).await.unwrap();
    world.rewrite("w", bson::doc! { "next_attempt_at": bson::DateTime::from_millis(0) }).await;
    let service = Running::start(&world, &provider).await;
    state_of(&world, "w", State::Settled).await;
    service.stop().await;
    assert_eq!(provider.requests(), 0);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claim_excludes_settlement_by_hand() {
    let world = World::new().await;
    let (ledger, _receiver) = world.ledger_with_intents();
    let (intents, _receiver) = world.intents();
    let mut claims = 0;
    for n in 0..40 {
        let id = format!("d{n}");
        payment(&id, "p", PaymentKind::Deposit, 100).run(&ledger).await.unwrap();
        let (claim, by_hand) = (intents.claim(&id, true), intents.admit(&id, false));
        // Either one first, or both at once in either order.
        let (claimed, admitted) = match n % 4 {
            0 => (claim.await, by_hand.await),
            1 => {
                let admitted = by_hand.await;
                (claim.await, admitted)
            }
            2 => tokio::join!(claim, by_hand),
            _ => {
                let (admitted, claimed) = tokio::join!(by_hand, claim);
                (claimed, admitted)
            }
        };
        let (claimed, admitted) = (claimed.unwrap().is_some(), admitted.unwrap() == Admission::Admitted);
        assert_ne!(claimed, admitted, "{id}");
        if n % 4 < 2 {
            assert_eq!(claimed, n % 4 == 0, "{id}: the first one wins");
        }
        claims += usize::from(claimed);
    }
    println!("claimed {claims} times, settled by hand {} times", 40 - claims);
    world.end().await;
}

#[tokio::test]
async fn refusal_does_not_count_after_next_claim() {
    let world = World::new().await;
    let (ledger, _receiver) = world.ledger_with_intents();
    let (intents, _receiver) = world.intents();
    payment("d", "p", PaymentKind::Deposit, 100).run(&ledger).await.unwrap();
    intents.claim("d", true).await.unwrap().expect("the first");
    world.rewrite("d", bson::doc! { "next_attempt_at": bson::DateTime::from_millis(0) }).await;
    intents.claim("d", false).await.unwrap().expect("the lease of the first is over");
    let late = intents.record("d", &Answer::new(false, ""), Some(1)).await.unwrap();
    assert_eq!(late, Recorded::Overtaken);
    let first = intents.record("d", &Answer::new(true, "ref"), None).await.unwrap();
    assert!(matches!(first, Recorded::Answer(_)), "{first:?}");
    let other = intents.record("d", &Answer::new(false, ""), None).await.unwrap();
    assert!(matches!(other, Recorded::Contradicted(_)), "the first answer stands: {other:?}");
    world.end().await;
}

#[tokio::test]
async fn pool_without_outcome_parks_no_answer() {
    let world = World::new().await;
    let (ledger, _receiver) = world.ledger_with_intents();
    let (intents, _receiver) = world.intents();
    payment("d", "p", PaymentKind::Deposit, 100).run(&ledger).await.unwrap();
    intents.claim("d", true).await.unwrap().expect("the first");
    // Another pool or a webhook records the answer before the first pool gives up.
    intents.record("d", &Answer::new(true, "ref"), None).await.unwrap();
    assert!(!intents.park("d", State::Requested).await.unwrap(), "its report may not be published yet");
    assert_eq!(intents.find("d").await.unwrap().unwrap().state, State::Reported);
    assert!(intents.park("d", State::Reported).await.unwrap(), "the report itself is given up");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn capture_against_declined_ledger_is_reported() {
    reports::start_capture();
    let (world, provider) = (World::new().await, Provider::start().await);
    let id = testkit::unique("contradicted");
    let (ledger, _receiver) = world.ledger_with_intents();
    payment(&id, "p", PaymentKind::Deposit, 100).run(&ledger).await.unwrap();
    let by_hand = world::Recorded { id: event_id("typed"), ..provider_report(&id, "p", 100, false) };
    by_hand.run(&ledger).await.unwrap();
    ledger.trim().await.unwrap();
    assert!(reports::containing(&id).is_empty());
    let service = Running::start(&world, &provider).await;
    service.is_up().await;
    let captured = serde_json::json!({
        "payment_id": id, "reference": "ref", "status": "captured", "amount_minor": 100, "currency": "EUR",
    });
    assert_eq!(service.webhook(&captured, crate::service::SECRET).await, 202);
    let reported = reports::expect_one(&id);
    assert!(reported.contains("captured"), "{reported}");
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
    testkit::eventually("a second report", WAIT_MAX, || async {
        (reports::containing(&id).len() == 2).then_some(())
    })
    .await;
    let account = ledger.account("p").await.unwrap().unwrap();
    assert_eq!(account.balances.get(&Currency::Eur).copied().unwrap_or(0), 0, "nothing moved");
    service.stop().await;
    world.end().await;
}
