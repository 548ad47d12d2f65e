//! Proof that the audit detects the loss of each safeguard. Every twin is the real ledger without one safeguard.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use payment::ledger::{Hooks, Killed, Ledger, Safeguard, Step};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use crate::audit::Audit;
use crate::provider::{Kind, Provider};
use crate::world::{World, deposit, wager};

/// Removes one safeguard, and dies once after a chosen step.
#[derive(Debug)]
struct Broken {
    without: Option<Safeguard>,
    dies_after: Option<Step>,
    armed: AtomicBool,
}

impl Hooks for Broken {
    fn reached(&self, step: Step, _player_id: &str) -> Result<(), Killed> {
        if self.dies_after == Some(step) && self.armed.swap(false, Ordering::SeqCst) {
            return Err(Killed(step));
        }
        Ok(())
    }

    fn keeps(&self, safeguard: Safeguard) -> bool {
        self.without != Some(safeguard)
    }
}

fn broken(world: &World, without: Option<Safeguard>, dies_after: Option<Step>) -> Ledger {
    world.ledger_with(Arc::new(Broken { without, dies_after, armed: AtomicBool::new(true) }))
}

/// Runs the same scenario with and without the safeguard. The audit must be sound with it and find a violation without it.
async fn audit_detects_loss<F: Future<Output = ()>>(
    safeguard: Safeguard,
    scenario: impl Fn(Arc<World>, Option<Safeguard>) -> F,
) {
    for without in [None, Some(safeguard)] {
        let world = Arc::new(World::new().await);
        scenario(world.clone(), without).await;
        let audit = Audit::at_rest(&world).await;
        match without {
            None => audit.assert_sound(),
            Some(_) => {
                assert!(
                    !audit.violations.is_empty(),
                    "without {safeguard:?} the audit found nothing: {audit:?}"
                );
                println!("without {safeguard:?}: {}", audit.violations[0]);
            }
        }
        Arc::into_inner(world).expect("the last reference").end().await;
    }
}

/// A rejected bet is redelivered after a deposit.
async fn redeliver_rejected_bet_after_deposit(world: Arc<World>, without: Option<Safeguard>) {
    let ledger = broken(&world, without, None);
    ledger.open("p", money::Currency::Eur).await.unwrap();
    let bet = wager("b", "p", 10, 0);
    bet.run(&ledger).await.unwrap();
    ledger.trim().await.unwrap();
    for command in deposit("d", "p", 100) {
        command.run(&ledger).await.unwrap();
    }
    ledger.trim().await.unwrap();
    // Without the safeguard this decides again. It may fail on the ledger's unique key, which is too late for the balance.
    drop(bet.run(&ledger).await);
}

#[tokio::test]
async fn without_ledger_read_bet_is_decided_twice() {
    audit_detects_loss(Safeguard::LedgerRead, redeliver_rejected_bet_after_deposit).await;
}

#[tokio::test]
async fn unrecorded_rejection_is_decided_again() {
    audit_detects_loss(Safeguard::RejectionRecorded, redeliver_rejected_bet_after_deposit).await;
}

#[tokio::test]
async fn without_ack_before_trim_order_is_lost() {
    audit_detects_loss(Safeguard::AckBeforeTrim, |world, without| async move {
        world.fund("p", 100).await;
        let ledger = broken(&world, without, Some(Step::RowWritten));
        let first = wager("first", "p", 10, 0);
        assert!(first.run(&ledger).await.is_err(), "the publish fails, and the process continues");
        ledger.trim().await.unwrap();
        wager("second", "p", 10, 0).run(&ledger).await.unwrap();
        first.run(&ledger).await.unwrap();
        ledger.trim().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn without_lower_first_order_is_lost() {
    audit_detects_loss(Safeguard::LowerFirst, |world, without| async move {
        world.fund("p", 100).await;
        let dying = broken(&world, without, Some(Step::DecisionWritten));
        assert!(wager("first", "p", 10, 0).run(&dying).await.is_err(), "it dies before it relays");
        let other = broken(&world, without, None);
        wager("second", "p", 10, 0).run(&other).await.unwrap();
        while other.sweep(0).await.unwrap() > 0 {}
    })
    .await;
}

/// Lets another process decide once between the read and the write of the account.
struct Overtaken {
    without: Option<Safeguard>,
    other: Mutex<Option<Ledger>>,
}

impl Hooks for Overtaken {
    fn reached(&self, step: Step, player_id: &str) -> Result<(), Killed> {
        let other = (step == Step::AccountRead).then(|| self.other.lock().unwrap().take()).flatten();
        if let Some(other) = other {
            let faster = wager("faster", player_id, 20, 0);
            let decided = faster.run(&other);
            block_in_place(|| Handle::current().block_on(decided)).expect("decided");
        }
        Ok(())
    }

    fn keeps(&self, safeguard: Safeguard) -> bool {
        self.without != Some(safeguard)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_version_check_updates_are_lost() {
    audit_detects_loss(Safeguard::VersionCompared, |world, without| async move {
        world.fund("p", 1_000).await;
        let overtaken = Overtaken { without, other: Mutex::new(Some(world.ledger())) };
        let ledger = world.ledger_with(Arc::new(overtaken));
        // Without the safeguard this ends in a diverged ledger. The audit must find it, so the result is ignored.
        drop(wager("slower", "p", 1, 0).run(&ledger).await);
    })
    .await;
}

/// The books balance in themselves. The provider's statement agrees or differs by a cent, in currency or in direction.
#[tokio::test]
async fn audit_detects_statement_off_by_one_cent() {
    let world = World::new().await;
    world.fund("p", 100).await;
    Audit::at_rest(&world).await.assert_sound();
    for (kind, minor, currency, agrees) in [
        (Kind::Charge, 100, "EUR", true),
        (Kind::Charge, 99, "EUR", false),
        (Kind::Charge, 100, "USD", false),
        (Kind::Payout, 100, "EUR", false),
    ] {
        let provider = Provider::start().await;
        provider.accept(kind, "fund-p:capture", minor, currency);
        let audit = Audit::with_statement(&world, &provider).await;
        assert_eq!(audit.violations.is_empty(), agrees, "{kind:?} {minor} {currency}: {audit:?}");
    }
    let unknown = Audit::with_statement(&world, &Provider::start().await).await;
    assert!(!unknown.violations.is_empty(), "money from nowhere was not detected");
    world.end().await;
}
