//! Tests that an answer of payment that cannot be true is an error event, because an operator has to investigate.

use contracts::{Event, EventId, EventType};

use crate::endings::{dealt_with, decided, rejection};
use crate::harness::{RUNTIME, applied, apply_wager};
use testkit::reports;

/// Returns true if an error with these words was reported for the bet.
fn is_reported(bet_id: &EventId, words: &str) -> bool {
    reports::about(bet_id.as_str()).iter().any(|report| report.contains(words))
}

#[test]
fn an_answer_that_contradicts_the_stored_bet_is_an_error_event() {
    reports::listen();
    RUNTIME.block_on(async {
        let (platform, player, bet, asked) = decided().await;
        let answer = applied(&asked, &apply_wager(&asked), 900);
        platform.publish(&answer).await;
        platform.publish(&Event::follower(&asked.event.id, "payment", rejection(&bet.id, &player))).await;
        // Answers of one player are handled in order: the second settled event comes after the contradiction was handled.
        platform.publish(&answer).await;
        platform.seen.wait(&player, EventType::BetSettled, 2).await;
        assert!(is_reported(&bet.id, "payment says rejected of a bet that is settled"));
    });
}

#[test]
fn an_answer_about_another_players_bet_is_an_error_event() {
    reports::listen();
    RUNTIME.block_on(async {
        let (platform, _, bet, asked) = decided().await;
        let other = testkit::unique("other");
        let mut wager = apply_wager(&asked);
        wager.player_id.clone_from(&other);
        platform.publish(&applied(&asked, &wager, 9_999)).await;
        dealt_with(platform, &other).await;
        assert!(is_reported(&bet.id, "payment says settled of a bet that is another player's"));
        assert!(is_reported(&bet.id, &other), "and who that is");
    });
}
