//! Sweeping: payment is asked again, with the same command, until it answers; then no more.

use contracts::EventType;

use crate::harness::{Platform, RUNTIME, applied, apply_wager, bet, identity};

#[test]
fn an_unanswered_bet_is_asked_for_again_until_it_is_answered() {
    RUNTIME.block_on(async {
        let platform = Platform::start("300").await;
        let player = testkit::unique("player");
        platform.publish(&bet(&player, 100)).await;
        let asked = platform.seen.wait(&player, EventType::ApplyWager, 3).await;
        assert_eq!(identity(&asked[0]), identity(&asked[1]));
        assert_eq!(identity(&asked[0]), identity(&asked[2]));

        platform.publish(&applied(&asked[0], &apply_wager(&asked[0]), 900)).await;
        platform.seen.wait(&player, EventType::BetSettled, 1).await;
        let bets = platform.mongo.collection::<store::bson::Document>("bets");
        let swept = bets
            .count(store::bson::doc! { "player_id": &player, "sweep_at": { "$exists": true } })
            .await
            .unwrap();
        assert_eq!(swept, 0, "a settled bet is no longer in the sweeper's index");
    });
}
