//! Sweeping of accounts that cannot be relayed. The sweeper adds no load and reports each account once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bson::doc;
use bus::CancellationToken;
use payment::domain::PaymentKind;
use payment::ledger::sweeper::{self, Sweep};
use payment::ledger::{Admission, Entry, Hooks, Killed, Ledger, Payments, Step};
use store::StoreError;

use crate::clash::decide_and_die;
use crate::rollback::newer;
use crate::world::{WAIT_MAX, World, payment, wager};
use testkit::reports;

/// Records the time of each attempt to relay a decision of one account.
struct Tries {
    player_id: String,
    at: Mutex<Vec<Instant>>,
}

impl Hooks for Tries {
    fn reached(&self, step: Step, player_id: &str) -> Result<(), Killed> {
        if step == Step::RowWritten && player_id == self.player_id {
            self.at.lock().unwrap().push(Instant::now());
        }
        Ok(())
    }
}

#[tokio::test]
async fn failing_account_is_reported_once() {
    reports::start_capture();
    let world = World::new().await;
    let theirs = testkit::unique("newer");
    world.fund(&theirs, 100).await;
    decide_and_die(&world, &wager("left", &theirs, 10, 0)).await;
    let of_tomorrow = doc! { "tail.0.event.type": "casino.payments.v9.WagerApplauded" };
    newer(&world, "accounts", &theirs, of_tomorrow).await;
    let tries = Arc::new(Tries { player_id: theirs.clone(), at: Mutex::default() });
    let (sweep, stop) = (Sweep { interval_ms: 10, older_than_ms: 0 }, CancellationToken::new());
    let running = telemetry::spawn(sweeper::run(world.ledger_with(tries.clone()), sweep, stop.clone()));
    let at = testkit::eventually("three tries", WAIT_MAX, || async {
        Some(tries.at.lock().unwrap().clone()).filter(|at| at.len() >= 3)
    })
    .await;
    stop.cancel();
    running.await.unwrap().unwrap();
    assert!(at[1].duration_since(at[0]) >= Duration::from_secs(1), "{at:?}");
    assert!(at[2].duration_since(at[1]) >= Duration::from_secs(2), "{at:?}");
    reports::expect_one(&theirs);
    world.end().await;
}

/// List of payments on a store that does not answer. Counts the attempts to write to it.
#[derive(Default)]
struct Away(AtomicUsize);

#[async_trait]
impl Payments for Away {
    async fn ensure(&self, _player_id: &str, _entry: &Entry) -> Result<(), StoreError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Err(StoreError::Transient { collection: "intents", reason: "it is away".to_owned() })
    }

    async fn admit(&self, _payment_id: &str, _captured: bool) -> Result<Admission, StoreError> {
        Ok(Admission::Unknown)
    }

    async fn mark_settled(&self, _payment_id: &str, _captured: Option<bool>) -> Result<(), StoreError> {
        Ok(())
    }
}

#[tokio::test]
async fn store_failure_ends_sweep() {
    let world = World::new().await;
    for player_id in ["a", "b", "c"] {
        decide_and_die(&world, &payment(player_id, player_id, PaymentKind::Deposit, 100)).await;
    }
    testkit::eventually("a moment after the last decision", WAIT_MAX, || async {
        let last = world.ledger().account("c").await.unwrap().unwrap();
        last.oldest_tail_at.filter(|at| *at < world.mongo.now())
    })
    .await;
    let away = Arc::new(Away::default());
    let ledger = Ledger::new(world.mongo.clone(), Arc::new(world.producer.clone()), away.clone());
    assert_eq!(ledger.sweep(0).await.unwrap(), 1);
    assert_eq!(away.0.load(Ordering::SeqCst), 1, "the next account is not tried");
    world.end().await;
}
