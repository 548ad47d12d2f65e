//! Tests for placing: redeliveries do not change a decided bet, and another request under its id has no effect.

use bus::Delivery;
use contracts::{Event, EventType, ids};

use crate::harness::{Platform, RUNTIME, apply_wager, bet, bet_as, identity};

#[test]
fn redelivered_bet_has_same_outcome_and_id() {
    RUNTIME.block_on(async {
        let platform = Platform::shared().await;
        let player = testkit::unique("player");
        let bets: Vec<_> = (0..40).map(|_| bet(&player, 100)).collect();
        let first = publish_all(platform, &player, &bets, 0).await;
        let second = publish_all(platform, &player, &bets, 40).await;
        assert_outcomes_are_the_same(&first, &second);
        for (bet, command) in bets.iter().zip(&first) {
            assert_eq!(command.event.id, ids::follower_id(&bet.id, EventType::ApplyWager));
            assert_eq!(apply_wager(command).wager_id, bet.id.as_str());
        }
    });
}

/// Publishes the player's bets and returns their commands to payment, which follow `earlier` other ones.
async fn publish_all(platform: &Platform, player: &str, bets: &[Event], earlier: usize) -> Vec<Delivery> {
    for bet in bets {
        platform.publish(bet).await;
    }
    platform.seen.wait(player, EventType::ApplyWager, earlier + bets.len()).await.split_off(earlier)
}

/// Asserts that a redelivery does not spin again.
fn assert_outcomes_are_the_same(first: &[Delivery], second: &[Delivery]) {
    assert_eq!(first.len(), second.len());
    for (one, other) in first.iter().zip(second) {
        assert_eq!(identity(one), identity(other), "a redelivery changed the outcome");
    }
}

/// Negative test: when the stored outcomes are lost, the bets are spun again and the check has to fail.
#[test]
#[should_panic(expected = "a redelivery changed the outcome")]
fn lost_outcomes_are_detected() {
    RUNTIME.block_on(async {
        let platform = Platform::shared().await;
        let player = testkit::unique("player");
        let bets: Vec<_> = (0..40).map(|_| bet(&player, 100)).collect();
        let first = publish_all(platform, &player, &bets, 0).await;
        let stored = platform.mongo.collection::<store::bson::Document>("bets");
        stored.delete_many(store::bson::doc! { "player_id": &player }).await.unwrap();
        let second = publish_all(platform, &player, &bets, 40).await;
        assert_outcomes_are_the_same(&first, &second);
    });
}

#[test]
fn same_id_with_other_request_publishes_conflict() {
    RUNTIME.block_on(async {
        let platform = Platform::shared().await;
        let player = testkit::unique("player");
        let first = bet(&player, 100);
        platform.publish(&first).await;
        platform.seen.wait(&player, EventType::ApplyWager, 1).await;
        let before = platform.stored_bet(&first.id).await;

        platform.publish(&bet_as(&first.id, &player, 200)).await;
        let conflicts = platform.seen.wait(&player, EventType::BetConflict, 1).await;
        assert_eq!(conflicts[0].event.id, ids::follower_id(&first.id, EventType::BetConflict));

        // Commands of one player are handled in order: any effect of the conflict would come before the marker's command.
        platform.publish(&bet(&player, 300)).await;
        let commands = platform.seen.wait(&player, EventType::ApplyWager, 2).await;
        let stakes: Vec<_> =
            commands.iter().map(|command| apply_wager(command).stake.unwrap().minor).collect();
        assert_eq!(stakes, [100, 300]);
        let (status, after) = platform.get(&format!("/internal/v1/bets/{}", first.id)).await;
        assert_eq!((status, &after), (200, &before));
        assert_eq!((after["state"].as_str(), after["stake_minor"].as_i64()), (Some("decided"), Some(100)));
    });
}

#[test]
fn stake_outside_limits_is_rejected_without_payment() {
    RUNTIME.block_on(async {
        let platform = Platform::shared().await;
        let player = testkit::unique("player");
        let refused = bet(&player, 9);
        platform.publish(&refused).await;
        platform.publish(&refused).await;
        let rejections = platform.seen.wait(&player, EventType::BetRejected, 2).await;
        assert_eq!(identity(&rejections[0]), identity(&rejections[1]));
        assert_eq!(rejections[0].event.id, ids::follower_id(&refused.id, EventType::BetRejected));
        let stored = platform.stored_bet(&refused.id).await;
        assert_eq!(stored["state"], "rejected");
        assert_eq!(stored["reason"], "REJECT_REASON_INVALID_STAKE");
        assert_eq!(platform.seen.of(&player, EventType::ApplyWager).len(), 0);
    });
}

#[test]
fn pay_table_shows_exact_rtp() {
    RUNTIME.block_on(async {
        let platform = Platform::shared().await;
        let (status, table) = platform.get("/internal/v1/games/slots/pay-table").await;
        assert_eq!(status, 200);
        assert_eq!(table["rtp"]["numerator"], 15_721);
        assert_eq!(table["rtp"]["denominator"], 16_384);
        assert_eq!(table["pays"].as_array().map(Vec::len), Some(9));
        let (status, problem) = platform.get("/internal/v1/bets/unknown").await;
        assert_eq!((status, &problem["type"]), (404, &"/problems/not-found".into()));
    });
}
