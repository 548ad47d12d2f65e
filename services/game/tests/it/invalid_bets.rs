//! Tests for stored bets from which no event can be built: each is reported, and other bets are not affected.

use contracts::{EventType, Topic};
use game::document::BetDocument;
use game::domain::lifecycle::State;
use store::bson::{DateTime, Document, doc};

use crate::harness::{Platform, RUNTIME, apply_wager, bet, config};
use crate::skew::undecided;
use crate::stage::{FakeBacklog, Stage};
use testkit::reports;

#[test]
fn invalid_due_bet_does_not_stop_sweep() {
    reports::start_capture();
    RUNTIME.block_on(async {
        let mut config = config("100").await;
        // One sweep takes all of them, and the next one is far away.
        config.sweeper.interval_ms = 600_000;
        let stage = Stage::new(&config).await;
        let player = testkit::unique("player");
        let due = |at_ms| undecided(&player, Some(DateTime::from_millis(at_ms)));
        let no_id = BetDocument { id: format!("no id: {}", testkit::unique("bet")), ..due(0) };
        let no_hash = BetDocument { wager_hash: Some("no hash".to_owned()), ..due(1) };
        for bet in [&no_id, &no_hash, &due(2)] {
            stage.bets.insert(bet).await.unwrap();
        }
        stage.run(stage.sweeper(&stage.bets, FakeBacklog::default()));
        // The sweep starts with the oldest, so the invalid bets have been handled when the command of the last one is published.
        stage.seen.wait(&player, EventType::ApplyWager, 1).await;
        for (invalid, why) in [(no_id, "its id is not an event id"), (no_hash, "its wager hash is invalid")] {
            let left = stage.bets.find(&invalid.id).await.unwrap().unwrap();
            assert_eq!((left.state, left.sweep_at), (State::Decided, None), "no longer due: {why}");
            assert!(left.unanswered_at.is_some(), "given up: {why}");
            let reported = reports::expect_one(&invalid.id);
            assert!(reported.contains(why), "{reported}");
        }
    });
}

/// Runs on its own platform, because an event that cannot be built must not end the process.
#[test]
fn command_for_invalid_bet_is_parked() {
    RUNTIME.block_on(async {
        let platform = Platform::start(config("3600000").await).await;
        let player = testkit::unique("player");
        let (placed, next) = (bet(&player, 100), bet(&player, 100));
        platform.publish(&placed).await;
        platform.seen.wait(&player, EventType::ApplyWager, 1).await;
        let documents = platform.mongo.collection::<Document>("bets");
        let breaking = doc! { "$set": { "wager_hash": "no hash" } };
        assert_eq!(documents.update_one(doc! { "_id": placed.id.as_str() }, breaking).await.unwrap(), 1);
        platform.publish(&placed).await;
        platform.publish(&next).await;
        let command = platform.seen.wait(&player, EventType::ApplyWager, 2).await.remove(1);
        assert_eq!(apply_wager(&command).wager_id, next.id.as_str());
        assert!(platform.parked(Topic::BetsCommands).await >= 1, "the command for the invalid bet");
    });
}
