use super::*;

const SECRET: &[u8] = b"a secret of this test";
const NOW_MS: i64 = 1_700_000_000_000;
const EXPIRES_AT_MS: i64 = NOW_MS + 60_000;

fn slow_by(delay_ms: i64) -> String {
    sign(&[(FaultId::ConsumerSlow, vec![("delay_ms".to_owned(), delay_ms)])], EXPIRES_AT_MS, SECRET)
}

fn slow_in(entry: &str) -> Result<Option<Values>, EntryError> {
    verify(entry, FaultId::ConsumerSlow, SECRET, NOW_MS)
}

/// The entry's signature under another payload.
fn with_payload(entry: &str, payload: &str) -> String {
    let (_, signature) = entry.split_once('.').unwrap();
    format!("{}.{signature}", URL_SAFE_NO_PAD.encode(payload))
}

#[test]
fn signed_entry_returns_its_values() {
    assert_eq!(slow_in(&slow_by(70)).unwrap().unwrap().get("delay_ms"), 70);
    let two = sign(
        &[(FaultId::UserUnauthorized, Vec::new()), (FaultId::ConsumerSlow, Vec::new())],
        EXPIRES_AT_MS,
        SECRET,
    );
    assert_eq!(slow_in(&two).unwrap(), Some(Values::defaults(FaultId::ConsumerSlow)));
    assert!(verify(&two, FaultId::UserUnauthorized, SECRET, NOW_MS).unwrap().is_some());
    assert_eq!(verify(&two, FaultId::GameRtpDrift, SECRET, NOW_MS), Ok(None));
}

#[test]
fn entry_needs_no_escaping_in_baggage() {
    let entry = slow_by(70);
    assert!(entry.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)), "{entry}");
    assert!(entry.len() < 160, "{} bytes", entry.len());
}

#[test]
fn tampered_entry_is_refused() {
    let entry = slow_by(70);
    for place in 0..entry.len() {
        let mut bytes = entry.clone().into_bytes();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        let tampered = String::from_utf8(bytes).unwrap();
        assert!(slow_in(&tampered).is_err(), "byte {place} of {entry}");
    }
    assert_eq!(
        slow_in(&with_payload(&entry, &format!("v1;{EXPIRES_AT_MS};consumer.slow,delay_ms=71"))),
        Err(EntryError::Signature)
    );
    assert_eq!(
        slow_in(&with_payload(&entry, &format!("v1;{};consumer.slow,delay_ms=70", EXPIRES_AT_MS + 1))),
        Err(EntryError::Signature)
    );
}

#[test]
fn signature_does_not_fit_another_fault() {
    let entry = slow_by(70);
    let replayed = with_payload(&entry, &format!("v1;{EXPIRES_AT_MS};game.payout-scale"));
    assert_eq!(verify(&replayed, FaultId::GamePayoutScale, SECRET, NOW_MS), Err(EntryError::Signature));
    let added = with_payload(&entry, &format!("v1;{EXPIRES_AT_MS};consumer.slow,delay_ms=70;game.rtp-drift"));
    assert_eq!(verify(&added, FaultId::GameRtpDrift, SECRET, NOW_MS), Err(EntryError::Signature));
}

#[test]
fn entry_expires_at_its_time() {
    let entry = slow_by(70);
    let at = |now_ms| verify(&entry, FaultId::ConsumerSlow, SECRET, now_ms);
    assert!(at(EXPIRES_AT_MS - 1).is_ok());
    assert_eq!(at(EXPIRES_AT_MS), Err(EntryError::Expired));
    assert_eq!(at(EXPIRES_AT_MS + 60_000), Err(EntryError::Expired));
}

#[test]
fn other_secret_and_no_secret_are_refused() {
    let entry = slow_by(70);
    let with = |secret: &[u8]| verify(&entry, FaultId::ConsumerSlow, secret, NOW_MS);
    assert_eq!(with(b"another secret"), Err(EntryError::Signature));
    assert_eq!(with(b""), Err(EntryError::NoSecret));
    let unsigned = sign(&[(FaultId::ConsumerSlow, Vec::new())], EXPIRES_AT_MS, b"");
    assert_eq!(verify(&unsigned, FaultId::ConsumerSlow, b"", NOW_MS), Err(EntryError::NoSecret));
}

#[test]
fn signed_values_outside_bounds_are_refused() {
    assert_eq!(slow_in(&slow_by(10_001)), Err(EntryError::Malformed));
    let unknown = sign(&[(FaultId::ConsumerSlow, vec![("delay_s".to_owned(), 1)])], EXPIRES_AT_MS, SECRET);
    assert_eq!(slow_in(&unknown), Err(EntryError::Malformed));
}

#[test]
fn signature_for_another_purpose_is_refused() {
    let payload = format!("v1;{EXPIRES_AT_MS};consumer.slow");
    let mac = Hmac::<Sha256>::new_from_slice(SECRET).unwrap().chain_update(payload.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    let entry = format!("{}.{signature}", URL_SAFE_NO_PAD.encode(&payload));
    assert_eq!(slow_in(&entry), Err(EntryError::Signature));
}

#[test]
fn hostile_entry_is_refused() {
    let long = "A".repeat(BYTES_MAX + 1);
    for entry in ["", ".", "a.b", "djE.djE", "payment.random-failure", "%2E", "ä.ö", long.as_str()] {
        assert!(slow_in(entry).is_err(), "{entry}");
    }
}

#[test]
fn header_names_fault_and_values() {
    assert_eq!(parse_header("user.unauthorized"), Ok((FaultId::UserUnauthorized, Vec::new())));
    assert_eq!(
        parse_header(" consumer.slow ; delay_ms = 70 "),
        Ok((FaultId::ConsumerSlow, vec![("delay_ms".to_owned(), 70)]))
    );
}

#[test]
fn wrong_header_is_refused() {
    let error = |text: &str| parse_header(text).unwrap_err();
    assert!(matches!(error(""), HeaderError::Fault(_)));
    assert!(matches!(error("consumer.sloww"), HeaderError::Fault(_)));
    assert!(matches!(error("consumer.slow;delay_ms"), HeaderError::Param(_)));
    assert!(matches!(error("consumer.slow;delay_ms=soon"), HeaderError::Param(_)));
    assert!(matches!(error("consumer.slow;"), HeaderError::Param(_)));
    assert!(matches!(error("consumer.slow;delay_s=1"), HeaderError::Value(ValueError::Unknown { .. })));
    assert!(matches!(error("consumer.slow;delay_ms=0"), HeaderError::Value(ValueError::OutOfBounds { .. })));
    assert_eq!(error(&"x".repeat(BYTES_MAX + 1)), HeaderError::TooLong);
}

#[test]
fn fault_beyond_one_request_is_refused() {
    use FaultId::{
        AnalyticsSlowAggregation, ConsumerCrashLoop, ConsumerStuck, KafkaHalfOpen, KafkaReplyLost,
        MongoStall, NotificationProviderDown, PaymentProviderDown,
    };
    for id in [
        AnalyticsSlowAggregation,
        ConsumerCrashLoop,
        ConsumerStuck,
        KafkaHalfOpen,
        KafkaReplyLost,
        MongoStall,
        NotificationProviderDown,
        PaymentProviderDown,
    ] {
        assert_eq!(parse_header(id.as_str()), Err(HeaderError::NotForRequests(id)));
    }
    let error = parse_header("kafka.half-open").unwrap_err().to_string();
    assert_eq!(
        error,
        "`kafka.half-open` cannot be limited to one request, but to: all traffic, one release, one service"
    );
    // Everything else is accepted with its defaults.
    for id in FaultId::ALL {
        assert_eq!(parse_header(id.as_str()).is_ok(), id.definition().may_be_in_request(), "{id}");
    }
}

#[test]
fn header_becomes_entry() {
    let (id, values) = parse_header("game.rtp-drift;rtp_percent=50").unwrap();
    let entry = sign(&[(id, values)], EXPIRES_AT_MS, SECRET);
    assert_eq!(verify(&entry, id, SECRET, NOW_MS).unwrap().unwrap().get("rtp_percent"), 50);
}
