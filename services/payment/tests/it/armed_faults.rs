//! Fault `payment.random-failure`: which payments it makes fail, and that money is right afterwards.

use bson::{DateTime, doc};
use bus::CancellationToken;
use contracts::EventType;
use faults::FaultId;
use payment::domain::PaymentKind;
use payment::provider::pool::Pool;
use testkit::faults::Flags;
use testkit::reports;

use crate::pool::pool_of;
use crate::provider::Provider;
use crate::service::{Running, answer, balance, deposit, send, withdraw};
use crate::world::{World, payment};

/// Arms the fault for every payment.
fn every_payment_fails() -> Flags {
    Flags::armed("payment", FaultId::PaymentRandomFailure, &[])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_failure_declines_before_request() {
    reports::start_capture();
    let (world, provider) = (World::new().await, Provider::start().await);
    let service = Running::start(&world, &provider).await;
    send(&world, "funds", deposit(100)).await;
    assert_eq!(answer(&world, "funds").await.event_type, EventType::DepositCompleted, "without the fault");
    service.stop().await;

    let (flags, requests) = (every_payment_fails(), provider.requests());
    let service = Running::start_with_faults(&world, &provider, flags.faults(), |_| {}).await;
    let [failed_in, failed_out] = ["failed-deposit", "failed-withdrawal"].map(testkit::unique);
    send(&world, &failed_in, deposit(50)).await;
    assert!(answer(&world, &failed_in).await.message.contains("reason: ProviderDeclined"));
    send(&world, &failed_out, withdraw(60)).await;
    assert_eq!(answer(&world, &failed_out).await.event_type, EventType::WithdrawalFailed);
    assert_eq!(balance(&service).await, 100, "the withdrawn amount is returned");
    assert_eq!(provider.requests(), requests, "the provider received no request");
    assert_eq!(flags.applied(FaultId::PaymentRandomFailure), 2);
    for id in [&failed_in, &failed_out] {
        let reported = reports::expect_one(id);
        assert!(reported.contains("failed before its request"), "{reported}");
    }
    service.stop_and_audit(world, &provider).await;
    assert_eq!(provider.captured(), 1, "the deposit without the fault");
}

/// A request was sent in an earlier attempt, and its outcome is unknown. Only the provider's answer may settle the payment.
#[tokio::test]
async fn random_failure_spares_payment_that_was_sent() {
    let (world, provider, flags) = (World::new().await, Provider::start().await, every_payment_fails());
    let (ledger, new_payments) = world.ledger_with_intents();
    payment("d", "p", PaymentKind::Deposit, 100).run(&ledger).await.unwrap();
    world.rewrite("d", doc! { "attempts": 1_i64, "next_attempt_at": DateTime::from_millis(0) }).await;
    let pool = Pool { faults: flags.faults(), ..pool_of(&world, &provider, ledger) };
    let stop = CancellationToken::new();
    let running = telemetry::spawn(pool.run(new_payments, stop.clone()));
    world.listed("d", "the provider's answer", |intent| intent.captured == Some(true)).await;
    stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!((provider.captured(), flags.applied(FaultId::PaymentRandomFailure)), (1, 0));
    world.end().await;
}
