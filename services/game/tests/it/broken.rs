//! Tests for stored bets from which no event can be built: each is reported, and other bets are not affected.

use contracts::{EventType, Topic};
use game::document::BetDocument;
use game::domain::life::State;
use store::bson::{DateTime, Document, doc};

use crate::harness::{Platform, RUNTIME, apply_wager, bet, config};
use crate::skew::decided;
use crate::stage::{Played, Stage};
use testkit::reports;

#[test]
fn a_due_bet_that_cannot_be_asked_for_is_given_up_and_reported_and_the_look_goes_on() {
    reports::listen();
    RUNTIME.block_on(async {
        let mut config = config("100").await;
        // One sweep takes all of them, and the next one is far away.
        config.sweeper.interval_ms = 600_000;
        let stage = Stage::set(&config).await;
        let player = testkit::unique("player");
        let due = |at_ms| decided(&player, Some(DateTime::from_millis(at_ms)));
        let no_id = BetDocument { id: format!("no id: {}", testkit::unique("bet")), ..due(0) };
        let no_hash = BetDocument { wager_hash: Some("no hash".to_owned()), ..due(1) };
        for bet in [&no_id, &no_hash, &due(2)] {
            stage.bets.insert(bet).await.unwrap();
        }
        stage.run(stage.sweeper(&stage.bets, Played::default()));
        // The sweep starts with the oldest, so the broken bets have been handled when the last one is asked for.
        stage.seen.wait(&player, EventType::ApplyWager, 1).await;
        for (broken, why) in
            [(no_id, "its id is not an event id"), (no_hash, "its wager's hash is not a hash")]
        {
            let left = stage.bets.find(&broken.id).await.unwrap().unwrap();
            assert_eq!((left.state, left.sweep_at), (State::Decided, None), "off the list: {why}");
            assert!(left.unanswered_at.is_some(), "given up: {why}");
            let reported = reports::about(&broken.id);
            assert!(reported.len() == 1 && reported[0].contains(why), "{reported:?}");
        }
    });
}

/// Runs on its own platform, because an event that cannot be built must not end the process.
#[test]
fn a_command_for_a_bet_that_cannot_be_asked_for_is_parked_and_the_next_one_is_played() {
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
        let asked = platform.seen.wait(&player, EventType::ApplyWager, 2).await.remove(1);
        assert_eq!(apply_wager(&asked).wager_id, next.id.as_str());
        assert!(platform.parked(Topic::BetsCommands).await >= 1, "the command for the broken bet");
    });
}
