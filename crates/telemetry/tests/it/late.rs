//! Spans that end after their root, which the stock bridge loses silently.
//!
//! A `tracing` span stays open while it has open children. So the roots here end with [`spans::end`], as in the HTTP layer.

use std::time::Instant;

use telemetry::spans;

use super::receiver::{Behaviour, Item, Receiver};
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
fn started(name: &str) -> tracing::Span {
    let span = spans::function(name);
    span.in_scope(|| {});
    span
}

fn late() {
    let telemetry = scenario::telemetry();
    let root = spans::background("root", []);
    let child = root.in_scope(|| started("child"));
    let grandchild = child.in_scope(|| started("grandchild"));
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
fn span_ending_after_root_is_in_transaction() {
    let receiver = Receiver::start(Behaviour::Normal);
    scenario::run("late", &receiver.dsn(), &[]);
    assert_eq!(descriptions(&receiver.transaction("root")), ["child", "grandchild"]);
    assert_eq!(receiver.transactions().len(), 1);
}

/// A child that ends after its root's grace period.
fn very_late() {
    let telemetry = scenario::telemetry();
    let root = spans::background("root", []);
    let child = root.in_scope(|| started("child"));
    spans::end(&root);
    scenario::wait_for_test();
    let grandchild = child.in_scope(|| started("grandchild"));
    spans::end(&child);
    drop(grandchild);
    scenario::finish(telemetry);
}

#[test]
fn span_after_grace_is_sent_alone() {
    let receiver = Receiver::start(Behaviour::Normal);
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
    let contexts =
        ["root", "child", "grandchild"].map(|name| receiver.transaction(name).envelope["trace"].clone());
    assert!(
        contexts.iter().all(|trace| trace == &contexts[0]),
        "all have the context of the head: {contexts:#?}"
    );
}

/// A child that begins after its root has ended, while a sibling keeps the transaction open.
fn started_late() {
    let telemetry = scenario::telemetry();
    let root = spans::background("root", []);
    let sibling = root.in_scope(|| started("sibling"));
    spans::end(&root);
    let late = sibling.in_scope(|| started("late"));
    drop((sibling, late));
    scenario::finish(telemetry);
}

#[test]
fn span_beginning_after_root_is_in_transaction() {
    let receiver = Receiver::start(Behaviour::Normal);
    scenario::run("started_late", &receiver.dsn(), &[]);
    assert_eq!(descriptions(&receiver.transaction("root")), ["late", "sibling"]);
}

/// A root with a child that never ends, at the exit of the process.
fn never() {
    let telemetry = scenario::telemetry();
    let root = spans::background("root", []);
    let child = root.in_scope(|| started("child"));
    spans::end(&root);
    let start = Instant::now();
    println!("all={}", telemetry.shutdown_blocking(scenario::SOON_MS));
    println!("stopped_ms={}", start.elapsed().as_millis());
    println!("drops={:?}", telemetry::drops());
    drop(child);
}

#[test]
fn shutdown_counts_open_spans() {
    let receiver = Receiver::start(Behaviour::Normal);
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
    let after = handle.in_scope(|| started("after"));
    println!("after={}", baggage(&after));
    drop((after, handle, root));
    scenario::finish(telemetry);
}

#[test]
fn sampling_context_is_stable_after_trace_ended() {
    let receiver = Receiver::start(Behaviour::Normal);
    let output = scenario::run("after_all", &receiver.dsn(), &[]);
    let (root, after) = (receiver.transaction("root"), receiver.transaction("after"));
    assert_eq!(root.envelope["trace"], after.envelope["trace"]);
    for who in ["ended", "after"] {
        assert!(scenario::printed(&output, who).ends_with("sentry-transaction=root"), "{who}");
    }
}
