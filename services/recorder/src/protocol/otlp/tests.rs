//! Tests of whole exports in both formats.

use prost::Message as _;
use serde_json::{Value, json};

use super::{
    Format::{Json, Protobuf},
    OtlpError,
    Signal::{Logs, Traces},
    messages::{self, Kind, LogRecord, any, attribute, text},
    to_envelope,
};
use crate::protocol::envelope::Envelope;

const BYTES_MAX: usize = 1 << 20;

/// Returns the headers of the items and all their entries.
fn entries(envelope: &[u8]) -> (Vec<Value>, Vec<Value>) {
    let envelope = Envelope::parse(envelope).expect("an envelope");
    let (mut headers, mut entries) = (Vec::new(), Vec::new());
    for item in &envelope.items {
        headers.push(serde_json::from_str(item.headers_raw).expect("JSON"));
        let payload: Value = serde_json::from_str(item.json().expect("JSON")).expect("JSON");
        entries.extend(payload["items"].as_array().expect("a list").iter().cloned());
    }
    (headers, entries)
}

fn spans_of_json(spans: &Value) -> Vec<Value> {
    let export = json!({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).to_string();
    entries(&to_envelope(Traces, Json, export.as_bytes(), BYTES_MAX).expect("an envelope")).1
}

/// A span as the SDKs of OpenTelemetry send it.
fn consumer_span() -> messages::Span {
    let link = messages::Link {
        trace_id: vec![3; 16],
        span_id: vec![4; 8],
        attributes: vec![attribute("sentry.link.type", text("message_origin"))],
        flags: 1,
    };
    messages::Span {
        trace_id: vec![0xab; 16],
        span_id: vec![1; 8],
        parent_span_id: vec![2; 8],
        name: "process bets".to_owned(),
        kind: 5,
        start_time_unix_nano: 1_700_000_000_250_000_000,
        end_time_unix_nano: 1_700_000_000_500_001_000,
        attributes: vec![
            attribute("messaging.system", text("kafka")),
            attribute("messaging.kafka.offset", any(Kind::Int(-7))),
            attribute("ratio", any(Kind::Double(0.5))),
            attribute("not.finite", any(Kind::Double(f64::NAN))),
            attribute("ok", any(Kind::Bool(true))),
            attribute("raw", any(Kind::Bytes(b"text".to_vec()))),
            attribute("no.text", any(Kind::Bytes(vec![0xff]))),
            attribute("list", any(Kind::List(messages::List { values: vec![text("a"), any(Kind::Int(1))] }))),
            attribute("map", any(Kind::Map(messages::Map { values: vec![attribute("k", text("v"))] }))),
        ],
        links: vec![link],
        status: Some(messages::Status { message: "no money".to_owned(), code: 2 }),
        flags: 0x301,
        ..messages::Span::default()
    }
}

/// The same export in JSON.
const CONSUMER_SPAN: &str = r#"{"resourceSpans":[{
    "resource":{"attributes":[{"key":"service.name","value":{"stringValue":"game"}},
        {"key":"telemetry.sdk.language","value":{"stringValue":"nodejs"}}]},
    "scopeSpans":[{"scope":{"name":"tracer","version":"1.2"},"spans":[{
        "traceId":"ABABABABABABABABABABABABABABABAB","spanId":"0101010101010101","parentSpanId":"0202020202020202",
        "name":"process bets","kind":5,"flags":769,
        "startTimeUnixNano":"1700000000250000000","endTimeUnixNano":1700000000500001000,
        "attributes":[
            {"key":"messaging.system","value":{"stringValue":"kafka"}},
            {"key":"messaging.kafka.offset","value":{"intValue":"-7"}},
            {"key":"ratio","value":{"doubleValue":0.5}},
            {"key":"not.finite","value":{"doubleValue":"NaN"}},
            {"key":"ok","value":{"boolValue":true}},
            {"key":"raw","value":{"bytesValue":"dGV4dA=="}},
            {"key":"no.text","value":{"bytesValue":"/w=="}},
            {"key":"list","value":{"arrayValue":{"values":[{"stringValue":"a"},{"intValue":"1"}]}}},
            {"key":"map","value":{"kvlistValue":{"values":[{"key":"k","value":{"stringValue":"v"}}]}}}],
        "links":[{"traceId":"03030303030303030303030303030303","spanId":"0404040404040404","flags":1,
            "attributes":[{"key":"sentry.link.type","value":{"stringValue":"message_origin"}}]}],
        "status":{"code":2,"message":"no money"}}]}]}]}"#;

#[test]
fn both_formats_of_a_span_give_the_same_envelope() {
    let resource =
        vec![attribute("service.name", text("game")), attribute("telemetry.sdk.language", text("nodejs"))];
    let bytes = messages::traces(resource, vec![consumer_span()]).encode_to_vec();
    let envelope = to_envelope(Traces, Protobuf, &bytes, BYTES_MAX).expect("an envelope");
    let of_json = to_envelope(Traces, Json, CONSUMER_SPAN.as_bytes(), BYTES_MAX).expect("an envelope");
    assert_eq!(String::from_utf8_lossy(&envelope), String::from_utf8_lossy(&of_json));

    let (headers, spans) = entries(&envelope);
    assert_eq!(headers[0]["content_type"], "application/vnd.sentry.items.span.v2+json");
    assert_eq!((&headers[0]["type"], &headers[0]["item_count"]), (&json!("span"), &json!(1)));
    let attribute = |kind: &str, value: Value| json!({"type": kind, "value": value});
    let string = |value: &str| attribute("string", json!(value));
    assert_eq!(
        spans,
        [json!({
            "trace_id": "ab".repeat(16), "span_id": "01".repeat(8), "parent_span_id": "02".repeat(8),
            "name": "process bets", "status": "error", "is_segment": true,
            "start_timestamp": 1_700_000_000.25, "end_timestamp": 1_700_000_000.500_001,
            "links": [{"trace_id": "03".repeat(16), "span_id": "04".repeat(8), "sampled": true,
                "attributes": {"sentry.link.type": string("message_origin")}}],
            "attributes": {
                "instrumentation.name": string("tracer"),
                "instrumentation.version": string("1.2"),
                "resource.service.name": string("game"),
                "resource.telemetry.sdk.language": string("nodejs"),
                "sentry.origin": string("auto.otlp.spans"),
                "sentry.platform": string("node"),
                "sentry.op": string("message"),
                "sentry.kind": string("consumer"),
                "sentry.is_remote": attribute("boolean", json!(true)),
                "sentry.status.message": string("no money"),
                "messaging.system": string("kafka"),
                "messaging.kafka.offset": attribute("integer", json!(-7)),
                "ratio": attribute("double", json!(0.5)),
                "ok": attribute("boolean", json!(true)),
                "raw": string("text"),
                "list": string("[\"a\",1]"),
                "map": string("{\"k\":\"v\"}"),
            },
        })]
    );
}

#[test]
fn resource_may_come_after_its_spans() {
    let export = messages::traces(vec![attribute("service.name", text("game"))], vec![consumer_span()]);
    let of_resource = &export.resource_spans[0];
    let without = messages::ResourceSpans { resource: None, ..of_resource.clone() };
    let alone = messages::ResourceSpans { resource: of_resource.resource.clone(), ..Default::default() };
    // Two encodings of a message one after the other are an encoding of both together.
    let group = [without.encode_to_vec(), alone.encode_to_vec()].concat();
    // The first field of a link is bytes, which have the form of a message on the wire.
    let bytes = messages::Link { trace_id: group, ..messages::Link::default() }.encode_to_vec();
    assert_eq!(
        to_envelope(Traces, Protobuf, &bytes, BYTES_MAX).expect("an envelope"),
        to_envelope(Traces, Protobuf, &export.encode_to_vec(), BYTES_MAX).expect("an envelope")
    );
}

#[test]
fn op_is_what_sentry_derives() {
    let op_and_description = |kind: u32, attributes: &[(&str, &str)]| {
        let attributes: Vec<Value> = attributes
            .iter()
            .map(|(key, text)| json!({"key": key, "value": {"stringValue": text}}))
            .collect();
        let span = spans_of_json(&json!([{"name": "n", "kind": kind, "attributes": attributes}])).remove(0);
        let value = |name: &str| span["attributes"][name]["value"].as_str().map(str::to_owned);
        (value("sentry.op").unwrap_or_default(), value("sentry.description"))
    };
    let op = |kind: u32, attributes: &[(&str, &str)]| op_and_description(kind, attributes).0;
    assert_eq!(op(1, &[]), "default");
    assert_eq!(op(2, &[("http.request.method", "GET")]), "http.server");
    assert_eq!(op(3, &[("http.method", "GET"), ("db.system", "redis")]), "http.client");
    assert_eq!(op(1, &[("http.request.method", "GET")]), "http");
    assert_eq!(op(1, &[("http.request.method", "GET"), ("sentry.http.prefetch", "1")]), "http.prefetch");
    assert_eq!(op(3, &[("db.system.name", "mongodb"), ("rpc.service", "x")]), "db");
    assert_eq!(op(3, &[("gen_ai.provider.name", "x")]), "gen_ai");
    assert_eq!(op(3, &[("rpc.service", "x"), ("messaging.system", "kafka")]), "rpc");
    assert_eq!(op(4, &[("messaging.system", "kafka")]), "message", "not queue.publish");
    assert_eq!(op(1, &[("faas.trigger", "timer")]), "timer");
    let sent = [("messaging.system", "kafka"), ("sentry.op", "queue.publish")];
    assert_eq!(op(4, &sent), "queue.publish", "the sender's own");

    let description = |attributes: &[(&str, &str)]| op_and_description(3, attributes).1;
    assert_eq!(description(&[]), None);
    assert_eq!(description(&[("db.query.text", "SELECT 1")]).as_deref(), Some("SELECT 1"));
    let request = [("http.request.method", "GET"), ("url.full", "http://x/y")];
    assert_eq!(description(&request).as_deref(), Some("GET http://x/y"));
    let manual = [("sentry.origin", "manual"), ("db.query.text", "SELECT 1")];
    assert_eq!(description(&manual).as_deref(), Some("n"));
    let sent = [("db.query.text", "SELECT 1"), ("sentry.description", "mine")];
    assert_eq!(description(&sent).as_deref(), Some("mine"));
}

#[test]
fn environment_of_the_resource_is_that_of_its_records() {
    let environment_of = |resource: &[(&str, &str)], own: Option<&str>| {
        let resource = resource.iter().map(|(name, value)| attribute(name, text(value))).collect();
        let mut span = consumer_span();
        span.attributes.extend(own.map(|value| attribute("sentry.environment", text(value))));
        let bytes = messages::traces(resource, vec![span]).encode_to_vec();
        let envelope = to_envelope(Traces, Protobuf, &bytes, BYTES_MAX).expect("an envelope");
        entries(&envelope).1[0]["attributes"]["sentry.environment"]["value"].clone()
    };
    let (old, new) = ("deployment.environment", "deployment.environment.name");
    assert_eq!(environment_of(&[(old, "prod")], None), "prod");
    assert_eq!(environment_of(&[(new, "prod")], None), "prod");
    assert_eq!(environment_of(&[(new, "new"), (old, "old")], None), "old");
    assert_eq!(environment_of(&[(new, "prod")], Some("its own")), "its own");
    assert_eq!(environment_of(&[("service.version", "1.0")], None), Value::Null);

    let attributes = vec![attribute(new, text("prod"))];
    let resource = Some(messages::Resource { attributes, ..messages::Resource::default() });
    let scope_logs = vec![messages::ScopeLogs { scope: None, log_records: vec![LogRecord::default()] }];
    let export = messages::Logs { resource_logs: vec![messages::ResourceLogs { resource, scope_logs }] };
    let envelope = to_envelope(Logs, Protobuf, &export.encode_to_vec(), BYTES_MAX).expect("an envelope");
    assert_eq!(entries(&envelope).1[0]["attributes"]["sentry.environment"]["value"], "prod", "of a log, too");
}

#[test]
fn span_without_a_parent_in_its_process_is_a_segment() {
    let parent = "02".repeat(8);
    let spans = spans_of_json(&json!([
        {}, {"parentSpanId": ""}, {"parentSpanId": "0".repeat(16)},
        {"parentSpanId": parent, "flags": 0x300}, {"parentSpanId": parent, "flags": 0x100}, {"parentSpanId": parent},
    ]));
    let segments: Vec<bool> = spans.iter().map(|span| span["is_segment"] == true).collect();
    assert_eq!(segments, [true, true, true, true, false, false]);
    let remote: Vec<&Value> =
        spans.iter().map(|span| &span["attributes"]["sentry.is_remote"]["value"]).collect();
    assert_eq!(remote[3..], [&json!(true), &json!(false), &Value::Null]);
    assert!(spans[0].get("start_timestamp").is_none() && spans[0].get("trace_id").is_none());
    assert_eq!((&spans[0]["status"], &spans[0]["name"]), (&json!("ok"), &json!("")));
}

#[test]
fn log_records_become_logs() {
    let record = LogRecord {
        time_unix_nano: 1_700_000_000_250_000_000,
        observed_time_unix_nano: 1,
        severity_number: 17,
        severity_text: "INFO".to_owned(),
        body: Some(text("no money")),
        attributes: vec![attribute("player.id", text("p"))],
        trace_id: vec![0xab; 16],
        span_id: vec![1; 8],
    };
    let bare = LogRecord {
        observed_time_unix_nano: 1_700_000_000_000_000_000,
        severity_text: "Warning".to_owned(),
        body: Some(any(Kind::Map(messages::Map { values: vec![attribute("k", text("v"))] }))),
        ..LogRecord::default()
    };
    let scope_logs = vec![messages::ScopeLogs { scope: None, log_records: vec![record, bare] }];
    let export =
        messages::Logs { resource_logs: vec![messages::ResourceLogs { resource: None, scope_logs }] };
    let envelope = to_envelope(Logs, Protobuf, &export.encode_to_vec(), BYTES_MAX).expect("an envelope");
    let (headers, logs) = entries(&envelope);
    assert_eq!(headers[0]["content_type"], "application/vnd.sentry.items.log+json");
    let string = |value: &str| json!({"type": "string", "value": value});
    let first = json!({
        "timestamp": 1_700_000_000.25, "trace_id": "ab".repeat(16), "span_id": "01".repeat(8), "level": "error",
        "body": "no money", "attributes": {"player.id": string("p"), "sentry.origin": string("auto.otlp.logs")},
    });
    let second = json!({
        "timestamp": 1_700_000_000.0, "level": "warn", "body": "{\"k\":\"v\"}",
        "attributes": {"sentry.origin": string("auto.otlp.logs")},
    });
    assert_eq!(logs, [first, second]);

    let of_json = br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[
        {"timeUnixNano":"1700000000250000000","severityNumber":17,"severityText":"INFO","body":{"stringValue":"no money"},
         "traceId":"abababababababababababababababab","spanId":"0101010101010101",
         "attributes":[{"key":"player.id","value":{"stringValue":"p"}}]},
        {"observedTimeUnixNano":"1700000000000000000","severityText":"Warning",
         "body":{"kvlistValue":{"values":[{"key":"k","value":{"stringValue":"v"}}]}}}]}]}]}"#;
    assert_eq!(to_envelope(Logs, Json, of_json, BYTES_MAX).expect("an envelope"), envelope);
}

#[test]
fn body_of_a_log_is_shown_whatever_its_type() {
    let bodies = json!([
        {"boolValue": true}, {"intValue": "-7"}, {"doubleValue": 12.5}, {"arrayValue": {"values": [{"intValue": 1}]}}, {},
    ]);
    let bodies = bodies.as_array().expect("a list");
    let records: Vec<Value> = bodies.iter().map(|body| json!({"body": body})).collect();
    let export = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}).to_string();
    let (_, logs) = entries(&to_envelope(Logs, Json, export.as_bytes(), BYTES_MAX).expect("an envelope"));
    let shown: Vec<Option<&str>> = logs.iter().map(|log| log["body"].as_str()).collect();
    assert_eq!(shown, [Some("true"), Some("-7"), Some("12.5"), Some("[1]"), None]);
}

#[test]
fn large_export_is_split_into_items() {
    let spans: Vec<Value> = (0..2_001).map(|number| json!({"name": number.to_string()})).collect();
    let export = json!({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).to_string();
    let (headers, spans) =
        entries(&to_envelope(Traces, Json, export.as_bytes(), BYTES_MAX).expect("an envelope"));
    let counts: Vec<&Value> = headers.iter().map(|header| &header["item_count"]).collect();
    assert_eq!(counts, [&json!(1_000), &json!(1_000), &json!(1)]);
    let names: Vec<&str> = spans.iter().filter_map(|span| span["name"].as_str()).collect();
    let numbers: Vec<String> = (0..spans.len()).map(|number| number.to_string()).collect();
    assert_eq!(names, numbers);
}

#[test]
fn small_export_with_a_huge_envelope_is_refused() {
    // A span needs two bytes, and repeats the attributes of its resource.
    let resource = vec![attribute("process.command_line", text(&"a".repeat(10_000)))];
    let export = messages::traces(resource, vec![messages::Span::default(); 1_000]).encode_to_vec();
    assert!(export.len() < 20_000);
    let refused = to_envelope(Traces, Protobuf, &export, BYTES_MAX);
    assert_eq!(refused, Err(OtlpError::TooLarge(BYTES_MAX)));
    let kept = to_envelope(Traces, Protobuf, &export, 20 << 20).expect("an envelope");
    assert_eq!(entries(&kept).1.len(), 1_000);
}

#[test]
fn further_attributes_are_left_out() {
    let attributes: Vec<_> = (0..1_000).map(|number| attribute(&format!("a{number}"), text("x"))).collect();
    let span = messages::Span { attributes, ..messages::Span::default() };
    let export = messages::traces(Vec::new(), vec![span]).encode_to_vec();
    let spans = entries(&to_envelope(Traces, Protobuf, &export, BYTES_MAX).expect("an envelope")).1;
    let kept = |name: &str| spans[0]["attributes"].get(name).is_some();
    assert!(kept("a0") && kept("a511") && !kept("a512"));
}

#[test]
fn what_is_no_export_is_refused() {
    for (format, export) in [
        (Protobuf, &b"not protobuf"[..]),
        (Protobuf, b"\x0a\x03\x12\x02\x12"),
        // A name that is not UTF-8.
        (Protobuf, b"\x0a\x07\x12\x05\x12\x03\x2a\x01\xff"),
        (Json, b"{\"resourceSpans\":["),
        (Json, b"[]"),
        (Json, b""),
    ] {
        let refused = to_envelope(Traces, format, export, BYTES_MAX);
        assert!(matches!(refused, Err(OtlpError::Malformed(_))), "{export:?}: {refused:?}");
    }
    for (format, export) in [(Protobuf, &b""[..]), (Json, b"{}"), (Json, b"{\"resourceSpans\":[]}")] {
        let empty = to_envelope(Traces, format, export, BYTES_MAX).expect("an envelope");
        assert_eq!(empty, b"{}\n", "{export:?}");
    }
    let partly = json!([{"name": "a", "kind": {}, "attributes": [7, {"key": "k"}]}, 7, {"name": "b", "traceId": "xyz"}]);
    let names: Vec<Value> = spans_of_json(&partly).iter().map(|span| span["name"].clone()).collect();
    assert_eq!(names, [json!("a"), json!("b")], "an invalid member costs only itself");
}

#[test]
fn export_of_another_signal_is_refused() {
    let spans = messages::traces(Vec::new(), vec![consumer_span()]).encode_to_vec();
    let logs = |record: LogRecord| {
        let scope_logs = vec![messages::ScopeLogs { scope: None, log_records: vec![record] }];
        let resource_logs = vec![messages::ResourceLogs { resource: None, scope_logs }];
        messages::Logs { resource_logs }.encode_to_vec()
    };
    let timed = logs(LogRecord { time_unix_nano: 1, ..LogRecord::default() });
    let observed = logs(LogRecord { observed_time_unix_nano: 1, ..LogRecord::default() });
    let severe = logs(LogRecord { severity_number: 9, ..LogRecord::default() });
    for (signal, export) in [(Logs, &spans), (Traces, &timed), (Traces, &observed), (Traces, &severe)] {
        let refused = to_envelope(signal, Protobuf, export, BYTES_MAX);
        let Err(OtlpError::Malformed(reason)) = &refused else { panic!("{signal:?}: {refused:?}") };
        assert!(reason.contains("another signal"), "{reason}");
    }
}

#[test]
fn damaged_exports_cause_no_panic() {
    let export = messages::traces(vec![attribute("a", text("b"))], vec![consumer_span()]).encode_to_vec();
    for length in 0..export.len() {
        drop(to_envelope(Traces, Protobuf, &export[..length], BYTES_MAX));
    }
    for position in 0..export.len() {
        let mut damaged = export.clone();
        damaged[position] ^= 0xff;
        if let Ok(envelope) = to_envelope(Traces, Protobuf, &damaged, BYTES_MAX) {
            assert!(Envelope::parse(&envelope).is_ok(), "byte {position}");
        }
    }
}
