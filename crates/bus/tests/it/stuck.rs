//! A record that cannot be handled costs bounded memory, whatever follows it, and pauses only its own partition.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bus::{Config, HandlerError, Outcome, Producer};
use contracts::Group;

use crate::support::{
    DEADLINE, Running, TestHandler, bets, broker_for, committed_reaches, place_bet, players_in, publish_all,
};

const HELD_PARTITION: i32 = 1;
const OTHER_PARTITION: i32 = 3;
const BEHIND: u64 = 150;
/// A quarter of the process's limit.
const SHARE: usize = 10;

struct Stuck {
    config: Config,
    is_healed: Arc<AtomicBool>,
    handler: Arc<TestHandler>,
    held: String,
}

async fn one_stuck_record() -> Stuck {
    let config = Config {
        in_flight_records_max: 4 * SHARE,
        retry_backoff_min_ms: 5,
        retry_backoff_max_ms: 20,
        ..broker_for(Group::Game).await
    };
    let held = players_in(HELD_PARTITION).next().expect("a key");
    let is_healed = Arc::new(AtomicBool::new(false));
    let (healed, player) = (Arc::clone(&is_healed), held.clone());
    let handler = TestHandler::new(move |delivery| {
        if delivery.event.player_id() == player && !healed.load(Ordering::SeqCst) {
            return Err(HandlerError::transient("the store is unavailable"));
        }
        Ok(Outcome::Applied)
    });
    Stuck { config, is_healed, handler, held }
}

impl Stuck {
    async fn publish(&self, players: impl Iterator<Item = String>, count: u64) {
        let producer = Producer::new(&self.config).expect("a producer");
        let players: Vec<String> = players.take(5).collect();
        let player = |number: u64| &players[usize::try_from(number).expect("small") % players.len()];
        let events: Vec<_> = (0..count).map(|number| place_bet(player(number), number + 1)).collect();
        publish_all(&producer, &events).await;
    }

    fn done(&self, partition: i32) -> usize {
        let seen = self.handler.seen();
        seen.iter().filter(|seen| seen.partition == partition && seen.event.player_id() != self.held).count()
    }

    /// Returns true if the stuck record was taken.
    fn has_begun(&self) -> bool {
        self.handler.seen().iter().any(|seen| seen.event.player_id() == self.held)
    }

    /// The other partition is read to its end, and the held one pauses at its share. Once healed, every record is handled.
    async fn check(&self) {
        let consumer = Running::start(&self.config, Group::Game, bets(self.handler.clone())).ready().await;
        testkit::eventually("the other partition to be handled", DEADLINE, || async {
            (self.done(OTHER_PARTITION) == usize::try_from(BEHIND).expect("small")).then_some(())
        })
        .await;
        testkit::eventually("the held partition to take its share", DEADLINE, || async {
            // Records of other keys pass the stuck one, and those of its key wait behind it
            let taken = self.done(HELD_PARTITION) + consumer.stats.in_flight_records();
            (self.has_begun() && taken >= SHARE).then_some(())
        })
        .await;
        consumer.wait_paused().await;
        tokio::time::sleep(std::time::Duration::from_millis(700)).await; // time to exceed the bound, if it did not hold
        let (ahead, held) = (consumer.stats.ahead_peak(), consumer.stats.in_flight_records());
        assert!(ahead <= SHARE, "{ahead} records of one partition from its first unfinished one on");
        assert!((1..=SHARE).contains(&held), "{held} records in flight");
        assert!(self.done(HELD_PARTITION) < SHARE, "{} were done", self.done(HELD_PARTITION));
        self.is_healed.store(true, Ordering::SeqCst);
        committed_reaches(&self.config, Group::Game, 1 + 2 * i64::try_from(BEHIND).expect("small")).await;
        consumer.stop().await.expect("stops in order");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_keys_pass_a_stuck_record_up_to_share() {
    let stuck = one_stuck_record().await;
    stuck.publish(std::iter::once(stuck.held.clone()), 1).await;
    stuck.publish(players_in(HELD_PARTITION).skip(1), BEHIND).await;
    stuck.publish(players_in(OTHER_PARTITION), BEHIND).await;
    stuck.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stuck_key_pauses_only_its_partition() {
    let stuck = one_stuck_record().await;
    stuck.publish(std::iter::once(stuck.held.clone()), 1 + BEHIND).await;
    stuck.publish(players_in(OTHER_PARTITION), BEHIND).await;
    stuck.check().await;
}
