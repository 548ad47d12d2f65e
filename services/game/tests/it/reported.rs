//! Tests that an answer of payment that cannot be true is an error event, because an operator has to investigate.

use contracts::{Event, EventId, EventType};

use crate::endings::{decided_bet, rejection, wait_until_handled};
use crate::harness::{RUNTIME, applied, apply_wager};
use testkit::reports;

/// Returns true if an error with this text was reported for the bet.
fn is_reported(bet_id: &EventId, text: &str) -> bool {
    reports::containing(bet_id.as_str()).iter().any(|report| report.contains(text))
}

#[test]
fn contradicting_answer_is_reported() {
    reports::start_capture();
    RUNTIME.block_on(async {
        let (platform, player, bet, command) = decided_bet().await;
        let answer = applied(&command, &apply_wager(&command), 900);
        platform.publish(&answer).await;
        platform.publish(&Event::follower(&command.event.id, "payment", rejection(&bet.id, &player))).await;
        // Answers of one player are handled in order: the second settled event comes after the contradiction was handled.
        platform.publish(&answer).await;
        platform.seen.wait(&player, EventType::BetSettled, 2).await;
        assert!(is_reported(&bet.id, "payment answered rejected for a bet that is settled"));
    });
}

#[test]
fn answer_for_other_players_bet_is_reported() {
    reports::start_capture();
    RUNTIME.block_on(async {
        let (platform, _, bet, command) = decided_bet().await;
        let other = testkit::unique("other");
        let mut wager = apply_wager(&command);
        wager.player_id.clone_from(&other);
        platform.publish(&applied(&command, &wager, 9_999)).await;
        wait_until_handled(platform, &other).await;
        assert!(is_reported(&bet.id, "payment answered settled for a bet of another player"));
        assert!(is_reported(&bet.id, &other), "the report names the other player");
    });
}
