//! Voids and conflicts. The first decision is the answer forever.

use contracts::EventType;
use payment::ledger::Verdict;

use crate::audit::{Audit, END_MARKER};
use crate::clash::decide_and_die;
use crate::world::{World, event_id, void, wager};

fn decided(verdict: Verdict) -> payment::ledger::Entry {
    match verdict {
        Verdict::Decided(entry) | Verdict::Found(entry) => *entry,
        Verdict::Conflict => panic!("a conflict"),
    }
}

#[tokio::test]
async fn earlier_void_is_outcome_of_wager() {
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
async fn void_after_wager_reverses_it_once() {
    let world = World::new().await;
    world.fund("p", 100).await;
    let ledger = world.ledger();
    let applied = decided(wager("b", "p", 10, 50).run(&ledger).await.unwrap());
    ledger.trim().await.unwrap();
    let voided = decided(void("v", "p", "b").run(&ledger).await.unwrap());
    assert_eq!(voided.voids.as_deref(), Some("wager-b"));
    assert_eq!(voided.balance_after_minor, Some(100));
    let again = decided(void("another", "p", "b").run(&ledger).await.unwrap());
    assert_eq!(again, voided, "a second void has the same answer");
    let replayed = decided(wager("b", "p", 10, 50).run(&ledger).await.unwrap());
    assert_eq!(replayed, applied, "the wager's own decision stands");
    ledger.trim().await.unwrap();
    Audit::at_rest(&world).await.assert_sound();
    world.end().await;
}

#[tokio::test]
async fn reused_id_with_other_content_is_conflict() {
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
        .records
        .all()
        .into_iter()
        .filter(|p| p.event_type == EventType::CommandConflict && !p.message.contains(END_MARKER))
        .collect();
    assert_eq!(conflicts.len(), 2);
    assert_eq!(conflicts[0].bytes, conflicts[1].bytes);
    assert_eq!(ledger.account("p").await.unwrap().unwrap().balances[&money::Currency::Eur], 90);
    world.end().await;
}

#[tokio::test]
async fn wager_in_another_command_is_applied_once() {
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

/// Returns the amounts that the event of a void reports as reversed, as (stake, payout).
async fn reversed(world: &World, id: &str) -> Option<(i64, i64)> {
    let ledger = world.ledger();
    let (_, entry) = ledger.decision(id).await.unwrap().expect("it was decided");
    let event = entry.event.expect("an event");
    let message =
        contracts::Message::from_protobuf(EventType::WagerVoided, &event.bytes.bytes).expect("our own bytes");
    let contracts::Message::WagerVoided(voided) = message else { panic!("{message:?}") };
    voided.reversed_stake.zip(voided.reversed_payout).map(|(stake, payout)| (stake.minor, payout.minor))
}

#[tokio::test]
async fn void_event_reports_reversed_amounts() {
    let world = World::new().await;
    world.fund("p", 100).await;
    let ledger = world.ledger();
    wager("won", "p", 10, 200).run(&ledger).await.unwrap();
    wager("spent", "p", 250, 0).run(&ledger).await.unwrap();
    wager("too-much", "p", 5_000, 0).run(&ledger).await.unwrap();
    for (id, of) in [("v-won", "won"), ("v-spent", "spent"), ("v-too-much", "too-much"), ("v-first", "late")]
    {
        void(id, "p", of).run(&ledger).await.unwrap();
    }
    assert_eq!(reversed(&world, "v-won").await, Some((10, 200)), "also the spent part");
    assert_eq!(reversed(&world, "v-spent").await, Some((250, 0)));
    assert_eq!(reversed(&world, "v-too-much").await, None, "a rejected wager had moved nothing");
    assert_eq!(reversed(&world, "v-first").await, None, "nor had a missing wager");
    let again = decided(void("again", "p", "won").run(&ledger).await.unwrap());
    assert_eq!(again.command_id, "v-won", "a second void is the first one's event");
    ledger.trim().await.unwrap();
    Audit::at_rest(&world).await.assert_sound();
    world.end().await;
}

/// A process decides the wager under the id that game will use, and dies before it publishes.
#[tokio::test]
async fn conflict_is_published_after_earlier_decision() {
    let world = World::new().await;
    world.fund("p", 100).await;
    decide_and_die(&world, &wager("b", "p", 10, 0)).await;
    assert_eq!(wager("b", "p", 11, 0).run(&world.ledger()).await.unwrap(), Verdict::Conflict);
    let audit = Audit::at_rest(&world).await;
    assert!(audit.violations.is_empty(), "{audit:#?}");
    let mut records = world.records.all();
    records.retain(|p| !p.message.contains(END_MARKER) && !p.message.contains("fund-p"));
    let types: Vec<_> = records.iter().map(|p| p.event_type).collect();
    assert_eq!(types, [EventType::WagerApplied, EventType::CommandConflict]);
    world.end().await;
}
