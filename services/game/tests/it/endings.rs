//! Tests for endings: payment's event is authoritative, each bet gets one terminal event, and a repetition has the same bytes.

use contracts::proto::bets::v1::{BetRejected, BetSettled, BetVoided};
use contracts::proto::payments::v1::{CommandConflict, WagerRejected, WagerVoided};
use contracts::{Event, EventId, EventType, RejectReason, ids};

use crate::harness::{Platform, RUNTIME, applied, apply_wager, bet, eur, identity};
use testkit::reports;

/// Returns the platform, a player with a decided bet, the bet, and the command to payment.
pub(crate) async fn decided_bet() -> (&'static Platform, String, Event, bus::Delivery) {
    let platform = Platform::shared().await;
    let player = testkit::unique("player");
    let bet = bet(&player, 100);
    platform.publish(&bet).await;
    let command = platform.seen.wait(&player, EventType::ApplyWager, 1).await.remove(0);
    (platform, player, bet, command)
}

#[test]
fn bet_settles_as_applied_and_repeats_unchanged() {
    RUNTIME.block_on(async {
        let (platform, player, bet, command) = decided_bet().await;
        // Payment applied other amounts than requested, because an injected command came first. The event is authoritative.
        let mut wager = apply_wager(&command);
        wager.stake = eur(150);
        wager.payout = eur(7_000);
        let answer = applied(&command, &wager, 8_500);
        platform.publish(&answer).await;
        platform.publish(&answer).await;
        platform.seen.wait(&player, EventType::BetSettled, 2).await;
        platform.publish(&bet).await;
        let settled = platform.seen.wait(&player, EventType::BetSettled, 3).await;
        assert_eq!(identity(&settled[0]), identity(&settled[1]), "the answer again");
        assert_eq!(identity(&settled[0]), identity(&settled[2]), "the command again");
        assert_eq!(settled[0].event.id, ids::follower_id(&bet.id, EventType::BetSettled));
        assert_eq!(settled[0].event.causation_id.as_ref(), Some(&bet.id));
        let event: BetSettled = settled[0].event.message.clone().try_into().unwrap();
        assert_eq!((event.stake, event.payout, event.balance_after), (eur(150), eur(7_000), eur(8_500)));
        assert_eq!(event.reels.len(), 3);
        let stored = platform.stored_bet(&bet.id).await;
        assert_eq!(
            (stored["state"].as_str(), stored["balance_minor"].as_i64()),
            (Some("settled"), Some(8_500))
        );
    });
}

#[test]
fn rejected_wager_rejects_bet_with_reason() {
    RUNTIME.block_on(async {
        let (platform, player, bet, command) = decided_bet().await;
        platform.publish(&Event::follower(&command.event.id, "payment", rejection(&bet.id, &player))).await;
        let rejected = platform.seen.wait(&player, EventType::BetRejected, 1).await;
        let event: BetRejected = rejected[0].event.message.clone().try_into().unwrap();
        assert_eq!(event.reason(), RejectReason::InsufficientFunds);
        assert_eq!(rejected[0].event.id, ids::follower_id(&bet.id, EventType::BetRejected));
    });
}

pub(crate) fn rejection(bet_id: &EventId, player: &str) -> WagerRejected {
    WagerRejected {
        wager_id: bet_id.to_string(),
        player_id: player.to_owned(),
        game: "slots".to_owned(),
        stake: eur(100),
        reason: RejectReason::InsufficientFunds.into(),
        balance: eur(20),
    }
}

/// Builds payment's event about a void. `reversed` is the stake and payout that it reversed.
fn void_of(bet_id: &EventId, player: &str, reversed: Option<(i64, i64)>) -> Event {
    let void = WagerVoided {
        wager_id: bet_id.to_string(),
        player_id: player.to_owned(),
        balance_after: None,
        reason: "by hand".to_owned(),
        reversed_stake: reversed.and_then(|(stake_minor, _)| eur(stake_minor)),
        reversed_payout: reversed.and_then(|(_, payout_minor)| eur(payout_minor)),
    };
    Event::follower(&testkit::unique("void").parse().unwrap(), "payment", void)
}

#[test]
fn void_ends_decided_and_reverses_settled_bet() {
    RUNTIME.block_on(async {
        // Payment reversed other amounts than it had reported (100 and 200). The void is authoritative.
        for reversed in [None, Some((150, 7_000))] {
            let (platform, player, bet, command) = decided_bet().await;
            if reversed.is_some() {
                let mut wager = apply_wager(&command);
                wager.payout = eur(200);
                platform.publish(&applied(&command, &wager, 900)).await;
                platform.seen.wait(&player, EventType::BetSettled, 1).await;
            }
            platform.publish(&void_of(&bet.id, &player, reversed)).await;
            // A second void of the same bet, by which payment reversed nothing.
            platform.publish(&void_of(&bet.id, &player, None)).await;
            let voided = platform.seen.wait(&player, EventType::BetVoided, 2).await;
            assert_eq!(identity(&voided[0]), identity(&voided[1]), "repeated unchanged");
            let event: BetVoided = voided[0].event.message.clone().try_into().unwrap();
            assert_eq!((event.reason.as_str(), event.stake), ("by hand", eur(100)));
            let expected = reversed.map_or((None, None), |(stake, payout)| (eur(stake), eur(payout)));
            assert_eq!((event.reversed_stake, event.reversed_payout), expected);
            let stored = platform.stored_bet(&bet.id).await;
            assert_eq!(stored["state"], "voided");
        }
    });
}

/// The answer that settles a bet was parked, an operator reversed the wager, and then the answer is copied back. No consumer has
/// counted the bet, so none may subtract it. Together they have no effect.
#[test]
fn early_void_reverses_no_derived_figures() {
    reports::start_capture();
    RUNTIME.block_on(async {
        let (platform, player, bet, command) = decided_bet().await;
        platform.publish(&void_of(&bet.id, &player, Some((100, 200)))).await;
        let voided = platform.seen.wait(&player, EventType::BetVoided, 1).await;
        let event: BetVoided = voided[0].event.message.clone().try_into().unwrap();
        assert_eq!((event.reversed_stake, event.reversed_payout), (None, None));
        platform.publish(&applied(&command, &apply_wager(&command), 900)).await;
        // Answers of one player are handled in order: when the void is published again, the answer has been handled.
        platform.publish(&void_of(&bet.id, &player, Some((100, 200)))).await;
        let voided = platform.seen.wait(&player, EventType::BetVoided, 2).await;
        assert_eq!(identity(&voided[0]), identity(&voided[1]), "repeated unchanged");
        assert_eq!(platform.seen.of(&player, EventType::BetSettled).len(), 0, "settled and not voided again");
        // The void reported the reversed amounts, so the late answer contradicts nothing.
        assert_eq!(reports::containing(bet.id.as_str()), Vec::<String>::new(), "no operator has to act");
        let stored = platform.stored_bet(&bet.id).await;
        assert_eq!(stored["state"], "voided");
    });
}

/// Waits until all records published about this player have been handled, by sending one more bet of the player after them.
pub(crate) async fn wait_until_handled(platform: &Platform, player: &str) {
    let marker = bet(player, 100);
    platform.publish(&marker).await;
    let command = platform.seen.wait(player, EventType::ApplyWager, 1).await.remove(0);
    platform.publish(&applied(&command, &apply_wager(&command), 5)).await;
    platform.seen.wait(player, EventType::BetSettled, 1).await;
}

#[test]
fn answer_for_other_player_changes_no_bet() {
    RUNTIME.block_on(async {
        let (platform, player, bet, command) = decided_bet().await;
        for forged_kind in 0..3 {
            let other = testkit::unique("other");
            let mut wager = apply_wager(&command);
            wager.player_id.clone_from(&other);
            let forged = match forged_kind {
                0 => applied(&command, &wager, 9_999),
                1 => Event::follower(&command.event.id, "payment", rejection(&bet.id, &other)),
                _ => void_of(&bet.id, &other, Some((100, 0))),
            };
            platform.publish(&forged).await;
            wait_until_handled(platform, &other).await;
            let stored = platform.stored_bet(&bet.id).await;
            assert_eq!(stored["state"], "decided", "{:?}", forged.event_type());
        }
        platform.publish(&applied(&command, &apply_wager(&command), 900)).await;
        let settled = platform.seen.wait(&player, EventType::BetSettled, 1).await;
        let event: BetSettled = settled[0].event.message.clone().try_into().unwrap();
        assert_eq!(event.balance_after, eur(900), "by the player's own answer");
        // A void that reversed nothing and names another player does not undo a settled bet.
        let other = testkit::unique("other");
        platform.publish(&void_of(&bet.id, &other, None)).await;
        wait_until_handled(platform, &other).await;
        let stored = platform.stored_bet(&bet.id).await;
        assert_eq!(stored["state"], "settled");
    });
}

/// Payment reports by this void that it never applies a wager forbidden under a wrong player name, so the bet has to end.
#[test]
fn empty_void_for_wrong_player_ends_open_bet() {
    RUNTIME.block_on(async {
        let (platform, player, bet, _) = decided_bet().await;
        let other = testkit::unique("other");
        for _ in 0..2 {
            platform.publish(&void_of(&bet.id, &other, None)).await;
        }
        let voided = platform.seen.wait(&player, EventType::BetVoided, 2).await;
        assert_eq!(identity(&voided[0]), identity(&voided[1]), "repeated unchanged");
    });
}

/// Payment publishes a void of a wager that it had rejected. No money had moved, so the bet stays rejected.
#[test]
fn void_of_rejected_bet_has_no_effect() {
    RUNTIME.block_on(async {
        let (platform, player, bet, command) = decided_bet().await;
        platform.publish(&Event::follower(&command.event.id, "payment", rejection(&bet.id, &player))).await;
        platform.publish(&void_of(&bet.id, &player, None)).await;
        // Answers of one player are handled in order, so the void has been handled when this event is published.
        platform.publish(&Event::follower(&command.event.id, "payment", rejection(&bet.id, &player))).await;
        platform.seen.wait(&player, EventType::BetRejected, 2).await;
        assert_eq!(platform.seen.of(&player, EventType::BetVoided).len(), 0);
        let stored = platform.stored_bet(&bet.id).await;
        assert_eq!(stored["state"], "rejected");
    });
}

#[test]
fn contradicting_answer_has_no_effect() {
    RUNTIME.block_on(async {
        let (platform, player, bet, command) = decided_bet().await;
        platform.publish(&applied(&command, &apply_wager(&command), 900)).await;
        platform.seen.wait(&player, EventType::BetSettled, 1).await;
        platform.publish(&Event::follower(&command.event.id, "payment", rejection(&bet.id, &player))).await;
        // Answers of one player are handled in order: the second settled event comes after the contradiction was handled.
        platform.publish(&applied(&command, &apply_wager(&command), 900)).await;
        platform.seen.wait(&player, EventType::BetSettled, 2).await;
        assert_eq!(platform.seen.of(&player, EventType::BetRejected).len(), 0);
        let stored = platform.stored_bet(&bet.id).await;
        assert_eq!(stored["state"], "settled");
    });
}

#[test]
fn command_conflict_voids_undecided_bet() {
    RUNTIME.block_on(async {
        let (platform, player, bet, command) = decided_bet().await;
        for command_id in ["another-command".to_owned(), command.event.id.to_string()] {
            let conflict = CommandConflict {
                command_id: command_id.clone(),
                command_type: EventType::ApplyWager.as_str().to_owned(),
                player_id: player.clone(),
            };
            platform.publish(&Event::follower(&command_id.parse().unwrap(), "payment", conflict)).await;
        }
        let voided = platform.seen.wait(&player, EventType::BetVoided, 1).await;
        assert_eq!(voided[0].event.id, ids::follower_id(&bet.id, EventType::BetVoided));
    });
}

#[test]
fn wager_without_bet_is_ignored() {
    RUNTIME.block_on(async {
        let (platform, player, _, command) = decided_bet().await;
        let mut foreign = apply_wager(&command);
        foreign.wager_id = testkit::unique("console");
        platform.publish(&applied(&command, &foreign, 5)).await;
        platform.publish(&applied(&command, &apply_wager(&command), 900)).await;
        let settled = platform.seen.wait(&player, EventType::BetSettled, 1).await;
        let event: BetSettled = settled[0].event.message.clone().try_into().unwrap();
        assert_eq!(event.balance_after, eur(900), "only the known bet was settled");
    });
}
