//! Many bets on one account from two processes at once.

use std::sync::Arc;

use payment::ledger::{LedgerError, TAIL_ENTRIES_MAX, Verdict};

use crate::audit::Audit;
use crate::clash::DiesAfterDecision;
use crate::world::{World, wager};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_bets_that_balance_covers_are_applied() {
    let world = Arc::new(World::new().await);
    world.fund("p", 100).await;
    let processes = [world.ledger(), world.ledger()];
    let mut running = Vec::new();
    for lane in 0..8_usize {
        let ledger = processes[lane % 2].clone();
        running.push(telemetry::spawn(async move {
            let mut applied = 0;
            for n in 0..10 {
                let bet = wager(&format!("{lane}-{n}"), "p", 5, 0);
                let verdict = loop {
                    match bet.run(&ledger).await {
                        Ok(verdict) => break verdict,
                        Err(LedgerError::Contended { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                };
                let Verdict::Decided(entry) = verdict else { panic!("{verdict:?}") };
                applied += usize::from(!entry.is_rejection());
            }
            applied
        }));
    }
    let mut applied = 0;
    for lane in running {
        applied += lane.await.expect("a lane");
    }
    assert_eq!(applied, 20, "100 covers twenty bets of 5");
    for ledger in &processes {
        ledger.trim().await.expect("trimmed");
    }
    let account = world.ledger().account("p").await.unwrap().unwrap();
    assert!(account.tail.is_empty(), "{} left", account.tail.len());
    assert_eq!(account.oldest_tail_at, None);
    let audit = Audit::at_rest(&world).await;
    audit.assert_sound();
    assert_eq!(audit.decisions, 82);
    Arc::into_inner(world).expect("the last reference").end().await;
}

#[tokio::test]
async fn full_tail_is_emptied_first() {
    let world = World::new().await;
    world.fund("p", 1_000).await;
    for n in 0..TAIL_ENTRIES_MAX {
        // Like many processes that read the account at the same moment: all earlier decisions stay in the tail.
        let dying = world.ledger_with(Arc::new(DiesAfterDecision { lower_first: false }));
        assert!(wager(&format!("left-{n}"), "p", 1, 0).run(&dying).await.is_err());
    }
    let full = world.ledger().account("p").await.unwrap().unwrap();
    assert_eq!(full.tail.len(), TAIL_ENTRIES_MAX);
    let ledger = world.ledger();
    wager("next", "p", 1, 0).run(&ledger).await.expect("room was made");
    let account = ledger.account("p").await.unwrap().unwrap();
    assert_eq!(account.tail.len(), 1);
    Audit::at_rest(&world).await.assert_sound();
    world.end().await;
}
