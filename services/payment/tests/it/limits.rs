//! Limits and the looser ones that wait are kept with the account: for other processes, after a redelivery, in several currencies,
//! and beside documents of older builds.

use bson::{DateTime, doc};
use money::{Currency, Money};
use payment::domain::LimitSet;
use payment::ledger::{Request, Verdict};

use crate::clash::limits;
use crate::rollback::newer;
use crate::world::{World, wager};

/// Bets 51 in a new process. Returns true if payment refuses it.
async fn is_refused(world: &World, id: &str) -> bool {
    match wager(id, "p", 51, 0).run(&world.ledger()).await.unwrap() {
        Verdict::Decided(entry) => entry.is_rejection(),
        other => panic!("{id}: {other:?}"),
    }
}

#[tokio::test]
async fn looser_limit_waits_in_account() {
    let world = World::new().await;
    world.fund("p", 1_000).await;
    limits("set", "p", 50).run(&world.ledger()).await.unwrap();
    let raise = limits("raise", "p", 60);
    raise.run(&world.ledger()).await.unwrap();
    assert!(is_refused(&world, "early").await);
    let before = world.ledger().account("p").await.unwrap().unwrap().limits;
    assert!(matches!(raise.run(&world.ledger()).await.unwrap(), Verdict::Found(_)));
    let after = world.ledger().account("p").await.unwrap().unwrap().limits;
    assert_eq!(after, before, "a redelivery changes nothing");
    // As if the wait had ended.
    let past = doc! { "limits.max_stake_later.from": DateTime::from_millis(1_000) };
    newer(&world, "accounts", "p", past).await;
    assert!(!is_refused(&world, "late").await);
    world.end().await;
}

#[tokio::test]
async fn limits_of_older_build_still_bind() {
    let world = World::new().await;
    world.fund("p", 1_000).await;
    let older = doc! { "limits": { "max_stake": { "minor": 50_i64, "currency": "EUR" } } };
    newer(&world, "accounts", "p", older).await;
    assert!(is_refused(&world, "over").await);
    limits("raise", "p", 60).run(&world.ledger()).await.unwrap();
    assert!(is_refused(&world, "early").await);
    world.end().await;
}

#[tokio::test]
async fn limits_of_two_currencies_are_kept() {
    let world = World::new().await;
    world.fund("p", 1_000).await;
    limits("euros", "p", 50).run(&world.ledger()).await.unwrap();
    let kronor = Some(Money::new(20, Currency::Sek));
    let mut second = limits("kronor", "p", 20);
    second.request = Request::Limits {
        limits: LimitSet { max_stake: kronor, daily_loss: None },
        loosen_after_ms: 86_400_000,
    };
    second.run(&world.ledger()).await.unwrap();
    let account = world.ledger().account("p").await.unwrap().unwrap().state();
    let now_ms = DateTime::now().timestamp_millis();
    assert_eq!(
        account.limits_at(Currency::Sek, now_ms).max_stake,
        kronor,
        "the first in its currency counts"
    );
    assert!(is_refused(&world, "over").await, "and the old one binds until its removal counts");
    let after = world.ledger().account("p").await.unwrap().unwrap().state();
    assert_eq!(after.limits, account.limits, "a decision about a bet keeps both");
    world.end().await;
}
