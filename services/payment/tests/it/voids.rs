//! Voids and conflicts: what came first is the answer for ever.

use contracts::EventType;
use payment::ledger::Verdict;

use crate::audit::{Audit, LAST_WORD};
use crate::world::{World, event_id, void, wager};

fn decided(verdict: Verdict) -> payment::ledger::Entry {
    match verdict {
        Verdict::Decided(entry) | Verdict::Found(entry) => *entry,
        Verdict::Conflict => panic!("a conflict"),
    }
}

#[tokio::test]
async fn a_void_that_came_first_is_the_wagers_outcome_and_no_conflict() {
    let world = World::new().await;
    world.fund("p", 100).await;
    let ledger = world.ledger();
    let voided = decided(void("v", "p", "b").run(&ledger).await.unwrap());
    ledger.trim().await.unwrap();
    let answer = wager("b", "p", 10, 50).run(&ledger).await.unwrap();
    assert!(matches!(answer, Verdict::Found(_)));
    assert_eq!(decided(answer), voided);
    assert_eq!(world.ledger().account("p").await.unwrap().unwrap().balances[&money::Currency::Eur], 100);
    Audit::at_rest(&world).await.assert_sound();
    world.end().await;
}

#[tokio::test]
async fn a_void_after_the_wager_moves_the_money_back_once() {
    let world = World::new().await;
    world.fund("p", 100).await;
    let ledger = world.ledger();
    let applied = decided(wager("b", "p", 10, 50).run(&ledger).await.unwrap());
    ledger.trim().await.unwrap();
    let voided = decided(void("v", "p", "b").run(&ledger).await.unwrap());
    assert_eq!(voided.voids.as_deref(), Some("wager-b"));
    assert_eq!(voided.balance_after_minor, Some(100));
    let again = decided(void("another", "p", "b").run(&ledger).await.unwrap());
    assert_eq!(again, voided, "voided again by somebody else: the same answer");
    let replayed = decided(wager("b", "p", 10, 50).run(&ledger).await.unwrap());
    assert_eq!(replayed, applied, "the wager's own decision stands");
    ledger.trim().await.unwrap();
    Audit::at_rest(&world).await.assert_sound();
    world.end().await;
}

#[tokio::test]
async fn one_id_with_another_content_has_no_effect_and_is_said_so() {
    let world = World::new().await;
    world.fund("p", 100).await;
    let ledger = world.ledger();
    wager("b", "p", 10, 0).run(&ledger).await.unwrap();
    assert_eq!(wager("b", "p", 11, 0).run(&ledger).await.unwrap(), Verdict::Conflict);
    ledger.trim().await.unwrap();
    assert_eq!(wager("b", "p", 11, 0).run(&world.ledger()).await.unwrap(), Verdict::Conflict);
    let audit = Audit::at_rest(&world).await;
    audit.assert_sound();
    let conflicts: Vec<_> = world
        .heard
        .all()
        .into_iter()
        .filter(|p| p.event_type == EventType::CommandConflict && !p.message.contains(LAST_WORD))
        .collect();
    assert_eq!(conflicts.len(), 2);
    assert_eq!(conflicts[0].bytes, conflicts[1].bytes);
    assert_eq!(ledger.account("p").await.unwrap().unwrap().balances[&money::Currency::Eur], 90);
    world.end().await;
}

#[tokio::test]
async fn a_wager_in_another_command_is_still_the_same_wager() {
    let world = World::new().await;
    world.fund("p", 100).await;
    let ledger = world.ledger();
    let first = decided(wager("b", "p", 10, 0).run(&ledger).await.unwrap());
    let mut other = wager("b", "p", 10, 0);
    other.id = event_id("typed-in-again");
    assert_eq!(decided(other.run(&ledger).await.unwrap()), first);
    assert_eq!(ledger.account("p").await.unwrap().unwrap().balances[&money::Currency::Eur], 90);
    world.end().await;
}
