//! What one bet costs here: two reads, two synced writes, one publish. Printed, and bounded generously.

use std::time::Instant;

use crate::world::{World, wager};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bet_on_an_idle_machine() {
    let world = World::new().await;
    world.fund("p", 1_000_000).await;
    let ledger = world.ledger();
    let mut took_us = Vec::new();
    for n in 0..300 {
        let bet = wager(&n.to_string(), "p", 1, 0);
        let started = Instant::now();
        bet.run(&ledger).await.unwrap();
        took_us.push(started.elapsed().as_micros());
    }
    took_us.drain(..50);
    took_us.sort_unstable();
    let at = |share: usize| took_us[(took_us.len() - 1) * share / 100];
    println!("one wager: p50 {} µs, p95 {} µs, p99 {} µs", at(50), at(95), at(99));
    assert!(at(50) < 1_000_000, "p50 {} µs", at(50));
    world.end().await;
}
