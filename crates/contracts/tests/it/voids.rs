//! Reversed amounts of a void, read by builds with and without the fields for them.

use contracts::proto::bets::v1::BetVoided;
use contracts::proto::common::v1::Money;
use contracts::proto::payments::v1::WagerVoided;
use contracts::{EventType, Message};

use crate::messages;

fn money(minor: i64, currency: &str) -> Option<Money> {
    Some(Money { minor, currency: currency.to_owned() })
}

fn bet_voided() -> BetVoided {
    messages::sample(EventType::BetVoided).try_into().expect("a BetVoided")
}

fn wager_voided() -> WagerVoided {
    messages::sample(EventType::WagerVoided).try_into().expect("a WagerVoided")
}

fn problem(message: impl Into<Message>) -> String {
    message.into().validate().expect_err("must be refused").to_string()
}

#[test]
fn valid_reversals_are_accepted() {
    let cases =
        [(None, None), (money(100, "EUR"), money(0, "EUR")), (money(100, "EUR"), money(2_000, "EUR"))];
    for (reversed_stake, reversed_payout) in cases {
        let (stake, payout) = (reversed_stake.clone(), reversed_payout.clone());
        let bet = BetVoided { reversed_stake: stake, reversed_payout: payout, ..bet_voided() };
        assert_eq!(Message::from(bet).validate(), Ok(()));
        let wager = WagerVoided { reversed_stake, reversed_payout, ..wager_voided() };
        assert_eq!(Message::from(wager).validate(), Ok(()));
    }
}

#[test]
fn inconsistent_reversals_are_refused() {
    let half = "field `reversedPayout` must be present exactly when `reversedStake` is";
    assert_eq!(problem(BetVoided { reversed_payout: None, ..bet_voided() }), half);
    assert_eq!(problem(WagerVoided { reversed_stake: None, ..wager_voided() }), half);
    let negative = BetVoided { reversed_payout: money(-1, "EUR"), ..bet_voided() };
    assert_eq!(problem(negative), "field `reversedPayout.minor` must not be negative");
    let other = WagerVoided { reversed_payout: money(1, "USD"), ..wager_voided() };
    assert_eq!(problem(other), "field `reversedPayout.currency` differs from the currency of the others");
    let other = BetVoided { stake: money(100, "USD"), ..bet_voided() };
    assert_eq!(problem(other), "field `reversedStake.currency` differs from the currency of the others");
    let other = WagerVoided { balance_after: money(100, "USD"), ..wager_voided() };
    assert_eq!(problem(other), "field `balanceAfter.currency` differs from the currency of the others");
}

/// `WagerVoided` as builds before `reversed_*` know it.
#[derive(Clone, PartialEq, prost::Message)]
struct OlderWagerVoided {
    #[prost(string, tag = "1")]
    wager_id: String,
    #[prost(string, tag = "2")]
    player_id: String,
    #[prost(string, tag = "4")]
    reason: String,
}

#[test]
fn older_and_newer_builds_read_each_other() {
    let new = Message::from(wager_voided()).encode_protobuf();
    let older = <OlderWagerVoided as prost::Message>::decode(&new[..]).expect("unknown fields are skipped");
    assert_eq!((older.wager_id, older.reason), (wager_voided().wager_id, wager_voided().reason));

    let older = OlderWagerVoided { wager_id: "w".into(), player_id: "p".into(), reason: "stuck".into() };
    let bytes = prost::Message::encode_to_vec(&older);
    let read = Message::from_protobuf(EventType::WagerVoided, &bytes).expect("the amounts may be absent");
    let read: WagerVoided = read.try_into().expect("a WagerVoided");
    assert_eq!((read.reversed_stake, read.reversed_payout), (None, None));
}
