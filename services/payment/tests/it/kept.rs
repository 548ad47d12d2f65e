//! Accounts that a process keeps after a write. What another process does meanwhile costs it a read, and never changes an answer.

use std::sync::Arc;

use money::Currency;
use payment::ledger::{Entry, Hooks, Killed, Ledger, LedgerError, Step, Verdict};

use crate::audit::Audit;
use crate::clash::{decide_and_die, limits};
use crate::cost::Counted;
use crate::world::{WAIT_MAX, World, deposit, provider_report, void, wager};

/// A process that keeps the account of `p`, which holds 90 after its bet `first`, and the number of its steps.
async fn keeping(world: &World) -> (Ledger, Arc<Counted>) {
    world.fund("p", 100).await;
    let counted = Arc::new(Counted::default());
    let ledger = world.ledger_with(counted.clone());
    decided(wager("first", "p", 10, 0).run(&ledger).await.unwrap());
    (ledger, counted)
}

#[track_caller]
fn decided(verdict: Verdict) -> Entry {
    let Verdict::Decided(entry) = verdict else { panic!("{verdict:?}") };
    *entry
}

async fn held(world: &World) -> i64 {
    world.ledger().account("p").await.unwrap().unwrap().balances[&Currency::Eur]
}

async fn assert_sound(world: World, ledger: &Ledger, decisions: usize) {
    ledger.trim().await.unwrap();
    let audit = Audit::at_rest(&world).await;
    audit.assert_sound();
    // Those of the deposit are two.
    assert_eq!(audit.decisions, decisions + 2);
    world.end().await;
}

#[tokio::test]
async fn account_that_another_process_changed_is_read_again() {
    let world = World::new().await;
    let (ledger, counted) = keeping(&world).await;
    decided(wager("theirs", "p", 80, 0).run(&world.ledger()).await.unwrap());
    // The kept account would cover it.
    let entry = decided(wager("too-much", "p", 20, 0).run(&ledger).await.unwrap());
    assert_eq!((entry.is_rejection(), entry.balance_after_minor), (true, Some(10)));
    assert_eq!((counted.steps(Step::AccountKept), counted.steps(Step::AccountRead)), (1, 2));
    let next = decided(wager("covered", "p", 10, 0).run(&ledger).await.unwrap());
    assert_eq!((next.seq, next.balance_after_minor), (entry.seq + 1, Some(0)));
    assert_eq!((counted.steps(Step::AccountKept), counted.steps(Step::AccountRead)), (2, 2), "kept again");
    assert_sound(world, &ledger, 4).await;
}

#[tokio::test]
async fn limit_that_another_process_set_binds() {
    let world = World::new().await;
    let (ledger, _) = keeping(&world).await;
    limits("stricter", "p", 5).run(&world.ledger()).await.unwrap();
    assert!(decided(wager("over", "p", 6, 0).run(&ledger).await.unwrap()).is_rejection());
    assert_sound(world, &ledger, 3).await;
}

/// The decision of another process is in its tail only, or in the ledger only, or in both. The kept account has none of them.
#[tokio::test]
async fn decision_of_another_process_is_found() {
    for (is_relayed, is_trimmed) in [(false, false), (true, false), (true, true)] {
        let world = World::new().await;
        let (ledger, counted) = keeping(&world).await;
        let theirs = wager("theirs", "p", 10, 0);
        if is_relayed {
            let other = world.ledger();
            decided(theirs.run(&other).await.unwrap());
            if is_trimmed {
                other.trim().await.unwrap();
            }
        } else {
            decide_and_die(&world, &theirs).await;
        }
        let verdict = theirs.run(&ledger).await.unwrap();
        assert!(matches!(verdict, Verdict::Found(_)), "{is_relayed} {is_trimmed}: {verdict:?}");
        assert_eq!(counted.steps(Step::AccountKept), 1);
        assert_eq!(held(&world).await, 80);
        decided(wager("next", "p", 10, 0).run(&ledger).await.unwrap());
        assert_sound(world, &ledger, 3).await;
    }
}

/// The process that decided the payment died before its row, so only the stored account knows the payment.
#[tokio::test]
async fn report_about_a_payment_of_another_process_is_no_dead_letter() {
    let world = World::new().await;
    let (ledger, counted) = keeping(&world).await;
    let [request, report] = deposit("theirs", "p", 20);
    decide_and_die(&world, &request).await;
    let entry = decided(report.run(&ledger).await.unwrap());
    assert_eq!(entry.balance_after_minor, Some(110));
    assert_eq!((counted.steps(Step::AccountKept), counted.steps(Step::AccountRead)), (1, 2));
    let error = provider_report("unknown", "p", 20, true).run(&ledger).await.unwrap_err();
    assert!(matches!(error, LedgerError::NoSuchPayment), "{error}");
    assert_eq!((counted.steps(Step::AccountKept), counted.steps(Step::AccountRead)), (2, 3), "it was read");
    assert_sound(world, &ledger, 3).await;
}

#[tokio::test]
async fn redelivery_to_the_process_that_keeps_is_found() {
    let world = World::new().await;
    let (ledger, counted) = keeping(&world).await;
    for is_trimmed in [false, true] {
        if is_trimmed {
            ledger.trim().await.unwrap();
        }
        let entry = decided(wager(&format!("b{is_trimmed}"), "p", 10, 0).run(&ledger).await.unwrap());
        for id in ["first".to_owned(), format!("b{is_trimmed}")] {
            let again = wager(&id, "p", 10, 0).run(&ledger).await.unwrap();
            assert!(matches!(again, Verdict::Found(_)), "{id}: {again:?}");
        }
        let voided = decided(
            void(&format!("v{is_trimmed}"), "p", &format!("b{is_trimmed}")).run(&ledger).await.unwrap(),
        );
        assert_eq!(voided.seq, entry.seq + 1);
    }
    assert!(counted.steps(Step::AccountKept) >= 4);
    assert_eq!(held(&world).await, 90);
    assert_sound(world, &ledger, 5).await;
}

/// Another process trims what this one keeps in its tail, and the next decision must not bring it back.
#[tokio::test]
async fn trimmed_entry_does_not_return() {
    let world = World::new().await;
    let (ledger, counted) = keeping(&world).await;
    let account = || async { world.ledger().account("p").await.unwrap().unwrap() };
    testkit::eventually("an empty tail", WAIT_MAX, || async {
        world.ledger().sweep(0).await.unwrap();
        account().await.tail.is_empty().then_some(())
    })
    .await;
    for n in 0..3 {
        let entry = decided(wager(&format!("b{n}"), "p", 10, 0).run(&ledger).await.unwrap());
        assert_eq!(account().await.tail, [entry], "nothing but the latest");
    }
    assert_eq!((counted.steps(Step::AccountKept), counted.steps(Step::AccountRead)), (3, 1));
    assert_eq!(counted.steps(Step::EventPublished), 4, "nothing was published twice");
    assert_sound(world, &ledger, 4).await;
}

#[tokio::test]
async fn opened_currency_is_seen_without_a_retry() {
    let world = World::new().await;
    let (ledger, counted) = keeping(&world).await;
    assert!(ledger.open("p", Currency::Usd).await.unwrap());
    decided(wager("next", "p", 10, 0).run(&ledger).await.unwrap());
    assert_eq!(counted.steps(Step::AccountKept), 0, "this process knows that it has changed");
    let account = ledger.account("p").await.unwrap().unwrap();
    assert_eq!(account.balances.get(&Currency::Usd), Some(&0), "and it stays open");
    assert_sound(world, &ledger, 2).await;
}

/// Dies after its second decision, before the row.
#[derive(Default)]
struct DiesLater(Counted);

impl Hooks for DiesLater {
    fn reached(&self, step: Step, player_id: &str) -> Result<(), Killed> {
        self.0.reached(step, player_id)?;
        let dies = step == Step::DecisionWritten && self.0.steps(step) == 2;
        if dies { Err(Killed(step)) } else { Ok(()) }
    }
}

#[tokio::test]
async fn failed_decision_leaves_nothing_kept() {
    let world = World::new().await;
    world.fund("p", 100).await;
    let hooks = Arc::new(DiesLater::default());
    let ledger = world.ledger_with(hooks.clone());
    decided(wager("first", "p", 10, 0).run(&ledger).await.unwrap());
    let left = wager("left", "p", 10, 0);
    left.run(&ledger).await.expect_err("it was killed");
    let again = left.run(&ledger).await.unwrap();
    assert!(matches!(again, Verdict::Found(_)), "{again:?}");
    let steps = (hooks.0.steps(Step::AccountKept), hooks.0.steps(Step::AccountRead));
    assert_eq!(steps, (1, 2), "the repetition read it");
    assert_sound(world, &ledger, 2).await;
}
