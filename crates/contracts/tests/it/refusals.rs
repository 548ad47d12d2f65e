//! Refused records, with a precise reason that does not contain the payload.

use bytes::Bytes;
use contracts::proto::bets::v1::PlaceBet;
use contracts::proto::common::v1::Money;
use contracts::proto::payments::v1::{Deposit, Withdraw};
use contracts::{
    Classify, ErrorClass, Event, EventType, Format, Message, RecordView, TRANSFER_MINOR_MAX, headers,
};

use crate::messages;

const TOPIC: &str = "casino.bets.commands.v1";
/// Planted in payloads. No error text may contain it.
const SECRET: &str = "hunter2-4929";

fn header(name: &str, value: &str) -> (String, Bytes) {
    (name.to_owned(), Bytes::from(value.to_owned()))
}

fn refusal(topic: &str, headers: &[(String, Bytes)], value: &[u8]) -> String {
    let record = RecordView { topic, partition: 0, offset: 0, timestamp_ms: None, headers, value };
    let error = Event::decode(&record).expect_err("must be refused");
    assert_eq!(error.class(), ErrorClass::Poison);
    let message = error.to_string();
    assert!(message.len() < 300, "bounded: {message}");
    assert!(!message.contains(SECRET), "no payload: {message}");
    message
}

fn line_refusal(line: &str) -> String {
    refusal(TOPIC, &[], line.as_bytes())
}

/// A bet in the form that people type, with other data.
fn bet(data: &str) -> String {
    format!(r#"{{"type":"casino.bets.v1.PlaceBet","data":{data}}}"#)
}

#[test]
fn mistyped_lines_name_the_mistake() {
    let stake = r#""stake":{"minor":"100","currency":"EUR"}"#;
    let cases = [
        ("hello".to_owned(), "no `ce_type` header, and the value is not a JSON object"),
        (" {}".to_owned(), "no `ce_type` header, and the value is not a JSON object"),
        ("{".to_owned(), "structured event: JSON that ends too early at line 1 column 1 of the value"),
        (
            r#"{"type":}"#.to_owned(),
            "structured event: field `type`: not JSON at line 1 column 9 of the value",
        ),
        ("{}".to_owned(), "attribute `type` is missing"),
        (r#"{"type":"casino.bets.v1.PlaceBet"}"#.to_owned(), "attribute `data` is missing"),
        (
            r#"{"type":"casino.bets.v1.PlaceBets","data":{}}"#.to_owned(),
            "unknown event type `casino.bets.v1.PlaceBets`",
        ),
        (
            r#"{"type":"casino.bets.v1.PlaceBet","data":{},"ID":"hunter2-4929"}"#.to_owned(),
            "attribute `id` is written in another letter case",
        ),
        (bet("{}") + "{}", "structured event: not JSON at line 1 column 45 of the value"),
        (bet("{}"), "casino.bets.v1.PlaceBet: field `playerId` is missing or empty"),
        (bet("[]"), "casino.bets.v1.PlaceBet: wrong type at line 1 column 2 of the data"),
        (
            bet(&format!(r#"{{"playerId":"p","game":"slots","steak":"{SECRET}",{stake}}}"#)),
            "casino.bets.v1.PlaceBet: field `steak`: unknown field `steak` at line 1 column 38 of the data",
        ),
        (
            bet(&format!(r#"{{"playerId":"p","playerId":"q","game":"slots",{stake}}}"#)),
            "casino.bets.v1.PlaceBet: duplicate field `playerId` at line 1 column 26 of the data",
        ),
        (
            bet(&format!(r#"{{"playerId":"{SECRET} {SECRET}","game":"slots",{stake}}}"#)),
            "casino.bets.v1.PlaceBet: field `playerId` may only have letters, digits, `.`, `_` and `-`",
        ),
        (bet(r#"{"playerId":"p","game":"slots"}"#), "casino.bets.v1.PlaceBet: field `stake` is missing"),
        (
            bet(r#"{"playerId":"p","game":"slots","stake":{"minor":"hunter2-4929","currency":"EUR"}}"#),
            "casino.bets.v1.PlaceBet: field `stake.minor`: value not readable at line 1 column 62 of the data",
        ),
        (
            bet(r#"{"playerId":"p","game":"slots","stake":{"minor":"0","currency":"EUR"}}"#),
            "casino.bets.v1.PlaceBet: field `stake.minor` must be above zero",
        ),
        (
            bet(r#"{"playerId":"p","game":"slots","stake":{"minor":"-5","currency":"EUR"}}"#),
            "casino.bets.v1.PlaceBet: field `stake.minor` must be above zero",
        ),
        (
            bet(r#"{"playerId":"p","game":"slots","stake":{"minor":"5","currency":"eur"}}"#),
            "casino.bets.v1.PlaceBet: field `stake.currency` is not one of EUR, USD, GBP, SEK",
        ),
        (
            bet(r#"{"playerId":"p","game":"slots","stake":{"minor":"5"}}"#),
            "casino.bets.v1.PlaceBet: field `stake.currency` is missing or empty",
        ),
    ];
    for (line, reason) in cases {
        assert_eq!(line_refusal(&line), reason, "{line}");
    }
}

#[test]
fn only_transfers_have_an_upper_limit() {
    let deposited = |minor: i64| {
        let mut event = messages::sample(EventType::DepositCompleted);
        let Message::DepositCompleted(deposit) = &mut event else { unreachable!() };
        deposit.amount = Some(Money { minor, currency: "EUR".into() });
        event.validate()
    };
    assert_eq!(deposited(TRANSFER_MINOR_MAX), Ok(()));
    let refused = deposited(TRANSFER_MINOR_MAX + 1).expect_err("nine million of them are no 64-bit sum");
    assert_eq!(refused.to_string(), format!("field `amount.minor` is above {TRANSFER_MINOR_MAX}"));
    let settled = |payout: i64| {
        let mut event = messages::sample(EventType::BetSettled);
        let Message::BetSettled(bet) = &mut event else { unreachable!() };
        bet.payout = Some(Money { minor: payout, currency: "EUR".into() });
        event.validate()
    };
    assert_eq!(settled(TRANSFER_MINOR_MAX), Ok(()));
    assert!(settled(TRANSFER_MINOR_MAX + 1).is_err());
    // A request moves no money. Game and payment answer it with a business "no", which names its amount.
    let requested = Some(Money { minor: i64::MAX, currency: "EUR".into() });
    let requests = [
        PlaceBet { player_id: "p".into(), game: "slots".into(), stake: requested.clone() }.into(),
        Message::from(Deposit { player_id: "p".into(), amount: requested.clone() }),
        Withdraw { player_id: "p".into(), amount: requested.clone() }.into(),
    ];
    for request in requests {
        assert_eq!(request.validate(), Ok(()), "{request:?}");
    }
    let mut failed = messages::sample(EventType::DepositFailed);
    let Message::DepositFailed(deposit) = &mut failed else { unreachable!() };
    deposit.amount = requested;
    assert_eq!(failed.validate(), Ok(()));
}

#[test]
fn inexact_amounts_are_refused() {
    for minor in [
        "1.5",
        "\"1.5\"",
        "1e2",
        "\"1e2\"",
        "\"+100\"",
        "\"+0\"",
        "\"-\"",
        "\" 1\"",
        "\"\"",
        "true",
        "9223372036854775808",
        "[1]",
    ] {
        let line = bet(&format!(
            r#"{{"playerId":"p","game":"slots","stake":{{"minor":{minor},"currency":"EUR"}}}}"#
        ));
        let message = line_refusal(&line);
        assert!(message.contains("stake.minor"), "{minor}: {message}");
    }
}

/// A message that decodes to the same value without the repetition is refused with it, at any depth and after null.
#[test]
fn repeated_fields_are_refused_after_null() {
    let stake = r#""stake":{"minor":"100","currency":"EUR"}"#;
    let head = r#""playerId":"p","game":"slots""#;
    let repeated = bet(&format!(r#"{{{head},"stake":null,{stake}}}"#));
    let reason = "casino.bets.v1.PlaceBet: duplicate field `stake` at line 1 column 51 of the data";
    assert_eq!(line_refusal(&repeated), reason);
    line_refusal(&bet(&format!(r#"{{{head},{stake},"stake":null}}"#)));

    let topic = "casino.players.events.v1";
    let limits = |data: &str| format!(r#"{{"type":"casino.players.v1.LimitsChanged","data":{data}}}"#);
    for data in [
        r#"{"playerId":"p","maxStake":null,"maxStake":null}"#,
        r#"{"playerId":"p","max_stake":null,"maxStake":{"minor":5,"currency":"EUR"}}"#,
        r#"{"playerId":"p","maxStake":null,"max_stake":{"minor":5,"currency":"EUR"}}"#,
    ] {
        let message = refusal(topic, &[], limits(data).as_bytes());
        assert!(message.contains("duplicate field `max"), "{data}: {message}");
    }
    // The same in binary mode.
    let headers = [header("ce_type", "casino.bets.v1.PlaceBet"), header("content-type", "application/json")];
    let value = format!(r#"{{{head},"stake":null,{stake}}}"#);
    assert_eq!(refusal(TOPIC, &headers, value.as_bytes()), reason);
}

/// An array is never read by the order of fields.
#[test]
fn array_is_no_message_at_any_depth() {
    for data in ["[]", r#"["p","slots",null]"#, r#"{"playerId":"p","game":"slots","stake":["100","EUR"]}"#] {
        let message = line_refusal(&bet(data));
        assert!(message.contains("wrong type"), "{data}: {message}");
    }
}

#[test]
fn all_numbers_refuse_a_plus_sign() {
    let item = |number: &str| {
        let data = format!(r#"{{"playerId":"p","factId":"f","number":{number},"count":2}}"#);
        format!(r#"{{"type":"casino.analytics.v1.FactItem","data":{data}}}"#)
    };
    let decode = |text: &str| {
        let topic = "casino.analytics.items.v1";
        let value = text.as_bytes();
        Event::decode(&RecordView { topic, partition: 0, offset: 0, timestamp_ms: None, headers: &[], value })
    };
    assert!(decode(&item("\"1\"")).is_ok(), "the event is otherwise valid");
    let refused = decode(&item("\"+1\"")).expect_err("refused").to_string();
    assert!(refused.contains("field `number`"), "{refused}");
}

#[test]
fn repeated_names_in_extensions_are_refused() {
    let data = r#""data":{"playerId":"p","game":"slots","stake":{"minor":"100","currency":"EUR"}}"#;
    let line = |value: &str| format!(r#"{{"type":"casino.bets.v1.PlaceBet","extension":{value},{data}}}"#);
    for value in [r#"{"a":1,"a":1}"#, r#"{"a":null,"a":1}"#, r#"[{"b":{"c":1,"c":2}}]"#] {
        let message = line_refusal(&line(value));
        assert!(message.contains("duplicate field"), "{value}: {message}");
    }
    let line = line(r#"{"a_b":{"a":1},"aB":[{"a":1},{"a":2}]}"#);
    let value = line.as_bytes();
    let record =
        RecordView { topic: TOPIC, partition: 0, offset: 0, timestamp_ms: None, headers: &[], value };
    assert!(Event::decode(&record).is_ok(), "the same name in different objects is no repetition");
}

#[test]
fn invalid_attributes_are_refused() {
    let data = r#""data":{"playerId":"p","game":"slots","stake":{"minor":"100","currency":"EUR"}}"#;
    let long = "x".repeat(129);
    let cases = [
        (r#""id":"""#.to_owned(), "attribute `id` is not 1 to 128 visible ASCII characters"),
        (r#""id":"a b""#.to_owned(), "attribute `id` is not 1 to 128 visible ASCII characters"),
        (format!(r#""id":"{long}""#), "attribute `id` is not 1 to 128 visible ASCII characters"),
        (r#""specversion":"0.3""#.to_owned(), "attribute `specversion` is not 1.0"),
        (r#""time":"yesterday""#.to_owned(), "attribute `time` is not an RFC 3339 time"),
        (r#""source":"""#.to_owned(), "attribute `source` is empty or too long"),
        (r#""subject":"q""#.to_owned(), "attribute `subject` is not the message's player id"),
        (
            r#""requesthash":"ABC""#.to_owned(),
            "attribute `requesthash` is not 64 lower-case hexadecimal digits",
        ),
        (
            r#""datacontenttype":"text/plain""#.to_owned(),
            "attribute `datacontenttype` is not JSON, as `data` is",
        ),
        (
            r#""datacontenttype":"application/protobuf""#.to_owned(),
            "attribute `datacontenttype` is not JSON, as `data` is",
        ),
        (r#""data_base64":"AA==""#.to_owned(), "attribute `data_base64` must not occur together with `data`"),
    ];
    for (attribute, reason) in cases {
        let line = format!(r#"{{"type":"casino.bets.v1.PlaceBet",{attribute},{data}}}"#);
        assert_eq!(line_refusal(&line), reason, "{attribute}");
    }
}

#[test]
fn invalid_headers_are_refused() {
    let bet = messages::sample_event(EventType::PlaceBet).encode(Format::Protobuf);
    let with = |name: &str, value: &str| {
        let mut changed: Vec<(String, Bytes)> =
            bet.headers.iter().filter(|(other, _)| other != name).cloned().collect();
        changed.push(header(name, value));
        refusal(TOPIC, &changed, &bet.value)
    };
    assert_eq!(with("ce_specversion", "2.0"), "header `ce_specversion` is not 1.0");
    assert_eq!(with("ce_id", ""), "header `ce_id` is empty");
    assert_eq!(with("ce_id", "\u{e9}"), "header `ce_id` is not 1 to 128 visible ASCII characters");
    assert_eq!(with("ce_time", "noon"), "header `ce_time` is not an RFC 3339 time");
    assert_eq!(with("ce_subject", "other"), "attribute `subject` is not the message's player id");
    assert_eq!(
        with("ce_requesthash", "ff"),
        "header `ce_requesthash` is not 64 lower-case hexadecimal digits"
    );
    assert_eq!(with("content-type", "text/xml"), "unknown content type `text/xml`");
    assert_eq!(with("ce_type", "casino.bets.v9.PlaceBet"), "unknown event type `casino.bets.v9.PlaceBet`");
    assert_eq!(with("ce_type", "a\nb"), "unknown event type `a?b`");

    let mut not_text = bet.headers.clone();
    not_text.retain(|(name, _)| name != headers::CE_SOURCE);
    not_text.push((headers::CE_SOURCE.to_owned(), Bytes::from_static(&[0xff])));
    assert_eq!(refusal(TOPIC, &not_text, &bet.value), "header `ce_source` is not UTF-8");

    let mut untyped = bet.headers.clone();
    untyped.retain(|(name, _)| name != headers::CE_TYPE);
    assert_eq!(refusal(TOPIC, &untyped, &bet.value), "there are CloudEvents headers but no `ce_type`");
}

#[test]
fn oversized_records_are_refused() {
    let bet = messages::sample_event(EventType::PlaceBet).encode(Format::Protobuf);
    let many: Vec<(String, Bytes)> = (0..65).map(|index| header(&format!("h{index}"), "")).collect();
    assert_eq!(refusal(TOPIC, &many, &bet.value), "65 headers, more than 64");

    let long = [header("cookie", &"x".repeat(8_193))];
    assert_eq!(refusal(TOPIC, &long, &bet.value), "header `cookie` makes the headers too large");

    let total: Vec<(String, Bytes)> = (0..5).map(|_| header("cookie", &"x".repeat(8_000))).collect();
    assert_eq!(refusal(TOPIC, &total, &bet.value), "header `cookie` makes the headers too large");

    let value = vec![b'{'; contracts::topics::RECORD_BYTES_MAX + 1];
    assert_eq!(refusal(TOPIC, &[], &value), "the value has 262145 bytes, more than 262144");

    let many: Vec<(String, Bytes)> = (0..65).map(|_| header("baggage", &"x".repeat(9_000))).collect();
    assert_eq!(refusal(TOPIC, &many, b"?"), "no `ce_type` header, and the value is not a JSON object");

    // Deep nesting must not overflow the stack.
    let nested = format!(r#"{{"type":"casino.bets.v1.PlaceBet","data":{}}}"#, "[".repeat(100_000));
    refusal(TOPIC, &[], nested.as_bytes());
}

#[test]
fn empty_values_are_refused() {
    let bet = messages::sample_event(EventType::PlaceBet).encode(Format::Protobuf);
    assert_eq!(refusal(TOPIC, &bet.headers, b""), "the value is empty");
    assert_eq!(refusal(TOPIC, &[], b""), "the value is empty");
    assert_eq!(refusal(TOPIC, &bet.headers, &[0, 0, 0, 0, 1, 0]), "the value is empty");
    assert_eq!(refusal(TOPIC, &bet.headers, &[0, 0, 0]), "the schema registry's frame ends too early");
}

#[test]
fn broken_protobuf_is_refused() {
    let bet = messages::sample_event(EventType::PlaceBet).encode(Format::Protobuf);
    let cut = &bet.value[..bet.value.len() - 1];
    let message = refusal(TOPIC, &bet.headers, cut);
    assert!(message.starts_with("casino.bets.v1.PlaceBet: failed to decode Protobuf message"), "{message}");
    // JSON with the content type of protobuf, and the reverse.
    refusal(TOPIC, &bet.headers, br#"{"playerId":"hunter2-4929"}"#);
    let json = [header("ce_type", "casino.bets.v1.PlaceBet"), header("content-type", "application/json")];
    refusal(TOPIC, &json, &bet.value);
}

#[test]
fn types_are_refused_on_wrong_topics() {
    for event_type in EventType::ALL {
        let encoded = messages::sample_event(*event_type).encode(Format::Protobuf);
        for topic in contracts::Topic::ALL.iter().filter(|topic| **topic != event_type.topic()) {
            let message = refusal(topic.name(), &encoded.headers, &encoded.value);
            assert_eq!(message, format!("`{event_type}` does not belong on `{topic}`"));
        }
    }
}

#[test]
fn unknown_enum_values_are_refused() {
    let event_type = header("ce_type", "casino.payments.v1.ProviderReported");
    let topic = "casino.payments.commands.v1";
    for outcome in [r#""PROVIDER_OUTCOME_LOST""#, "77", r#""PROVIDER_OUTCOME_UNSPECIFIED""#, "0", "1.5"] {
        let value = format!(
            r#"{{"paymentId":"x","playerId":"p","outcome":{outcome},"amount":{{"minor":"1","currency":"EUR"}}}}"#
        );
        let message = refusal(topic, std::slice::from_ref(&event_type), value.as_bytes());
        assert!(message.contains("`outcome`"), "{outcome}: {message}");
    }
}
