//! Tests for clocks: times that are stored and compared later come from the store's clock, even if the process's clock is wrong.

use std::sync::Arc;

use bus::{CancellationToken, Consumer};
use contracts::{EventType, Group};
use faults::Faults;
use game::bets::Bets;
use game::domain::bet::Rules;
use game::domain::slot_machine::SlotMachine;
use game::handlers::{self, Game};
use game::rng::RandomStops;
use store::bson::DateTime;

use crate::harness::{RUNTIME, apply_wager, bet, config};
use crate::skew::undecided;
use crate::stage::{FakeBacklog, Stage};

const HOUR_MS: i64 = 3_600_000;

/// The sweeper's own clock is one hour ahead or behind.
#[test]
fn wrong_clock_repeats_only_due_bets() {
    RUNTIME.block_on(async {
        for off_ms in [HOUR_MS, -HOUR_MS] {
            let stage = Stage::new(&config("100").await).await;
            let player = testkit::unique("player");
            let now_ms = stage.bets.now().timestamp_millis();
            let due = undecided(&player, Some(DateTime::from_millis(now_ms)));
            let not_due = undecided(&player, Some(DateTime::from_millis(now_ms + HOUR_MS / 2)));
            for bet in [&due, &not_due] {
                stage.bets.insert(bet).await.unwrap();
            }
            let wrong = Bets::open(&stage.mongo.clone().with_clock_off_by(off_ms)).await.unwrap();
            stage.run(stage.sweeper(&wrong, FakeBacklog::default()));
            // One sweep ends before the next begins, so a command for the other bet would be between these two.
            let commands = stage.seen.wait(&player, EventType::ApplyWager, 2).await;
            let wagers: Vec<String> =
                commands.iter().take(2).map(|command| apply_wager(command).wager_id).collect();
            assert_eq!(wagers, [due.id.as_str(), due.id.as_str()], "off by {off_ms} ms");
        }
    });
}

/// The store's time differs from this process's clock by one hour, so the stored time shows which clock was used.
#[test]
fn bet_is_stored_with_store_time() {
    const SWEEP_AFTER_MS: u32 = 5_000;
    RUNTIME.block_on(async {
        let config = config("100").await;
        let stage = Stage::new(&config).await;
        let store = stage.mongo.clone().with_clock_off_by(HOUR_MS);
        let bets = Bets::open(&store).await.unwrap();
        let rules = Rules::new(SlotMachine::published(), config.stakes.limits());
        let (producer, stops) = (stage.producer.clone(), RandomStops::from_os());
        let sweep_after_ms = u64::from(SWEEP_AFTER_MS);
        let game = Arc::new(Game::new(bets, producer.clone(), rules, stops, sweep_after_ms, Faults::none()));
        let router = handlers::router(&game);
        let consumer = Consumer::new(&config.kafka, Group::Game, router, producer).unwrap();
        let stop = CancellationToken::new();
        let token = stop.clone();
        let running = telemetry::spawn(async move { consumer.run(token, |_| ()).await.unwrap() });

        let player = testkit::unique("player");
        let placed = bet(&player, 100);
        let before = store.now();
        stage.producer.publish(&placed).await.unwrap();
        stage.seen.wait(&player, EventType::ApplyWager, 1).await;
        let after = store.now();
        let stored = stage.bets.find(placed.id.as_str()).await.unwrap().unwrap();
        assert!((before..=after).contains(&stored.decided_at), "{before} to {after}: {}", stored.decided_at);
        let sweep_at_ms = stored.decided_at.timestamp_millis() + i64::from(SWEEP_AFTER_MS);
        assert_eq!(stored.sweep_at, Some(DateTime::from_millis(sweep_at_ms)));
        stop.cancel();
        running.await.unwrap();
    });
}
