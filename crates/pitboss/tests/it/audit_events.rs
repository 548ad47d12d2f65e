//! Rules of the audit over events: each rule accepts what the services publish, and finds each way to break it.

use contracts::proto::bets::v1::{BetRejected, BetSettled, BetVoided, PlaceBet};
use contracts::proto::common::v1::Money;
use contracts::proto::payments::v1::{ApplyWager, ProviderReported, WagerApplied, WagerVoided};
use contracts::{Event, EventId, EventType, Message, RejectReason, Topic, ids};
use pitboss::audit::documents::{Bet, Entry, Fact, Row};
use pitboss::audit::event_rules;
use pitboss::audit::rules::{Standing, Verdict};
use store::bson::spec::BinarySubtype;
use store::bson::{Binary, DateTime, Document, deserialize_from_document, doc};

fn money(minor: i64) -> Option<Money> {
    Some(Money { minor, currency: "EUR".to_owned() })
}

fn id(text: &str) -> EventId {
    text.parse().expect("an id")
}

/// A bet of ada as game stores it.
fn bet(changes: Document) -> Bet {
    let at = DateTime::from_millis(1_793_534_400_000);
    let mut bet = doc! {
        "_id": "bet-1", "player_id": "ada", "game": "slots", "state": "settled", "stake_minor": 100_i64,
        "payout_minor": 500_i64, "currency": "EUR", "reels": [], "pay_table_version": "slots-1", "decided_at": at,
        "ended_at": at, "balance_minor": 1_400_i64,
    };
    bet.extend(changes);
    deserialize_from_document(bet).expect("a document of this form")
}

/// An event of game about that bet.
fn of_bet(message: impl Into<Message>) -> Event {
    Event::follower(&id("bet-1"), "/pitboss/game", message)
}

fn settled(payout_minor: i64) -> BetSettled {
    BetSettled {
        bet_id: "bet-1".to_owned(),
        player_id: "ada".to_owned(),
        game: "slots".to_owned(),
        stake: money(100),
        payout: money(payout_minor),
        balance_after: money(1_400),
        ..BetSettled::default()
    }
}

fn applied() -> Event {
    let message = WagerApplied {
        wager_id: "bet-1".to_owned(),
        player_id: "ada".to_owned(),
        game: "slots".to_owned(),
        stake: money(100),
        payout: money(500),
        balance_after: money(1_400),
        seq: 2,
    };
    Event::follower(&id("command-2"), "/pitboss/payment", message)
}

/// The decision that applied the wager of that bet.
fn wager(changes: Document) -> Row {
    let leg = |account: &str, amount_minor: i64| {
        doc! { "account": account, "currency": "EUR", "amount_minor": amount_minor }
    };
    let legs = vec![
        leg("player:ada", -100),
        leg("house:slots", 100),
        leg("house:slots", -500),
        leg("player:ada", 500),
    ];
    let event = applied();
    let bytes = Binary { subtype: BinarySubtype::Generic, bytes: event.message.encode_protobuf().to_vec() };
    let mut entry = doc! {
        "seq": 2_i64, "command_id": "command-2", "keys": ["c:command-2", "w:bet-1"],
        "type": "casino.payments.v1.ApplyWager", "outcome": "applied", "postings": legs,
        "event": { "id": event.id.as_str(), "type": "casino.payments.v1.WagerApplied", "bytes": bytes },
        "at": DateTime::from_millis(1_793_534_400_000),
    };
    entry.extend(changes);
    let entry: Entry = deserialize_from_document(entry).expect("a document of this form");
    Row { id: "ada/2".to_owned(), player_id: "ada".to_owned(), entry }
}

#[test]
fn event_of_game_must_be_that_of_its_bet() {
    let check = |event: &Event, bet: Option<&Bet>| event_rules::settlement_event(event, bet);
    let own = of_bet(settled(500));
    assert_eq!(check(&own, Some(&bet(doc! {}))), None);
    assert_eq!(check(&own, Some(&bet(doc! { "state": "voided" }))), None, "it may be voided later");
    assert_eq!(event_rules::event_of_bet(&bet(doc! {})), Some(EventType::BetSettled));
    assert_eq!(event_rules::event_of_bet(&bet(doc! { "state": "decided" })), None);
    for changes in [
        doc! { "state": "decided" },
        doc! { "state": "rejected" },
        doc! { "stake_minor": 101_i64 },
        doc! { "payout_minor": 501_i64 },
        doc! { "currency": "USD" },
        doc! { "player_id": "bob" },
    ] {
        assert!(check(&own, Some(&bet(changes.clone()))).is_some(), "{changes}");
    }
    let unknown = check(&own, None).expect("a finding");
    assert!(unknown.what.contains("game does not know the bet"), "{unknown:?}");
    let mut second = of_bet(settled(500));
    second.id = id("another");
    let second = check(&second, Some(&bet(doc! {}))).expect("a finding");
    assert!(second.what.contains("a second one") && second.what.contains(own.id.as_str()), "{second:?}");
}

#[test]
fn rejections_and_voids_must_fit_their_bet() {
    let rejected = of_bet(BetRejected {
        bet_id: "bet-1".to_owned(),
        player_id: "ada".to_owned(),
        game: "slots".to_owned(),
        stake: money(100),
        reason: RejectReason::InsufficientFunds.into(),
    });
    let voided = of_bet(BetVoided {
        bet_id: "bet-1".to_owned(),
        player_id: "ada".to_owned(),
        game: "slots".to_owned(),
        stake: money(100),
        reason: "by hand".to_owned(),
        ..BetVoided::default()
    });
    let of_state = |event: &Event, state: &str| {
        event_rules::settlement_event(event, Some(&bet(doc! { "state": state }))).is_none()
    };
    assert_eq!(
        ["rejected", "voided", "settled"].map(|state| of_state(&rejected, state)),
        [true, true, false]
    );
    assert_eq!(["rejected", "voided", "settled"].map(|state| of_state(&voided, state)), [false, true, false]);
}

#[test]
fn event_of_payment_must_be_its_decision() {
    let event = applied();
    let value = event.message.encode_protobuf();
    let check = |row: Option<&Row>, value: &[u8]| event_rules::decision_event(&event, value, row);
    assert_eq!(check(Some(&wager(doc! {})), &value), None);
    assert!(check(None, &value).is_some_and(|found| found.what.contains("no decision")));
    assert!(check(Some(&wager(doc! {})), b"other bytes").is_some());
    let named = |id: &str, event_type: &str| doc! { "event": { "id": id, "type": event_type, "bytes": "" } };
    let own_type = "casino.payments.v1.WagerApplied";
    assert_eq!(check(Some(&wager(named(event.id.as_str(), own_type))), b"any"), None, "no bytes are stored");
    assert!(check(Some(&wager(named("another", own_type))), &value).is_some());
    assert!(
        check(Some(&wager(named(event.id.as_str(), "casino.payments.v1.WagerRejected"))), &value).is_some()
    );
}

#[test]
fn void_must_carry_what_its_wager_applied() {
    let void = |stake: Option<i64>, payout: i64, balance: Option<i64>| {
        let message = WagerVoided {
            wager_id: "bet-1".to_owned(),
            player_id: "ada".to_owned(),
            balance_after: balance.and_then(money),
            reason: "by hand".to_owned(),
            reversed_stake: stake.and_then(money),
            reversed_payout: stake.and(money(payout)),
        };
        Event::follower(&id("command-3"), "/pitboss/payment", message)
    };
    let row = wager(doc! {});
    let check = |event: &Event, row: Option<&Row>| event_rules::void_event(event, row).is_none();
    assert!(check(&void(Some(100), 500, Some(1_000)), Some(&row)));
    assert!(!check(&void(Some(100), 501, Some(1_000)), Some(&row)));
    assert!(!check(&void(Some(99), 500, Some(1_000)), Some(&row)));
    assert!(!check(&void(Some(100), 500, Some(1_000)), None), "nothing was applied");
    assert!(!check(&void(None, 0, None), Some(&row)), "it was applied");
    assert!(check(&void(None, 0, Some(1_000)), Some(&row)), "an older build");
    assert!(check(&void(None, 0, None), None), "it came before its wager");
    assert!(check(&void(None, 0, None), Some(&wager(doc! { "outcome": "rejected" }))));
}

#[test]
fn counted_event_must_have_its_fact() {
    let fact = |in_minor: i64, out_minor: i64| -> Fact {
        let fact = doc! { "_id": "f", "currency": "EUR", "in_minor": in_minor, "out_minor": out_minor };
        deserialize_from_document(fact).expect("a document of this form")
    };
    let event = of_bet(settled(500));
    let check = |fact: Option<&Fact>, is_young| event_rules::event_fact(&event, fact, is_young);
    assert_eq!(check(Some(&fact(100, 500)), false), Some(Verdict::Agrees));
    assert_eq!(check(None, true), Some(Verdict::InFlight));
    for fact in [None, Some(fact(100, 501)), Some(fact(99, 500))] {
        let verdict = check(fact.as_ref(), false);
        assert!(matches!(verdict, Some(Verdict::Differs(_))), "{fact:?}");
    }
    assert_eq!(event_rules::event_fact(&applied(), None, false), None, "analytics does not count it");
    let reversed = of_bet(BetVoided {
        bet_id: "bet-1".to_owned(),
        stake: money(100),
        reversed_stake: money(100),
        reversed_payout: money(500),
        ..BetVoided::default()
    });
    assert_eq!(event_rules::counted(&reversed.message), Some((-100, -500, "EUR")));
}

#[test]
fn commands_that_no_group_handles_have_no_end() {
    let place: Message = PlaceBet { player_id: "ada".to_owned(), ..PlaceBet::default() }.into();
    let place = Event::follower(&id("cause"), "/test", place);
    assert!(event_rules::is_handled(Topic::BetsCommands, Some(&place)));
    assert!(event_rules::is_handled(Topic::BetsCommands, None), "a record that cannot be read is parked");
    assert!(!event_rules::is_handled(Topic::PaymentsCommands, Some(&place)), "payment passes it");
    assert!(
        !event_rules::is_handled(Topic::BetsCommands, Some(&applied())),
        "the console may write it there"
    );
}

#[test]
fn command_ends_with_decision_or_dead_letter() {
    let now_ms = 1_793_534_400_000;
    let of = |is_decided, letter| event_rules::command_end("PlaceBet x", is_decided, letter, now_ms);
    let is_finding = |verdict| match verdict {
        Verdict::Differs(violation) => violation.what.contains("PlaceBet x"),
        _ => false,
    };
    assert_eq!(of(true, None), Verdict::Agrees);
    assert_eq!(of(false, Some(Standing::Open)), Verdict::Parked);
    assert_eq!(of(false, Some(Standing::Discarded)), Verdict::Agrees);
    let replayed = |age_ms: i64| Some(Standing::Replayed { at_ms: now_ms - age_ms });
    assert_eq!(of(false, replayed(60_000)), Verdict::InFlight);
    assert!(is_finding(of(false, replayed(1_800_000))), "the replay has no end either");
    assert!(is_finding(of(false, None)));
    let keys = |message: Message| event_rules::keys_of_ends(&Event::follower(&id("cause"), "/test", message));
    let place = PlaceBet { player_id: "ada".to_owned(), ..PlaceBet::default() };
    assert_eq!(keys(place.into()).len(), 1);
    let apply = keys(ApplyWager { wager_id: "bet-1".to_owned(), ..ApplyWager::default() }.into());
    assert!(apply.contains(&"w:bet-1".to_owned()) && apply.contains(&"v:bet-1".to_owned()), "{apply:?}");
    let report = ProviderReported { payment_id: "pay-1".to_owned(), ..ProviderReported::default() };
    let report = keys(report.into());
    let usual = format!("c:{}", ids::provider_reported_id(&id("pay-1")));
    assert!(report.contains(&"r:pay-1".to_owned()) && report.contains(&usual), "{report:?}");
}
