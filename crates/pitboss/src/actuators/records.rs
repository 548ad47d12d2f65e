//! Faults that are records: some that cannot be decoded, and bets with trace headers that no correct tracer writes.
//!
//! The bets are those of a console: a key, one line of JSON, and headers. Their players are those of the supervisor.

use anyhow::Result;
use bus::RawRecord;
use contracts::EventType;
use contracts::headers::{BAGGAGE, CE_SOURCE, CE_TYPE, SENTRY_TRACE, TRACEPARENT, TRACESTATE};
use contracts::topics::Topic;
use faults::Values;
use uuid::Uuid;

use super::platform::Platform;
use crate::bet_record::{self, TraceHeaders};

/// Stake of a bet, in minor units.
const STAKE_MINOR: i64 = 100;
const CURRENCY: &str = "EUR";
/// Length of a header that is far longer than any limit.
const OVERLONG_BYTES: usize = 10_000;
/// A value that is neither JSON nor protobuf of any event: no protobuf field begins with these bytes.
const POISON: [u8; 8] = [0xff, 0xfe, 0xfd, 0x00, 0xff, 0xfe, 0xfd, 0x00];
/// Producer that these records name. It is not a Pitboss service.
pub(crate) const POISON_SOURCE: &str = "/foreign/bet-import";

/// Publishes records that cannot be decoded to a topic that notification reads.
pub(super) async fn publish_poison(platform: &Platform, values: &Values) -> Result<u64> {
    let records: Vec<RawRecord> = (0..values.get("count")).map(|_| poison()).collect();
    Ok(platform.broker()?.publish(&records).await?)
}

/// A record whose headers name its producer and a type, and whose value is no event of that type.
fn poison() -> RawRecord {
    let headers = [(CE_TYPE, EventType::BetSettled.as_str()), (CE_SOURCE, POISON_SOURCE)];
    RawRecord {
        topic: Topic::BetsEvents.name().to_owned(),
        // Different keys, so that several partitions are concerned.
        key: Some(Uuid::new_v4().to_string().into()),
        headers: headers.into_iter().map(|(name, text)| (name.to_owned(), text.into())).collect(),
        value: POISON.to_vec().into(),
    }
}

pub(super) async fn publish_hostile_headers(platform: &Platform, values: &Values) -> Result<u64> {
    publish_bets(platform, values.get("count"), hostile_headers).await
}

pub(super) async fn publish_sampling_conflicts(platform: &Platform, values: &Values) -> Result<u64> {
    publish_bets(platform, values.get("count"), conflicting_headers).await
}

/// Registers a player, deposits what the bets cost, and publishes them past the gateway.
async fn publish_bets(platform: &Platform, count: i64, headers_of: fn(i64) -> TraceHeaders) -> Result<u64> {
    let (broker, gateway) = (platform.broker()?, platform.gateway()?);
    let player = gateway.register(CURRENCY).await?;
    gateway.deposit(&player, STAKE_MINOR.saturating_mul(count), CURRENCY).await?;
    let records: Vec<RawRecord> =
        (0..count).map(|number| bet(&player.player_id, headers_of(number))).collect();
    let published = broker.publish(&records).await?;
    tracing::info!(player.id = player.player_id, published, "published bets of a player of our own");
    Ok(published)
}

fn bet(player_id: &str, headers: TraceHeaders) -> RawRecord {
    bet_record::place_bet(player_id, STAKE_MINOR, CURRENCY, headers)
}

/// Ids of a new trace and of a span in it, in hexadecimal digits.
struct Ids {
    trace: String,
    span: String,
}

impl Ids {
    fn new() -> Self {
        // No id may be all zeros.
        Self {
            trace: Uuid::new_v4().simple().to_string(),
            span: format!("{:016x}", rand::random::<u64>() | 1),
        }
    }

    fn traceparent(&self, flags: &str) -> Vec<u8> {
        format!("00-{}-{}-{flags}", self.trace, self.span).into_bytes()
    }

    fn sentry_trace(&self, sampled: &str) -> Vec<u8> {
        format!("{}-{}-{sampled}", self.trace, self.span).into_bytes()
    }
}

/// Trace headers that are damaged, doubled, cut or far too long. Ten kinds follow one another.
fn hostile_headers(number: i64) -> TraceHeaders {
    let (ids, other) = (Ids::new(), Ids::new());
    let valid = || (TRACEPARENT, ids.traceparent("01"));
    let traceparent = |value: Vec<u8>| vec![(TRACEPARENT, value)];
    match number.rem_euclid(10) {
        0 => traceparent(format!("00-{}-{}-01", "z".repeat(32), ids.span).into_bytes()),
        1 => traceparent(format!("00-{}-{}-01", "0".repeat(32), "0".repeat(16)).into_bytes()),
        2 => traceparent(ids.traceparent("01").into_iter().take(30).collect()),
        3 => traceparent([ids.traceparent("01"), vec![b'0'; OVERLONG_BYTES]].concat()),
        4 => vec![valid(), (TRACEPARENT, other.traceparent("01"))],
        5 => traceparent(ids.traceparent("01").to_ascii_uppercase()),
        6 => vec![(TRACEPARENT, vec![0xff; 55]), (BAGGAGE, vec![0xc3, 0x28])],
        7 => vec![(SENTRY_TRACE, b"not-a-trace".to_vec()), (TRACESTATE, b"=,=,==".to_vec())],
        8 => vec![valid(), (BAGGAGE, b"key=value,".repeat(OVERLONG_BYTES / 10))],
        _ => traceparent([b"ff".to_vec(), ids.traceparent("01").split_off(2)].concat()),
    }
}

/// Trace headers of one trace of which one says that it is sampled and another one that it is not. Four kinds follow one another.
fn conflicting_headers(number: i64) -> TraceHeaders {
    let ids = Ids::new();
    let baggage = |sampled: &str| {
        (BAGGAGE, format!("sentry-trace_id={},sentry-sampled={sampled}", ids.trace).into_bytes())
    };
    match number.rem_euclid(4) {
        0 => vec![(TRACEPARENT, ids.traceparent("01")), (SENTRY_TRACE, ids.sentry_trace("0"))],
        1 => vec![(TRACEPARENT, ids.traceparent("00")), (SENTRY_TRACE, ids.sentry_trace("1"))],
        2 => vec![(TRACEPARENT, ids.traceparent("01")), baggage("false")],
        _ => vec![(SENTRY_TRACE, ids.sentry_trace("0")), baggage("true")],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn bets_are_valid_with_any_trace_headers() {
        let player_id = Uuid::new_v4().to_string();
        for number in 0..20 {
            for headers in [hostile_headers(number), conflicting_headers(number)] {
                let record = bet(&player_id, headers);
                let event = contracts::Event::decode(&record.view()).unwrap();
                assert_eq!(event.message.event_type(), EventType::PlaceBet);
            }
        }
    }

    #[test]
    fn poison_is_no_event() {
        let record = poison();
        let error = contracts::Event::decode(&record.view()).unwrap_err();
        assert!(matches!(error, contracts::DecodeError::Protobuf { .. }), "{error}");
        let source = contracts::headers::last(&record.headers, CE_SOURCE).unwrap();
        assert_eq!(source, POISON_SOURCE, "a reader finds the producer by it");
        let bare = RawRecord { headers: Vec::new(), ..record };
        contracts::Event::decode(&bare.view()).unwrap_err();
    }

    #[test]
    fn kinds_of_hostile_headers_differ() {
        let shape = |headers: TraceHeaders| {
            let shape = headers.into_iter().map(|(name, value)| (name, value.len(), value.first().copied()));
            shape.collect::<Vec<_>>()
        };
        let kinds: BTreeSet<String> = (0..10).map(|n| format!("{:?}", shape(hostile_headers(n)))).collect();
        assert!(kinds.len() >= 8, "{kinds:?}"); // some differ only inside
        let doubled = bet("p", hostile_headers(4));
        let traceparents = doubled.headers.iter().filter(|(name, _)| name == TRACEPARENT);
        assert_eq!(traceparents.count(), 2, "a doubled header reaches the broker twice");
    }

    #[test]
    fn conflicting_headers_are_of_one_trace() {
        for number in 0..4 {
            let headers = conflicting_headers(number);
            let texts = headers.iter().map(|(_, value)| String::from_utf8(value.clone()).unwrap());
            let ids: BTreeSet<String> = texts
                .filter_map(|text| {
                    text.split(['-', '=', ',']).find(|part| part.len() == 32).map(str::to_owned)
                })
                .collect();
            assert_eq!(ids.len(), 1, "{headers:?}");
        }
    }
}
