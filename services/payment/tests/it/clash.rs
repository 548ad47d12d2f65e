//! One id for two players at the same moment. Both compare-and-sets succeed, one decision gets its row, the other is reverted.

use std::sync::Arc;

use contracts::{Classify as _, ErrorClass, EventType};
use money::Currency;
use payment::domain::LimitSet;
use payment::ledger::{Hooks, Killed, Ledger, LedgerError, Request, Safeguard, Step, Verdict};

use crate::audit::Audit;
use crate::world::{Recorded, WAIT_MAX, World, eur, event_id, wager};

/// Dies after its decision, before the ledger has the row.
pub(crate) struct DiesAfterDecision {
    /// False skips the relay of lower entries before the decision.
    pub(crate) lower_first: bool,
}

impl Hooks for DiesAfterDecision {
    fn reached(&self, step: Step, _player_id: &str) -> Result<(), Killed> {
        if step == Step::DecisionWritten { Err(Killed(step)) } else { Ok(()) }
    }

    fn keeps(&self, safeguard: Safeguard) -> bool {
        self.lower_first || safeguard != Safeguard::LowerFirst
    }
}

/// Decides `command` in a process that dies before the ledger row.
pub(crate) async fn decide_and_die(world: &World, command: &Recorded) {
    let dying = world.ledger_with(Arc::new(DiesAfterDecision { lower_first: true }));
    assert!(matches!(command.run(&dying).await, Err(LedgerError::Killed(_))));
}

/// Decides like another process that read the account a moment earlier.
async fn decide_later_and_die(world: &World, command: &Recorded) {
    let dying = world.ledger_with(Arc::new(DiesAfterDecision { lower_first: false }));
    assert!(matches!(command.run(&dying).await, Err(LedgerError::Killed(_))));
}

async fn funded(players: &[&str]) -> World {
    let world = World::new().await;
    for player_id in players {
        world.fund(player_id, 100).await;
    }
    world
}

/// Retries transient errors, as the bus does.
async fn answered(ledger: &Ledger, command: &Recorded) -> Verdict {
    testkit::eventually("an answer", WAIT_MAX, || async {
        match command.run(ledger).await {
            Err(error) if error.class() == ErrorClass::Transient => None,
            answer => Some(answer.expect("only transient errors")),
        }
    })
    .await
}

pub(crate) fn limits(id: &str, player_id: &str, max_stake: i64) -> Recorded {
    Recorded {
        id: event_id(id),
        player_id: player_id.to_owned(),
        command_type: EventType::LimitsChanged,
        request: Request::Limits {
            limits: LimitSet { max_stake: Some(eur(max_stake)), daily_loss: None },
            loosen_after_ms: 86_400_000,
        },
    }
}

#[tokio::test]
async fn redelivery_reverts_slower_decision() {
    let world = funded(&["a", "b"]).await;
    let before = world.ledger().account("b").await.unwrap().unwrap();
    decide_and_die(&world, &wager("x", "a", 10, 0)).await;
    decide_and_die(&world, &wager("x", "b", 10, 70)).await;
    let ledger = world.ledger();
    let first = wager("x", "a", 10, 0).run(&ledger).await.unwrap();
    assert!(matches!(first, Verdict::Found(_)));
    assert_eq!(wager("x", "b", 10, 70).run(&ledger).await.unwrap(), Verdict::Conflict);
    let after = ledger.account("b").await.unwrap().unwrap();
    assert_eq!(after.state(), before.state(), "as if the command had not arrived");
    assert_eq!((after.tail.len(), after.oldest_tail_at), (0, None));
    assert!(after.version > before.version, "a process that read the decision must fail its compare-and-set");
    let next = wager("y", "b", 10, 0).run(&ledger).await.unwrap();
    assert!(matches!(next, Verdict::Decided(_)), "the next command is decided");
    ledger.trim().await.unwrap();
    Audit::at_rest(&world).await.assert_sound();
    world.end().await;
}

#[tokio::test]
async fn sweeper_reverts_clashing_decision() {
    let world = funded(&["a", "b"]).await;
    let before = world.ledger();
    limits("old", "b", 50).run(&before).await.unwrap();
    limits("looser", "b", 60).run(&before).await.unwrap();
    before.trim().await.unwrap();
    decide_and_die(&world, &wager("x", "a", 10, 0)).await;
    decide_and_die(&world, &limits("x", "b", 5)).await;
    let ledger = world.ledger();
    ledger.open("b", Currency::Usd).await.unwrap();
    wager("x", "a", 10, 0).run(&ledger).await.unwrap();
    ledger.sweep(0).await.unwrap();
    let account = ledger.account("b").await.unwrap().unwrap();
    assert_eq!(account.limits.max_stake, Some(eur(50)), "what was in force before");
    let later = account.limits.max_stake_later.map(|later| later.limit);
    assert_eq!(later, Some(Some(eur(60))), "and what waited");
    assert_eq!(account.balances.get(&Currency::Usd), Some(&0), "opened meanwhile, and still open");
    assert_eq!((account.tail.len(), account.oldest_tail_at), (0, None));
    assert_eq!(limits("x", "b", 5).run(&ledger).await.unwrap(), Verdict::Conflict);
    assert_eq!(ledger.sweep(0).await.unwrap(), 0, "nothing is left to do");
    ledger.trim().await.unwrap();
    Audit::at_rest(&world).await.assert_sound();
    world.end().await;
}

#[tokio::test]
async fn clash_is_reverted_before_next_decision() {
    let world = funded(&["a", "b"]).await;
    decide_and_die(&world, &wager("x", "a", 10, 0)).await;
    decide_and_die(&world, &wager("x", "b", 10, 70)).await;
    let ledger = world.ledger();
    wager("x", "a", 10, 0).run(&ledger).await.unwrap();
    let next = wager("y", "b", 10, 0).run(&ledger).await.unwrap();
    assert!(matches!(next, Verdict::Decided(_)));
    assert_eq!(ledger.account("b").await.unwrap().unwrap().balances[&Currency::Eur], 90);
    assert_eq!(wager("x", "b", 10, 70).run(&ledger).await.unwrap(), Verdict::Conflict);
    ledger.trim().await.unwrap();
    Audit::at_rest(&world).await.assert_sound();
    world.end().await;
}

#[tokio::test]
async fn late_key_clash_freezes_only_that_account() {
    let world = funded(&["a", "b", "c"]).await;
    decide_and_die(&world, &wager("x", "a", 10, 0)).await;
    decide_and_die(&world, &wager("x", "b", 10, 70)).await;
    decide_later_and_die(&world, &wager("on-top", "b", 10, 0)).await;
    decide_and_die(&world, &wager("left", "c", 10, 0)).await;
    let ledger = world.ledger();
    wager("x", "a", 10, 0).run(&ledger).await.unwrap();
    let before = ledger.account("b").await.unwrap();
    let error = wager("y", "b", 10, 0).run(&ledger).await.unwrap_err();
    assert!(matches!(error, LedgerError::Diverged { .. }), "{error}");
    assert_eq!(error.class(), ErrorClass::Poison, "its record is parked, and the process continues");
    assert_eq!(ledger.account("b").await.unwrap(), before, "the account is unchanged");
    ledger.sweep(0).await.expect("the other accounts are swept");
    let other = ledger.account("c").await.unwrap().unwrap();
    assert_eq!(other.tail.len(), 0, "relayed and trimmed");
    let _settled = Audit::at_rest(&world).await;
    let applied: Vec<_> =
        world.records.all().into_iter().filter(|p| p.event_type == EventType::WagerApplied).collect();
    assert_eq!(applied.len(), 2, "those of a and c");
    assert!(applied.iter().all(|published| !published.message.contains("player_id: \"b\"")), "{applied:?}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_id_for_two_players_is_decided_once() {
    let world = funded(&["a", "b"]).await;
    let ledger = world.ledger();
    for n in 0..20 {
        let id = format!("x{n}");
        let (bet_a, bet_b) = (wager(&id, "a", 1, 0), wager(&id, "b", 1, 0));
        let (a, b) = tokio::join!(answered(&ledger, &bet_a), answered(&ledger, &bet_b));
        let verdicts = [a, b];
        let count = |wanted: fn(&Verdict) -> bool| verdicts.iter().filter(|verdict| wanted(verdict)).count();
        assert_eq!(count(|verdict| matches!(verdict, Verdict::Decided(_))), 1, "{verdicts:?}");
        assert_eq!(count(|verdict| *verdict == Verdict::Conflict), 1, "{verdicts:?}");
    }
    ledger.trim().await.unwrap();
    let mut held = 0;
    for player_id in ["a", "b"] {
        held += ledger.account(player_id).await.unwrap().unwrap().balances[&Currency::Eur];
    }
    assert_eq!(held, 180);
    let audit = Audit::at_rest(&world).await;
    audit.assert_sound();
    assert_eq!(audit.decisions, 24);
    world.end().await;
}
