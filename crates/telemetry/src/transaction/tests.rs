//! The same segment in both encodings, compared with files. The recorder's tests compare the answers to both.
//! `UPDATE_SCHEMAS=1` writes the files.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{
    Link, SpanContext, SpanId, SpanKind, Status as OtelStatus, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Array, KeyValue, StringValue, Value as Attribute};
use opentelemetry_sdk::trace::SpanData;
use serde_json::{Value, json};

use super::stream::{self, Streamed};
use super::{Finished, LiveSpans, encode};
use crate::attributes as names;
use crate::config::About;
use crate::sampling_context::SamplingContext;

const TRACE: u128 = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c;
const PUBLISH: u64 = 0xb7ad_6b71_6920_3331;
const ROOT: u64 = 0xaaaa_aaaa_aaaa_aaa1;
const FIND: &str = r#"{"find":"bets","filter":{"_id":"?"}}"#;
/// Begin of the segment, in seconds since the epoch.
const BEGIN_S: u64 = 1_700_000_000;

fn position(trace_id: u128, span_id: u64) -> SpanContext {
    let (trace_id, span_id) = (TraceId::from(trace_id), SpanId::from(span_id));
    SpanContext::new(trace_id, span_id, TraceFlags::SAMPLED, false, TraceState::default())
}

/// A span below a parent. Its times are in milliseconds after the begin of the segment.
fn span(ids: (u64, u64), name: &str, times_ms: (u64, u64), attributes: Vec<KeyValue>) -> SpanData {
    let at = |ms| SystemTime::UNIX_EPOCH + Duration::from_secs(BEGIN_S) + Duration::from_millis(ms);
    SpanData {
        span_context: position(TRACE, ids.0),
        parent_span_id: SpanId::from(ids.1),
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: Cow::Owned(name.to_owned()),
        start_time: at(times_ms.0),
        end_time: at(times_ms.1),
        attributes,
        dropped_attributes_count: 0,
        events: Default::default(),
        links: Default::default(),
        status: OtelStatus::Unset,
        instrumentation_scope: Default::default(),
    }
}

fn text(name: &'static str, value: &'static str) -> KeyValue {
    KeyValue::new(name, value)
}

fn about() -> About {
    About {
        service: "game".to_owned(),
        release: "game@1.2.3".to_owned(),
        environment: "test".to_owned(),
        in_app: Vec::new(),
    }
}

/// The handling of a record, which failed after a publish without an answer.
fn root() -> SpanData {
    let mut root = span(
        (ROOT, PUBLISH),
        "casino.bets.commands.v1",
        (0, 500),
        vec![
            text(names::SENTRY_OP, "queue.process"),
            text(names::SENTRY_SOURCE, "task"),
            text(names::SENTRY_ORIGIN, "auto.queue.kafka"),
            text(names::MESSAGING_SYSTEM, "kafka"),
            text(names::MESSAGING_DESTINATION_NAME, "casino.bets.commands.v1"),
            text(names::MESSAGING_DESTINATION_PARTITION_ID, "4"),
            text(names::MESSAGING_CONSUMER_GROUP_NAME, "game"),
            KeyValue::new(names::MESSAGING_KAFKA_OFFSET, 1_234_i64),
            KeyValue::new(names::MESSAGING_MESSAGE_RECEIVE_LATENCY, 2_i64),
            text(names::USER_ID, "player-7"),
            KeyValue::new("flag.evaluation.payment.random-failure", true),
            KeyValue::new("share", 0.5_f64),
            text("user.password", "hunter2"),
            KeyValue::new("card", 5_555_555_555_554_444_i64),
            text(names::SENTRY_STATUS, "unavailable"),
        ],
    );
    let origin = vec![text(names::SENTRY_LINK_TYPE, "message_origin")];
    root.links.links.push(Link::new(position(0x11, 0x22), origin, 0));
    root
}

fn children() -> Vec<SpanData> {
    let key = Attribute::Array(Array::String(vec![StringValue::from("session:?")]));
    let query = vec![
        text(names::SENTRY_OP, "db"),
        text(names::SENTRY_ORIGIN, "auto.db"),
        text("db.system", "mongodb"),
        text("db.operation", "find"),
        text("db.collection.name", "bets"),
    ];
    let read = vec![
        text(names::SENTRY_OP, "cache.get"),
        text(names::SENTRY_ORIGIN, "auto.cache.redis"),
        KeyValue::new(names::CACHE_KEY, key),
        KeyValue::new(names::CACHE_HIT, false),
    ];
    let call = vec![
        text(names::SENTRY_OP, "http.client"),
        text("server.address", "127.0.0.1"),
        KeyValue::new(names::HTTP_RESPONSE_STATUS_CODE, 503_i64),
    ];
    let publish = vec![
        text(names::SENTRY_OP, "queue.publish"),
        text(names::SENTRY_ORIGIN, "auto.queue.kafka"),
        text(names::MESSAGING_SYSTEM, "kafka"),
        text(names::MESSAGING_DESTINATION_NAME, "casino.payments.commands.v1"),
        text(names::SENTRY_STATUS, "deadline_exceeded"),
    ];
    vec![
        span((0xaaaa_aaaa_aaaa_aaa2, ROOT), FIND, (10, 20), query),
        span((0xaaaa_aaaa_aaaa_aaa3, ROOT), "session:?", (20, 30), read),
        span((0xaaaa_aaaa_aaaa_aaa4, ROOT), "GET /internal/v1/rules", (30, 40), call),
        span((0xaaaa_aaaa_aaaa_aaa5, ROOT), "casino.payments.commands.v1", (40, 490), publish),
    ]
}

fn finished(root: SpanData, children: Vec<SpanData>) -> Finished {
    let dsc = SamplingContext {
        trace_id: format!("{TRACE:032x}"),
        public_key: Some("0123456789abcdef0123456789abcdef".to_owned()),
        sample_rate: Some("1".to_owned()),
        sampled: Some("true".to_owned()),
        ..SamplingContext::default()
    };
    Finished {
        root,
        children,
        dsc: Arc::new(dsc),
        profile: None,
        discarded: false,
        _live: LiveSpans::default(),
    }
}

fn streamed(segments: &[Finished]) -> Vec<Streamed> {
    stream::envelopes(segments, &segments[0].dsc, &about()).unwrap()
}

/// The header, the header of the only item and its payload. The stated length is that of the payload.
fn parsed(envelope: &[u8]) -> [Value; 3] {
    let text = std::str::from_utf8(envelope).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let [header, item, payload] = lines.as_slice() else { panic!("{text}") };
    let parsed = [header, item, payload].map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert_eq!(parsed[1]["length"], payload.len());
    parsed
}

/// Replaces what differs from one run to the next.
fn comparable(value: &mut Value) {
    let Value::Object(members) = value else {
        value.as_array_mut().into_iter().flatten().for_each(comparable);
        return;
    };
    members.remove("length");
    for (name, member) in members {
        match name.as_str() {
            "event_id" => *member = json!("e".repeat(32)),
            "sent_at" => *member = json!("2026-01-01T00:00:00Z"),
            "version" => *member = json!("0.0.0"),
            "sentry.sdk.version" => *member = json!({"type": "string", "value": "0.0.0"}),
            _ => comparable(member),
        }
    }
}

#[track_caller]
fn assert_file(name: &str, envelope: &[u8]) {
    let path = format!("{}/tests/segment/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let mut found = Value::from(parsed(envelope).to_vec());
    comparable(&mut found);
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(&path, format!("{found:#}\n")).unwrap();
    }
    let expected: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(found, expected, "{path} differs from\n{found:#}");
}

#[test]
fn segment_is_encoded_in_both_lifecycles() {
    let segment = finished(root(), children());
    let mut transaction = Vec::new();
    encode::transaction(&segment, &about(), &mut transaction).unwrap();
    assert_file("static", &transaction);
    let [stream]: [Streamed; 1] = streamed(&[segment]).try_into().unwrap();
    assert_file("stream", &stream.bytes);
}

/// Number of spans in each envelope, as counted and as sent.
fn counts(envelopes: &[Streamed]) -> Vec<(u64, usize)> {
    let sent = |envelope: &Streamed| {
        let [_, item, payload] = parsed(&envelope.bytes);
        assert_eq!(item["item_count"], envelope.spans);
        payload["items"].as_array().unwrap().len()
    };
    envelopes.iter().map(|envelope| (envelope.spans, sent(envelope))).collect()
}

#[test]
fn segments_of_a_trace_share_an_envelope() {
    let second = span((0xbbbb_bbbb_bbbb_bbb1, PUBLISH), "second", (600, 700), Vec::new());
    let envelopes = streamed(&[finished(root(), children()), finished(second, Vec::new())]);
    assert_eq!(counts(&envelopes), [(6, 6)]);
    let [_, _, payload] = parsed(&envelopes[0].bytes);
    let of = |position: usize, name: &str| payload["items"][position]["attributes"][name]["value"].clone();
    assert_eq!(of(4, "sentry.segment.id"), "aaaaaaaaaaaaaaa1");
    assert_eq!((of(5, "sentry.segment.id"), of(5, "user.id")), (json!("bbbbbbbbbbbbbbb1"), Value::Null));
    assert_eq!((of(5, "sentry.op"), of(5, "sentry.origin")), (json!("default"), json!("manual")));
}

#[test]
fn envelope_is_bounded_in_spans_and_bytes() {
    let child = |number: u64, name: &str| span((number + 1, ROOT), name, (0, 1), Vec::new());
    let small = (0..1_000).map(|number| child(number, "a")).collect();
    let segment = finished(span((ROOT, PUBLISH), "s", (0, 1), Vec::new()), small);
    assert_eq!(counts(&streamed(&[segment])), [(1_000, 1_000), (1, 1)]);

    let long = "x".repeat(2_000);
    let large = (0..900).map(|number| child(number, &long)).collect();
    let envelopes = streamed(&[finished(root(), large)]);
    assert!(envelopes.len() > 1 && envelopes.iter().all(|envelope| envelope.bytes.len() < 1_100 * 1_024));
    assert_eq!(envelopes.iter().map(|envelope| envelope.spans).sum::<u64>(), 901);
}
