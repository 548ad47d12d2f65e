//! Tests for claiming: several processes sweep, and one of them asks for a bet.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bus::ClientError;
use contracts::EventType;
use game::sweeper::Backlog;
use store::bson::DateTime;
use tokio::sync::Barrier;

use crate::harness::{PATIENCE, RUNTIME, apply_wager, config};
use crate::skew::decided;
use crate::stage::Stage;

/// Barrier between two sweepers and the test. A sweeper waits there after it has found a due bet and before it asks for it.
#[derive(Clone)]
struct Together {
    found: Arc<AtomicUsize>,
    barrier: Arc<Barrier>,
}

#[async_trait]
impl Backlog for Together {
    async fn is_older_than(&self, _age: Duration) -> Result<bool, ClientError> {
        self.found.fetch_add(1, Ordering::SeqCst);
        self.barrier.wait().await;
        Ok(false)
    }
}

impl Together {
    async fn wait_until_found(&self, count: usize) {
        testkit::eventually("both to have found the bet", PATIENCE, || async {
            (self.found.load(Ordering::SeqCst) >= count).then_some(())
        })
        .await;
    }
}

#[test]
fn of_two_sweepers_that_found_the_same_bet_one_asks_for_it() {
    RUNTIME.block_on(async {
        let stage = Stage::set(&config("100").await).await;
        let player = testkit::unique("player");
        let due = decided(&player, Some(DateTime::from_millis(0)));
        stage.bets.insert(&due).await.unwrap();
        let together = Together { found: Arc::default(), barrier: Arc::new(Barrier::new(3)) };
        for _ in 0..2 {
            stage.run(stage.sweeper(&stage.bets, together.clone()));
        }
        together.wait_until_found(2).await;
        together.barrier.wait().await;
        // Both found the bet again, so both finished the first sweep. The marker is published after the commands of that sweep.
        together.wait_until_found(4).await;
        let marker = decided(&player, None);
        stage.producer.publish(&game::events::apply_wager(&marker).unwrap()).await.unwrap();
        let asked = stage.seen.wait(&player, EventType::ApplyWager, 2).await;
        let wagers: Vec<String> = asked.iter().map(|asked| apply_wager(asked).wager_id).collect();
        assert_eq!(wagers, [due.id, marker.id]);
    });
}
