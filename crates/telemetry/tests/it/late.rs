//! Spans that end after their root, which the stock bridge loses silently.
//!
//! A `tracing` span stays open while it has open children. So the roots here end with [`spans::end`], as in the HTTP layer.

use std::time::Instant;

use telemetry::spans;

use super::receiver::{Item, Mood, Receiver};
use super::scenario;

pub(crate) fn scenario(name: &str) -> Option<fn()> {
    match name {
        "late" => Some(late),
        "very_late" => Some(very_late),
        "started_late" => Some(started_late),
        "never" => Some(never),
        "after_all" => Some(after_all),
        _ => None,
    }
}

/// A span that has begun, which happens when it is first entered.
fn begun(name: &str) -> tracing::Span {
    let span = spans::function(name);
    span.in_scope(|| {});
    span
}

fn late() {
    let telemetry = scenario::telemetry();
    let root = spans::background("root", []);
    let child = root.in_scope(|| begun("child"));
    let grandchild = child.in_scope(|| begun("grandchild"));
    spans::end(&root);
    drop(child);
    grandchild.in_scope(|| {});
    drop(grandchild);
    scenario::finish(telemetry);
}

fn descriptions(transaction: &Item) -> Vec<String> {
    let mut names: Vec<String> = transaction.payload["spans"]
        .as_array()
        .unwrap()
        .iter()
        .map(|span| span["description"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn spans_that_end_after_their_root_are_in_its_transaction() {
    let receiver = Receiver::start(Mood::Well);
    scenario::run("late", &receiver.dsn(), &[]);
    assert_eq!(descriptions(&receiver.transaction("root")), ["child", "grandchild"]);
    assert_eq!(receiver.transactions().len(), 1);
}

/// A child that ends after its root's grace period.
fn very_late() {
    let telemetry = scenario::telemetry();
    let root = spans::background("root", []);
    let child = root.in_scope(|| begun("child"));
    spans::end(&root);
    scenario::wait_to_go_on();
    let grandchild = child.in_scope(|| begun("grandchild"));
    spans::end(&child);
    drop(grandchild);
    scenario::finish(telemetry);
}

#[test]
fn a_root_does_not_wait_for_ever_and_what_comes_later_goes_alone() {
    let receiver = Receiver::start(Mood::Well);
    let running = scenario::start("very_late", &receiver.dsn(), &[]);
    scenario::until("the root goes out while its child is open", || !receiver.transactions().is_empty());
    scenario::end(running);
    let root = receiver.transaction("root").payload["contexts"]["trace"].clone();
    let child = receiver.transaction("child").payload["contexts"]["trace"].clone();
    let grandchild = receiver.transaction("grandchild").payload["contexts"]["trace"].clone();
    assert_eq!(child["parent_span_id"], root["span_id"]);
    assert_eq!(grandchild["parent_span_id"], child["span_id"]);
    assert!([&child, &grandchild].iter().all(|span| span["trace_id"] == root["trace_id"]), "one trace");
    assert_eq!(receiver.transactions().len(), 3, "nothing twice");
    let said =
        ["root", "child", "grandchild"].map(|name| receiver.transaction(name).envelope["trace"].clone());
    assert!(said.iter().all(|trace| trace == &said[0]), "the head's word, frozen: {said:#?}");
}

/// A child that begins after its root has ended, while a sibling keeps the transaction open.
fn started_late() {
    let telemetry = scenario::telemetry();
    let root = spans::background("root", []);
    let sibling = root.in_scope(|| begun("sibling"));
    spans::end(&root);
    let late = sibling.in_scope(|| begun("late"));
    drop((sibling, late));
    scenario::finish(telemetry);
}

#[test]
fn a_span_that_begins_after_its_root_ended_is_in_its_transaction() {
    let receiver = Receiver::start(Mood::Well);
    scenario::run("started_late", &receiver.dsn(), &[]);
    assert_eq!(descriptions(&receiver.transaction("root")), ["late", "sibling"]);
}

/// A root with a child that never ends, at the exit of the process.
fn never() {
    let telemetry = scenario::telemetry();
    let root = spans::background("root", []);
    let child = root.in_scope(|| begun("child"));
    spans::end(&root);
    let begun = Instant::now();
    println!("all={}", telemetry.shutdown_blocking(scenario::SOON_MS));
    println!("stopped_ms={}", begun.elapsed().as_millis());
    println!("drops={:?}", telemetry::drops());
    drop(child);
}

#[test]
fn a_stop_does_not_wait_for_spans_that_never_end_and_counts_them() {
    let receiver = Receiver::start(Mood::Well);
    let output = scenario::run("never", &receiver.dsn(), &[]);
    let stopped_ms: u64 = scenario::printed(&output, "stopped_ms").parse().unwrap();
    assert!(stopped_ms < scenario::SOON_MS / 2, "it waited: {stopped_ms} ms");
    assert!(descriptions(&receiver.transaction("root")).is_empty());
    assert_eq!(scenario::printed(&output, "drops"), r#"[("shutdown", 1)]"#);
    assert_eq!(receiver.reported("queue_overflow", "span"), 1);
}

/// A span that begins after all others of its trace were sent.
fn after_all() {
    let telemetry = scenario::telemetry();
    let root = spans::background("root", []);
    let handle = root.clone();
    spans::end(&root);
    assert!(telemetry.flush_blocking(scenario::SOON_MS));
    let baggage = |span: &tracing::Span| {
        let headers = span.in_scope(telemetry::propagation::current_headers);
        headers.into_iter().find(|(name, _)| name == "baggage").unwrap().1
    };
    println!("ended={}", baggage(&handle));
    let after = handle.in_scope(|| begun("after"));
    println!("after={}", baggage(&after));
    drop((after, handle, root));
    scenario::finish(telemetry);
}

#[test]
fn what_was_said_of_a_trace_is_said_again_after_its_end() {
    let receiver = Receiver::start(Mood::Well);
    let output = scenario::run("after_all", &receiver.dsn(), &[]);
    let (root, after) = (receiver.transaction("root"), receiver.transaction("after"));
    assert_eq!(root.envelope["trace"], after.envelope["trace"]);
    for who in ["ended", "after"] {
        assert!(scenario::printed(&output, who).ends_with("sentry-transaction=root"), "{who}");
    }
}
