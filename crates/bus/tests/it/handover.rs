//! Members that join and leave in order: no record is lost or handled twice, and no key is reordered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bus::{Delivery, HandleAny, HandlerError, Outcome, Producer};
use contracts::Group;

use crate::support::{Running, TestHandler, bets, broker_for, committed_reaches, place_bet};

/// Handles slowly, so that records are in flight whenever partitions move.
struct Slowly(Arc<TestHandler>);

#[async_trait]
impl HandleAny for Slowly {
    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        tokio::time::sleep(Duration::from_millis(5)).await;
        self.0.handle(delivery).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handover_loses_repeats_and_reorders_nothing() {
    let config = broker_for(Group::Game).await;
    let handler = TestHandler::all();
    let is_over = Arc::new(AtomicBool::new(false));
    let producing = telemetry::spawn(produce_until(config.clone(), Arc::clone(&is_over)));

    let start = || Running::start(&config, Group::Game, bets(Slowly(handler.clone())));
    let mut members = vec![start().ready().await];
    for _ in 0..3 {
        members.push(start().ready().await);
        let so_far = handler.seen().len();
        handler.wait_for(so_far + 100).await;
        members.remove(0).stop().await.expect("leaves in order");
        members.push(start().ready().await);
    }
    is_over.store(true, Ordering::SeqCst);
    let published = producing.await.expect("produces");
    committed_reaches(&config, Group::Game, i64::try_from(published).expect("few")).await;

    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for id in handler.ids() {
        *times.entry(id.clone()).or_default() += 1;
        let (player, number) = id.rsplit_once('-').expect("player-number");
        let number: u64 = number.parse().expect("a number");
        let before = last.insert(player.to_owned(), number);
        assert!(before < Some(number), "{player} was reordered: {number} after {before:?}");
    }
    let twice: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "handled twice over {} hand-overs: {twice:?}", 7);
    assert_eq!(times.len(), published, "records are missing");
    for member in members {
        member.stop().await.expect("stops in order");
    }
}

async fn produce_until(config: bus::Config, is_over: Arc<AtomicBool>) -> usize {
    let producer = Producer::new(&config).expect("a producer");
    let mut count = 0;
    while !is_over.load(Ordering::SeqCst) {
        producer
            .publish(&place_bet(&format!("player-{}", count % 50), count as u64))
            .await
            .expect("published");
        count += 1;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    count
}
