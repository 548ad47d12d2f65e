//! Three processes in a row, as over Kafka: one trace, each the child of the one before, one sampling context.

use std::collections::BTreeSet;

use bytes::Bytes;
use telemetry::propagation;
use telemetry::spans::{self, ProcessAttrs, PublishAttrs};

use super::receiver::{Behaviour, Item, Receiver, span_with_op};
use super::scenario;

pub(crate) fn scenario(name: &str) -> Option<fn()> {
    match name {
        "head" => Some(head),
        "hop" => Some(hop),
        "many_heads" => Some(many_heads),
        "many_hops" => Some(many_hops),
        "forward" => Some(forward),
        "organisation" => Some(organisation),
        _ => None,
    }
}

fn print_headers(headers: &[(String, Bytes)]) {
    for (name, value) in headers {
        println!("header.{name}={}", std::str::from_utf8(value).unwrap());
    }
}

fn publish() {
    let span = spans::queue_publish(&PublishAttrs { destination: "next", ..PublishAttrs::default() });
    let mut headers = Vec::new();
    propagation::inject(&span, &mut headers);
    print_headers(&headers);
}

fn head() {
    let telemetry = scenario::telemetry();
    let root = spans::background("head", []);
    root.in_scope(publish);
    drop(root);
    scenario::finish(telemetry);
}

fn hop() {
    let telemetry = scenario::telemetry_with(|config| config.release = "other@2".to_owned());
    let names = ["traceparent", "tracestate", "baggage", "sentry-trace"];
    let headers: Vec<(&str, String)> =
        names.iter().filter_map(|name| Some((*name, scenario::argument(name)?))).collect();
    let parent = propagation::extract(headers.iter().map(|(name, value)| (*name, value.as_bytes())));
    let destination = scenario::argument("NAME").unwrap();
    let process =
        spans::queue_process(&ProcessAttrs { destination: &destination, ..ProcessAttrs::default() }, &parent);
    process.in_scope(publish);
    drop(process);
    scenario::finish(telemetry);
}

fn headers_of(output: &std::process::Output, only: &[&str]) -> Vec<(String, String)> {
    only.iter()
        .map(|name| ((*name).to_owned(), scenario::printed(output, &format!("header.{name}"))))
        .collect()
}

fn chain(carried: &[&str]) -> Receiver {
    let receiver = Receiver::start(Behaviour::Normal);
    let mut output = scenario::run("head", &receiver.dsn(), &[("RATE", "0.999999")]);
    for name in ["second", "third"] {
        let headers = headers_of(&output, carried);
        let mut arguments: Vec<(&str, &str)> =
            headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        arguments.extend([("NAME", name), ("RATE", "0.0")]);
        output = scenario::run("hop", &receiver.dsn(), &arguments);
    }
    receiver
}

fn assert_one_tree(receiver: &Receiver) {
    let [head, second, third] = ["head", "second", "third"].map(|name| receiver.transaction(name));
    let trace_id = &head.payload["contexts"]["trace"]["trace_id"];
    for (parent, child) in [(&head, &second), (&second, &third)] {
        let trace = &child.payload["contexts"]["trace"];
        assert_eq!(&trace["trace_id"], trace_id);
        assert_eq!(trace["parent_span_id"], span_with_op(parent, "queue.publish")["span_id"]);
    }
}

#[test]
fn three_hops_share_tree_and_context() {
    let receiver = chain(&["traceparent", "baggage"]);
    assert_one_tree(&receiver);
    let contexts =
        ["head", "second", "third"].map(|name| receiver.transaction(name).envelope["trace"].clone());
    assert_eq!(contexts[0]["transaction"], "head");
    assert_eq!(contexts[0]["release"], "game@1.2.3");
    assert_eq!(contexts[0]["sample_rate"], "0.999999");
    assert!(
        contexts.iter().all(|trace| trace == &contexts[0]),
        "every hop has the context of the head: {contexts:#?}"
    );
    assert_eq!(receiver.transaction("third").payload["release"], "other@2", "each hop has its own release");
}

#[test]
fn sentry_headers_alone_continue_trace() {
    let receiver = chain(&["sentry-trace", "baggage"]);
    assert_one_tree(&receiver);
}

#[test]
fn w3c_headers_alone_continue_trace() {
    let receiver = chain(&["traceparent"]);
    assert_one_tree(&receiver);
}

/// Counter-check: without the ids the spans form no tree, and the assertion must fail.
#[test]
#[should_panic(expected = "assertion")]
fn headers_without_ids_break_tree() {
    assert_one_tree(&chain(&["baggage"]));
}

/// Number of traces that are sampled at a low rate.
const HEADS: usize = 200;

/// Begins many traces and prints a record of each.
fn many_heads() {
    let telemetry = scenario::telemetry();
    for _ in 0..HEADS {
        spans::background("head", []).in_scope(print_record);
    }
    scenario::finish(telemetry);
}

/// Handles the records that another process printed, and prints a record below each.
fn many_hops() {
    let telemetry = scenario::telemetry();
    let destination = scenario::argument("NAME").unwrap();
    for record in scenario::argument("RECORDS").unwrap().lines() {
        let headers = record.split('\t').map(|header| header.split_once('=').unwrap());
        let parent = propagation::extract(headers.map(|(name, value)| (name, value.as_bytes())));
        let attrs = ProcessAttrs { destination: &destination, ..ProcessAttrs::default() };
        spans::queue_process(&attrs, &parent).in_scope(print_record);
    }
    scenario::finish(telemetry);
}

fn print_record() {
    let span = spans::queue_publish(&PublishAttrs { destination: "next", ..PublishAttrs::default() });
    let mut headers = Vec::new();
    propagation::inject(&span, &mut headers);
    let text = |(name, value): &(String, Bytes)| format!("{name}={}", std::str::from_utf8(value).unwrap());
    println!("record={}", headers.iter().map(text).collect::<Vec<_>>().join("\t"));
}

#[test]
fn head_decides_for_every_service() {
    let receiver = Receiver::start(Behaviour::Normal);
    let mut records = String::new();
    for name in ["head", "second", "third"] {
        let work = if name == "head" { "many_heads" } else { "many_hops" };
        let arguments = [("NAME", name), ("RATE", "0.1"), ("RECORDS", records.as_str())];
        let output = scenario::run(work, &receiver.dsn(), &arguments);
        let printed = String::from_utf8(output.stdout).unwrap();
        let printed: Vec<&str> = printed.lines().filter_map(|line| line.strip_prefix("record=")).collect();
        assert_eq!(printed.len(), HEADS, "unsampled records are passed on too");
        records = printed.join("\n");
    }
    let all = receiver.transactions();
    let [head, second, third] = ["head", "second", "third"].map(|name| {
        let own: Vec<&Item> = all.iter().filter(|item| item.payload["transaction"] == name).collect();
        let ids = own.iter().map(|item| item.payload["contexts"]["trace"]["trace_id"].as_str().unwrap());
        let ids: BTreeSet<&str> = ids.collect();
        assert_eq!(ids.len(), own.len(), "one transaction of {name} in each trace");
        ids
    });
    // 20 expected, sigma 4
    assert!((3..=60).contains(&head.len()), "{}", head.len());
    assert_eq!((&second, &third), (&head, &head));
}

/// Publishes a record again that has trace headers, with the flags (random, sampled) of its caller.
fn forward() {
    let telemetry = scenario::telemetry();
    let stale = |name: &str, value: &str| (name.to_owned(), Bytes::from(value.to_owned()));
    let mut headers = vec![
        stale("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        stale("ce_id", "kept"),
        stale("tracestate", "old=1"),
        stale("baggage", "sentry-trace_id=0af7651916cd43dd8448eb211c80319c"),
        stale("traceparent", &scenario::argument("PARENT").unwrap()),
        stale("Traceparent", "of another producer"),
    ];
    let parent = propagation::extract(headers.iter().map(|(name, value)| (name.as_str(), value.as_ref())));
    let process =
        spans::queue_process(&ProcessAttrs { destination: "t", ..ProcessAttrs::default() }, &parent);
    process.in_scope(|| {
        let span = spans::queue_publish(&PublishAttrs { destination: "next", ..PublishAttrs::default() });
        propagation::inject(&span, &mut headers);
    });
    let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
    println!("names={names:?}");
    print_headers(&headers[2..]);
    drop(process);
    telemetry.shutdown_blocking(scenario::SOON_MS);
}

#[test]
fn forwarded_record_has_each_header_once() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    for flags in ["03", "02", "01", "00"] {
        let receiver = Receiver::start(Behaviour::Normal);
        let parent = format!("00-{TRACE}-00f067aa0ba902b7-{flags}");
        let output = scenario::run("forward", &receiver.dsn(), &[("PARENT", &parent)]);
        assert_eq!(
            scenario::printed(&output, "names"),
            r#"["ce_id", "Traceparent", "traceparent", "tracestate", "sentry-trace", "baggage"]"#
        );
        let written = scenario::printed(&output, "header.traceparent");
        assert!(written.starts_with(&format!("00-{TRACE}-")) && written.ends_with(flags), "{written}");
        assert_eq!(scenario::printed(&output, "header.tracestate"), "old=1");
    }
}

/// A DSN whose host names its organisation.
fn organisation() {
    let telemetry = scenario::telemetry();
    let root = spans::background("head", []);
    root.in_scope(publish);
    telemetry.shutdown_blocking(100);
}

#[test]
fn dsn_organisation_is_passed_on() {
    let dsn = "http://0123456789abcdef0123456789abcdef@o77.ingest.invalid:9/3";
    let baggage = scenario::printed(&scenario::run("organisation", dsn, &[]), "header.baggage");
    assert!(baggage.contains("sentry-org_id=77"), "{baggage}");
}
