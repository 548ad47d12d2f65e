//! One event of every type with every field set, for snapshots and schemas.

use contracts::proto::common::v1::Money;
use contracts::proto::{
    analytics::v1 as analytics, bets::v1 as bets, payments::v1 as payments, players::v1 as players,
};
use contracts::{Event, EventType, KycStatus, Message, ProviderOutcome, RejectReason, ids};
use time::macros::datetime;

const PLAYER: &str = "player-1";
const BET: &str = "0c9f1c52-6f2a-5e0e-9d5b-3f3d1c6a7b10";
const PAYMENT: &str = "7a7f7a3e-52f4-5f57-8f0e-6b1f0b7f9e21";

fn eur(minor: i64) -> Option<Money> {
    Some(Money { minor, currency: "EUR".into() })
}

/// The message of this type with every field set.
#[expect(clippy::too_many_lines, reason = "one arm for each type, so that a forgotten type does not compile")]
pub(crate) fn message(event_type: EventType) -> Message {
    let (bet_id, wager_id, payment_id) = (BET.to_owned(), BET.to_owned(), PAYMENT.to_owned());
    let (player_id, game, provider_reference) = (PLAYER.to_owned(), "slots".to_owned(), "ch_1".to_owned());
    match event_type {
        EventType::FactItem => {
            analytics::FactItem { player_id, fact_id: BET.to_owned(), number: 1, count: 20 }.into()
        }
        EventType::PlaceBet => bets::PlaceBet { player_id, game, stake: eur(100) }.into(),
        EventType::BetSettled => bets::BetSettled {
            bet_id,
            player_id,
            game,
            stake: eur(100),
            payout: eur(2_000),
            balance_after: eur(6_900),
            reels: vec!["cherry".into(), "cherry".into(), "cherry".into()],
            pay_table_version: "slots-1".into(),
            bet_seq: 1,
        }
        .into(),
        EventType::BetRejected => {
            let reason = RejectReason::InsufficientFunds.into();
            bets::BetRejected { bet_id, player_id, game, stake: eur(100), reason }.into()
        }
        EventType::BetVoided => {
            let reason = "asked for by the player".to_owned();
            bets::BetVoided {
                bet_id,
                player_id,
                game,
                stake: eur(100),
                reason,
                reversed_stake: eur(100),
                reversed_payout: eur(2_000),
            }
            .into()
        }
        EventType::BetConflict => bets::BetConflict { bet_id, player_id }.into(),
        EventType::ApplyWager => {
            payments::ApplyWager { wager_id, player_id, game, stake: eur(100), payout: eur(2_000) }.into()
        }
        EventType::VoidWager => {
            payments::VoidWager { wager_id, player_id, reason: "stuck".to_owned() }.into()
        }
        EventType::Deposit => payments::Deposit { player_id, amount: eur(5_000) }.into(),
        EventType::Withdraw => payments::Withdraw { player_id, amount: eur(1_500) }.into(),
        EventType::ProviderReported => payments::ProviderReported {
            payment_id,
            player_id,
            outcome: ProviderOutcome::Captured.into(),
            provider_reference,
            amount: eur(5_000),
        }
        .into(),
        EventType::WagerApplied => payments::WagerApplied {
            wager_id,
            player_id,
            game,
            stake: eur(100),
            payout: eur(2_000),
            balance_after: eur(6_900),
            seq: 2,
        }
        .into(),
        EventType::WagerRejected => {
            let reason = RejectReason::InsufficientFunds.into();
            payments::WagerRejected { wager_id, player_id, game, stake: eur(100), reason, balance: eur(42) }
                .into()
        }
        EventType::WagerVoided => {
            let reason = "stuck".to_owned();
            payments::WagerVoided {
                wager_id,
                player_id,
                balance_after: eur(5_000),
                reason,
                reversed_stake: eur(100),
                reversed_payout: eur(2_000),
            }
            .into()
        }
        EventType::DepositCompleted => {
            let (amount, balance_after) = (eur(5_000), eur(5_000));
            payments::DepositCompleted { payment_id, player_id, amount, balance_after, provider_reference }
                .into()
        }
        EventType::DepositFailed => {
            let reason = RejectReason::ProviderDeclined.into();
            payments::DepositFailed { payment_id, player_id, amount: eur(5_000), reason }.into()
        }
        EventType::WithdrawalCompleted => {
            let (amount, balance_after) = (eur(1_500), eur(3_500));
            payments::WithdrawalCompleted { payment_id, player_id, amount, balance_after, provider_reference }
                .into()
        }
        EventType::WithdrawalFailed => {
            let reason = RejectReason::InsufficientFunds.into();
            payments::WithdrawalFailed { payment_id, player_id, amount: eur(1_500), reason }.into()
        }
        EventType::RestrictionsApplied => {
            payments::RestrictionsApplied { player_id, cause_id: BET.to_owned() }.into()
        }
        EventType::CommandConflict => {
            let command_type = EventType::ApplyWager.as_str().to_owned();
            payments::CommandConflict { command_id: BET.to_owned(), command_type, player_id }.into()
        }
        EventType::PlayerRegistered => players::PlayerRegistered {
            player_id,
            email: "ada@example.org".into(),
            display_name: "Ada".into(),
            currency: "EUR".into(),
        }
        .into(),
        EventType::LimitsChanged => {
            players::LimitsChanged { player_id, max_stake: eur(500), daily_loss: eur(10_000) }.into()
        }
        EventType::SelfExclusionStarted => {
            players::SelfExclusionStarted { player_id, until_epoch_ms: 1_798_761_600_000 }.into()
        }
        EventType::KycStatusChanged => {
            players::KycStatusChanged { player_id, status: KycStatus::Verified.into() }.into()
        }
        EventType::PreferencesChanged => {
            players::PreferencesChanged { player_id, email_enabled: true }.into()
        }
    }
}

/// The event around it, with fixed id, time and cause.
pub(crate) fn event(event_type: EventType) -> Event {
    let message = message(event_type);
    let cause = ids::command_id(PLAYER, "POST /api/v1/bets", "key-1");
    Event {
        id: ids::follower_id(&cause, event_type),
        source: "/pitboss/sample".to_owned(),
        time: datetime!(2026-11-01 12:00:00.123456 UTC),
        causation_id: Some(cause),
        request_hash: event_type.is_command().then(|| ids::request_hash(&message)),
        message,
    }
}
