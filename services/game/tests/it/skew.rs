//! Tests for documents and events of another build: they affect only their own player.

use contracts::proto::bets::v1::{BetSettled, BetVoided};
use contracts::proto::payments::v1::{CommandConflict, WagerVoided};
use contracts::{Event, EventId, EventType, Topic, ids};
use game::document::BetDocument;
use game::domain::lifecycle::State;
use store::bson::{DateTime, Document, doc};

use crate::endings::{decided_bet, wait_until_handled};
use crate::harness::{Platform, RUNTIME, applied, apply_wager, bet, bet_as, eur, identity};
use testkit::reports;

/// Builds an undecided bet as this build stores it.
pub(crate) fn undecided(player: &str, sweep_at: Option<DateTime>) -> BetDocument {
    BetDocument {
        id: testkit::unique("bet"),
        player_id: player.to_owned(),
        request_hash: "0".repeat(64),
        wager_hash: None,
        game: "slots".to_owned(),
        state: State::Decided,
        stake_minor: 100,
        payout_minor: 0,
        currency: "EUR".to_owned(),
        reels: Vec::new(),
        pay_table_version: String::new(),
        decided_at: DateTime::from_millis(1_000),
        ended_at: None,
        balance_minor: None,
        reject_reason: None,
        void_reason: None,
        voided_at: None,
        void_of_applied: false,
        reversed_stake_minor: None,
        reversed_payout_minor: None,
        sweep_at,
        sweeps: 0,
        unanswered_at: None,
        trace: telemetry::propagation::StoredTrace::default(),
    }
}

/// A newer build stores a state and a format of amounts that this build does not know.
#[test]
fn unreadable_bet_parks_only_its_own_record() {
    RUNTIME.block_on(async {
        let platform = Platform::shared().await;
        let (harmed, other) = (testkit::unique("player"), testkit::unique("player"));
        let documents = platform.mongo.collection::<Document>("bets");
        let newer_state = bet(&harmed, 100);
        let stored = doc! { "_id": newer_state.id.as_str(), "player_id": &harmed, "state": "disputed" };
        documents.insert_one(&stored).await.unwrap();
        let newer_amount = bet(&harmed, 100);
        let stored = doc! {
            "_id": newer_amount.id.as_str(), "player_id": &harmed, "state": "decided", "stake_minor": { "amount": 100 },
        };
        documents.insert_one(&stored).await.unwrap();

        let parked = platform.parked(Topic::BetsCommands).await;
        platform.publish(&newer_state).await;
        platform.publish(&newer_amount).await;
        // A readable bet beside them. When its command is published, the bets before it have been handled.
        let beside = bet(&harmed, 100);
        platform.publish(&beside).await;
        let command = platform.seen.wait(&harmed, EventType::ApplyWager, 1).await.remove(0);
        assert_eq!(apply_wager(&command).wager_id, beside.id.as_str());
        // Two records and the probe of the first call. A redelivered record is parked again.
        assert!(platform.parked(Topic::BetsCommands).await >= parked + 3, "both are parked");
        // The conflict has to end the bet. For that, all undecided bets of the player are searched.
        let conflict = CommandConflict {
            command_id: command.event.id.to_string(),
            command_type: EventType::ApplyWager.as_str().to_owned(),
            player_id: harmed.clone(),
        };
        platform.publish(&Event::follower(&command.event.id, "payment", conflict)).await;
        let voided = platform.seen.wait(&harmed, EventType::BetVoided, 1).await.remove(0);
        let event: BetVoided = voided.event.message.try_into().unwrap();
        assert_eq!(event.bet_id, beside.id.as_str());
        for (player, commands) in [(&harmed, 2), (&other, 1)] {
            let readable = bet(player, 100);
            platform.publish(&readable).await;
            let command = platform.seen.wait(player, EventType::ApplyWager, commands).await.remove(commands - 1);
            platform.publish(&applied(&command, &apply_wager(&command), 900)).await;
            let settled = platform.seen.wait(player, EventType::BetSettled, 1).await.remove(0);
            let event: BetSettled = settled.event.message.try_into().unwrap();
            assert_eq!(event.bet_id, readable.id.as_str());
        }
        let kept = documents.find_one(doc! { "_id": newer_state.id.as_str() }).await.unwrap().unwrap();
        assert_eq!(kept.get_str("state").ok(), Some("disputed"), "unchanged, for a build that can read it");
        let (status, _) = platform.get(&format!("/internal/v1/bets/{}", newer_state.id)).await;
        assert_eq!(status, 500, "this build cannot read the bet");
    });
}

/// The build that decodes the command may know fewer of its fields, so the hash has to come from the sender.
#[test]
fn command_to_payment_carries_stored_hash() {
    RUNTIME.block_on(async {
        let platform = Platform::shared().await;
        let player = testkit::unique("player");
        let placed = bet(&player, 100);
        platform.publish(&placed).await;
        let first = platform.seen.wait(&player, EventType::ApplyWager, 1).await.remove(0);
        let hash = ids::request_hash(&first.event.message);
        let documents = platform.mongo.collection::<Document>("bets");
        let decided = documents.find_one(doc! { "_id": placed.id.as_str() }).await.unwrap().unwrap();
        assert_eq!(decided.get_str("wager_hash").ok(), Some(hash.as_str()), "stored when it was decided");
        assert_eq!(first.event.request_hash, Some(hash));

        // As if this build computed another hash than the build that decided the bet.
        let stored = "a".repeat(64);
        let change = doc! { "$set": { "wager_hash": &stored } };
        documents.update_one(doc! { "_id": placed.id.as_str() }, change).await.unwrap();
        platform.publish(&bet_as(&placed.id, &player, 100)).await;
        let again = platform.seen.wait(&player, EventType::ApplyWager, 2).await.remove(1);
        assert_eq!(again.event.request_hash.unwrap().as_str(), stored);
    });
}

/// Builds the event of an older build of payment about a void of an applied wager: with a balance and without amounts.
fn older_void(bet_id: &EventId, player: &str) -> Event {
    let void = WagerVoided {
        wager_id: bet_id.to_string(),
        player_id: player.to_owned(),
        balance_after: eur(1_000),
        reason: "by hand".to_owned(),
        ..WagerVoided::default()
    };
    Event::follower(&testkit::unique("void").parse().unwrap(), "payment", void)
}

#[test]
fn void_without_amounts_reverses_settled_amounts() {
    RUNTIME.block_on(async {
        let (platform, player, bet, command) = decided_bet().await;
        let mut wager = apply_wager(&command);
        wager.payout = eur(200);
        platform.publish(&applied(&command, &wager, 900)).await;
        platform.publish(&older_void(&bet.id, &player)).await;
        let voided = platform.seen.wait(&player, EventType::BetVoided, 1).await.remove(0);
        let event: BetVoided = voided.event.message.try_into().unwrap();
        assert_eq!((event.reversed_stake, event.reversed_payout), (eur(100), eur(200)));
    });
}

/// The wager was applied to another player's account, so this player's own wager can still be applied.
#[test]
fn older_void_for_wrong_player_ends_no_bet() {
    RUNTIME.block_on(async {
        let (platform, player, bet, command) = decided_bet().await;
        let other = testkit::unique("other");
        platform.publish(&older_void(&bet.id, &other)).await;
        wait_until_handled(platform, &other).await;
        let stored = platform.stored_bet(&bet.id).await;
        assert_eq!(stored["state"], "decided");
        platform.publish(&applied(&command, &apply_wager(&command), 900)).await;
        platform.seen.wait(&player, EventType::BetSettled, 1).await;
    });
}

/// The answer that the void reversed comes back from the dead letters.
#[test]
fn answer_after_older_void_has_no_effect() {
    reports::start_capture();
    RUNTIME.block_on(async {
        let (platform, player, bet, command) = decided_bet().await;
        platform.publish(&older_void(&bet.id, &player)).await;
        let voided = platform.seen.wait(&player, EventType::BetVoided, 1).await;
        let event: BetVoided = voided[0].event.message.clone().try_into().unwrap();
        assert_eq!((event.reversed_stake, event.reversed_payout), (None, None), "no consumer counted it");
        platform.publish(&applied(&command, &apply_wager(&command), 900)).await;
        // Answers of one player are handled in order: when the void is published again, the answer has been handled.
        platform.publish(&older_void(&bet.id, &player)).await;
        let voided = platform.seen.wait(&player, EventType::BetVoided, 2).await;
        assert_eq!(identity(&voided[0]), identity(&voided[1]), "repeated unchanged");
        assert_eq!(platform.seen.of(&player, EventType::BetSettled).len(), 0);
        assert_eq!(reports::containing(bet.id.as_str()), Vec::<String>::new(), "no operator has to act");
    });
}
