//! Arbitrary valid messages of every type.

use contracts::proto::common::v1::Money;
use contracts::proto::{
    analytics::v1 as analytics, bets::v1 as bets, payments::v1 as payments, players::v1 as players,
};
use contracts::{
    Event, EventType, KycStatus, Message, ProviderOutcome, RejectReason, TRANSFER_MINOR_MAX, ids,
};
use proptest::prelude::*;
use time::OffsetDateTime;

fn name() -> impl Strategy<Value = String> {
    "[A-Za-z0-9._-]{1,32}"
}

fn id() -> impl Strategy<Value = String> {
    prop_oneof!["[!-~]{1,128}", Just(uuid::Uuid::nil().to_string())]
}

fn text() -> impl Strategy<Value = String> {
    "[^\\p{Cc}]{1,40}"
}

fn currency() -> impl Strategy<Value = String> {
    proptest::sample::select(vec!["EUR", "USD", "GBP", "SEK"]).prop_map(str::to_owned)
}

fn money(minor: std::ops::RangeInclusive<i64>) -> impl Strategy<Value = Option<Money>> {
    minor.prop_map(|minor| Some(Money { minor, currency: "SEK".into() }))
}

fn positive() -> impl Strategy<Value = Option<Money>> {
    money(1..=TRANSFER_MINOR_MAX)
}

fn not_negative() -> impl Strategy<Value = Option<Money>> {
    money(0..=TRANSFER_MINOR_MAX)
}

fn any_amount() -> impl Strategy<Value = Option<Money>> {
    money(i64::MIN..=i64::MAX)
}

/// The amounts that a void reversed, or none.
fn reversed() -> impl Strategy<Value = (Option<Money>, Option<Money>)> {
    proptest::option::of((not_negative(), not_negative())).prop_map(|amounts| amounts.unwrap_or_default())
}

fn reason() -> impl Strategy<Value = i32> {
    (1_i32..=8).prop_filter("has a name", |number| RejectReason::try_from(*number).is_ok())
}

/// Any valid message of this type.
#[expect(clippy::too_many_lines, reason = "one arm for each type, so that a forgotten type does not compile")]
fn message_of(event_type: EventType) -> BoxedStrategy<Message> {
    let wager = || (id(), name(), name(), positive());
    let payment = || (id(), name(), positive());
    match event_type {
        EventType::PlaceBet => (name(), name(), positive())
            .prop_map(|(player_id, game, stake)| bets::PlaceBet { player_id, game, stake }.into())
            .boxed(),
        EventType::BetSettled => (
            (id(), name(), name(), positive(), not_negative(), any_amount()),
            proptest::collection::vec("[a-z]{1,32}", 0..=16),
            any::<i64>(),
        )
            .prop_map(|((bet_id, player_id, game, stake, payout, balance_after), reels, bet_seq)| {
                let pay_table_version = String::new();
                bets::BetSettled {
                    bet_id,
                    player_id,
                    game,
                    stake,
                    payout,
                    balance_after,
                    reels,
                    pay_table_version,
                    bet_seq,
                }
                .into()
            })
            .boxed(),
        EventType::BetRejected => (id(), name(), name(), positive(), reason())
            .prop_map(|(bet_id, player_id, game, stake, reason)| {
                bets::BetRejected { bet_id, player_id, game, stake, reason }.into()
            })
            .boxed(),
        EventType::BetVoided => (id(), name(), name(), positive(), text(), reversed())
            .prop_map(|(bet_id, player_id, game, stake, reason, (reversed_stake, reversed_payout))| {
                bets::BetVoided { bet_id, player_id, game, stake, reason, reversed_stake, reversed_payout }
                    .into()
            })
            .boxed(),
        EventType::BetConflict => (id(), name())
            .prop_map(|(bet_id, player_id)| bets::BetConflict { bet_id, player_id }.into())
            .boxed(),
        EventType::ApplyWager => (id(), name(), name(), positive(), not_negative())
            .prop_map(|(wager_id, player_id, game, stake, payout)| {
                payments::ApplyWager { wager_id, player_id, game, stake, payout }.into()
            })
            .boxed(),
        EventType::VoidWager => (id(), name(), text())
            .prop_map(|(wager_id, player_id, reason)| {
                payments::VoidWager { wager_id, player_id, reason }.into()
            })
            .boxed(),
        EventType::Deposit => (name(), positive())
            .prop_map(|(player_id, amount)| payments::Deposit { player_id, amount }.into())
            .boxed(),
        EventType::Withdraw => (name(), positive())
            .prop_map(|(player_id, amount)| payments::Withdraw { player_id, amount }.into())
            .boxed(),
        EventType::ProviderReported => (id(), name(), "[ -~]{0,20}", positive())
            .prop_map(|(payment_id, player_id, provider_reference, amount)| {
                let outcome = ProviderOutcome::Declined.into();
                payments::ProviderReported { payment_id, player_id, outcome, provider_reference, amount }
                    .into()
            })
            .boxed(),
        EventType::WagerApplied => (wager(), not_negative(), any_amount(), 1..=i64::MAX)
            .prop_map(|((wager_id, player_id, game, stake), payout, balance_after, seq)| {
                payments::WagerApplied { wager_id, player_id, game, stake, payout, balance_after, seq }.into()
            })
            .boxed(),
        EventType::WagerRejected => (wager(), reason(), any_amount(), any::<bool>())
            .prop_map(|((wager_id, player_id, game, stake), reason, balance, held)| {
                let balance = balance.filter(|_| held);
                payments::WagerRejected { wager_id, player_id, game, stake, reason, balance }.into()
            })
            .boxed(),
        EventType::WagerVoided => (id(), name(), any_amount(), text(), reversed())
            .prop_map(|(wager_id, player_id, balance_after, reason, (reversed_stake, reversed_payout))| {
                payments::WagerVoided {
                    wager_id,
                    player_id,
                    balance_after,
                    reason,
                    reversed_stake,
                    reversed_payout,
                }
                .into()
            })
            .boxed(),
        EventType::DepositCompleted => (payment(), any_amount())
            .prop_map(|((payment_id, player_id, amount), balance_after)| {
                let provider_reference = String::new();
                payments::DepositCompleted {
                    payment_id,
                    player_id,
                    amount,
                    balance_after,
                    provider_reference,
                }
                .into()
            })
            .boxed(),
        EventType::DepositFailed => (payment(), reason())
            .prop_map(|((payment_id, player_id, amount), reason)| {
                payments::DepositFailed { payment_id, player_id, amount, reason }.into()
            })
            .boxed(),
        EventType::WithdrawalCompleted => (payment(), any_amount(), text())
            .prop_map(|((payment_id, player_id, amount), balance_after, provider_reference)| {
                payments::WithdrawalCompleted {
                    payment_id,
                    player_id,
                    amount,
                    balance_after,
                    provider_reference,
                }
                .into()
            })
            .boxed(),
        EventType::WithdrawalFailed => (payment(), reason())
            .prop_map(|((payment_id, player_id, amount), reason)| {
                payments::WithdrawalFailed { payment_id, player_id, amount, reason }.into()
            })
            .boxed(),
        EventType::RestrictionsApplied => (name(), id())
            .prop_map(|(player_id, cause_id)| payments::RestrictionsApplied { player_id, cause_id }.into())
            .boxed(),
        EventType::CommandConflict => (id(), name(), any_event_type())
            .prop_map(|(command_id, player_id, kind)| {
                let command_type = kind.as_str().to_owned();
                payments::CommandConflict { command_id, command_type, player_id }.into()
            })
            .boxed(),
        EventType::FactItem => (name(), id(), 1..=i32::MAX, 1..=i32::MAX)
            .prop_map(|(player_id, fact_id, number, count)| {
                analytics::FactItem { player_id, fact_id, number, count }.into()
            })
            .boxed(),
        EventType::PlayerRegistered => (name(), "[a-z]{1,20}@[a-z.]{1,20}", "[^\\p{Cc}]{1,16}", currency())
            .prop_map(|(player_id, email, display_name, currency)| {
                players::PlayerRegistered { player_id, email, display_name, currency }.into()
            })
            .boxed(),
        EventType::LimitsChanged => (name(), proptest::option::of(positive()), positive())
            .prop_map(|(player_id, max_stake, daily_loss)| {
                players::LimitsChanged { player_id, max_stake: max_stake.flatten(), daily_loss }.into()
            })
            .boxed(),
        EventType::SelfExclusionStarted => (name(), 1..=i64::MAX)
            .prop_map(|(player_id, until_epoch_ms)| {
                players::SelfExclusionStarted { player_id, until_epoch_ms }.into()
            })
            .boxed(),
        EventType::KycStatusChanged => (
            name(),
            proptest::sample::select(vec![KycStatus::Pending, KycStatus::Verified, KycStatus::Rejected]),
        )
            .prop_map(|(player_id, status)| {
                players::KycStatusChanged { player_id, status: status.into() }.into()
            })
            .boxed(),
        EventType::PreferencesChanged => (name(), any::<bool>())
            .prop_map(|(player_id, email_enabled)| {
                players::PreferencesChanged { player_id, email_enabled }.into()
            })
            .boxed(),
    }
}

fn any_event_type() -> impl Strategy<Value = EventType> {
    proptest::sample::select(EventType::ALL.to_vec())
}

/// Any valid message.
pub(crate) fn message() -> BoxedStrategy<Message> {
    any_event_type().prop_flat_map(message_of).boxed()
}

/// Any valid event.
pub(crate) fn event() -> BoxedStrategy<Event> {
    // Years 1970 to 2262, the range of nanoseconds in 64 bits. RFC 3339 can express them.
    let time = any::<i64>().prop_map(|nanos| {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(nanos).abs()).expect("within the years above")
    });
    (message(), id(), "[!-~]{1,64}", time, proptest::option::of(id()), any::<bool>())
        .prop_map(|(message, id, source, time, cause, hashed)| Event {
            id: id.parse().expect("an id"),
            source,
            time,
            causation_id: cause.map(|cause| cause.parse().expect("an id")),
            request_hash: hashed.then(|| ids::request_hash(&message)),
            message,
        })
        .boxed()
}
