//! Tests for claiming: several processes sweep, and one of them repeats the command of a bet.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bus::ClientError;
use contracts::EventType;
use game::sweeper::Backlog;
use store::bson::DateTime;
use tokio::sync::Barrier;

use crate::harness::{RUNTIME, TIMEOUT, apply_wager, config};
use crate::skew::undecided;
use crate::stage::Stage;

/// Barrier between two sweepers and the test. A sweeper waits there after it has found a due bet and before it repeats its command.
#[derive(Clone)]
struct SweepBarrier {
    found: Arc<AtomicUsize>,
    barrier: Arc<Barrier>,
}

#[async_trait]
impl Backlog for SweepBarrier {
    async fn is_older_than(&self, _age: Duration) -> Result<bool, ClientError> {
        self.found.fetch_add(1, Ordering::SeqCst);
        self.barrier.wait().await;
        Ok(false)
    }
}

impl SweepBarrier {
    async fn wait_until_found(&self, count: usize) {
        testkit::eventually("both sweepers to find the bet", TIMEOUT, || async {
            (self.found.load(Ordering::SeqCst) >= count).then_some(())
        })
        .await;
    }
}

#[test]
fn one_of_two_sweepers_repeats_the_command() {
    RUNTIME.block_on(async {
        let stage = Stage::new(&config("100").await).await;
        let player = testkit::unique("player");
        let due = undecided(&player, Some(DateTime::from_millis(0)));
        stage.bets.insert(&due).await.unwrap();
        let sweeps = SweepBarrier { found: Arc::default(), barrier: Arc::new(Barrier::new(3)) };
        for _ in 0..2 {
            stage.run(stage.sweeper(&stage.bets, sweeps.clone()));
        }
        sweeps.wait_until_found(2).await;
        sweeps.barrier.wait().await;
        // Both found the bet again, so both finished the first sweep. The marker is published after the commands of that sweep.
        sweeps.wait_until_found(4).await;
        let marker = undecided(&player, None);
        stage.producer.publish(&game::events::apply_wager(&marker).unwrap()).await.unwrap();
        let commands = stage.seen.wait(&player, EventType::ApplyWager, 2).await;
        let wagers: Vec<String> = commands.iter().map(|command| apply_wager(command).wager_id).collect();
        assert_eq!(wagers, [due.id, marker.id]);
    });
}
