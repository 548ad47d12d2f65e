//! The cost of an envelope grows linearly with its bytes, whatever its entries are.

use std::time::Duration;

use recorder::protocol::{assembly::Assembly, digest, envelope::Envelope, trace::Source};
use testkit::thread_cpu_time;

/// Limit for sixteen times the entries. Linear work takes sixteen times as long, or up to forty times when the entries no
/// longer fit the processor's cache. Quadratic work takes 256 times as long and was measured as 190 to 250.
const RATIO_MAX: f64 = 80.0;
const GROWTH: usize = 16;
const ENTRIES: usize = 2_500;
const ROUNDS: usize = 5;

fn envelope(
    item_type: &str,
    before: &str,
    entry: impl Fn(usize) -> String,
    after: &str,
    count: usize,
) -> String {
    let entries: Vec<String> = (0..count).map(entry).collect();
    format!("{{}}\n{{\"type\":\"{item_type}\"}}\n{before}{}{after}\n", entries.join(","))
}

fn work(body: &str) -> Duration {
    let envelope = Envelope::parse(body.as_bytes()).expect("an envelope");
    let begun = thread_cpu_time();
    let read = digest::digest(1, 1.0, &envelope);
    let mut assembly = Assembly::new([0xab; 16], 64 << 20);
    assembly.add(Source { seq: 1, received_at: 1.0, project: 1, name: "x" }, &envelope);
    let trace = assembly.finish();
    let took = thread_cpu_time() - begun;
    assert!(read.kinds.0 > 0 && trace.is_none_or(|trace| !trace.truncated));
    took
}

#[test]
fn cost_is_linear_in_the_entries() {
    let traces = |n: usize| format!(r#"{{"trace_id":"{n:032x}"}}"#);
    let same_trace = |n: usize| {
        format!(
            r#"{{"trace_id":"{}","span_id":"{n:016x}","parent_span_id":"{:016x}"}}"#,
            "ab".repeat(16),
            n / 2
        )
    };
    let user = |n: usize| format!(r#"{{"did":"{n}","exited":1}}"#);
    let lost = |n: usize| format!(r#"{{"reason":"r{n}","category":"c","quantity":1}}"#);
    let frame = |n: usize| format!(r#"{{"function":"f{n}"}}"#);
    let name = |n: usize| format!(r#""k{n}":{{"value":1}}"#);
    type Entry<'a> = &'a dyn Fn(usize) -> String;
    let shapes: [(&str, &str, Entry<'_>, &str); 10] = [
        ("log", r#"{"items":["#, &traces, "]}"),
        ("trace_metric", r#"{"items":["#, &traces, "]}"),
        ("span", r#"{"items":["#, &traces, "]}"),
        ("span", r#"{"items":["#, &same_trace, "]}"),
        (
            "transaction",
            r#"{"contexts":{"trace":{"trace_id":"abababababababababababababababab"}},"spans":["#,
            &same_trace,
            "]}",
        ),
        ("event", r#"{"exception":[{"type":"E","stacktrace":{"frames":["#, &frame, "]}}]}"),
        ("event", r#"{"fingerprint":["#, &frame, "]}"),
        ("sessions", r#"{"attrs":{"release":"r"},"aggregates":["#, &user, "]}"),
        ("client_report", r#"{"discarded_events":["#, &lost, "]}"),
        ("log", r#"{"items":[{"trace_id":"abababababababababababababababab","attributes":{"#, &name, "}}]}"),
    ];
    for (item_type, before, entry, after) in shapes {
        let few = envelope(item_type, before, entry, after, ENTRIES);
        let many = envelope(item_type, before, entry, after, GROWTH * ENTRIES);
        let least = |body: &str| (0..ROUNDS).map(|_| work(body)).min().expect("rounds");
        let (few, many) = (least(&few), least(&many));
        let ratio = many.as_secs_f64() / few.as_secs_f64();
        assert!(ratio < RATIO_MAX, "{item_type} {before}: {few:?}, then {many:?}");
    }
}

#[test]
fn digest_texts_are_short() {
    let long = "x".repeat(1 << 20);
    let body = format!(
        "{{}}\n{{\"type\":\"transaction\"}}\n{{\"transaction\":\"{long}\",\"release\":\"{long}\",\"environment\":\"{long}\",\"contexts\":{{\"trace\":{{\"trace_id\":\"{}\",\"op\":\"{long}\"}}}}}}\n{{\"type\":\"event\"}}\n{{\"release\":\"{long}\",\"user\":{{\"id\":\"{long}\"}}}}\n{{\"type\":\"session\"}}\n{{\"sid\":\"{long}\",\"did\":\"{long}\",\"attrs\":{{\"release\":\"r\"}}}}\n",
        "ab".repeat(16)
    );
    let digest = digest::digest(1, 1.0, &Envelope::parse(body.as_bytes()).expect("an envelope"));
    assert_eq!((digest.parts.len(), digest.errors.len(), digest.sessions.len()), (1, 1, 1));
    assert!(format!("{digest:?}").len() < 10_000);
}
