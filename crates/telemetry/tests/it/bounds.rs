//! Telemetry above the limits is dropped, counted and reported, and memory stays bounded.

use telemetry::spans;

use super::receiver::{Behaviour, Receiver, spans_of};
use super::scenario;

pub(crate) fn scenario(name: &str) -> Option<fn()> {
    match name {
        "wide" => Some(wide),
        "leaky" => Some(leaky),
        _ => None,
    }
}

fn wide() {
    let telemetry = scenario::telemetry();
    let root = spans::background("wide", []);
    root.in_scope(|| {
        for n in 0..750 {
            let outer = spans::function(&format!("outer {n}"));
            outer.in_scope(|| spans::function(&format!("inner {n}")).in_scope(|| {}));
        }
    });
    drop(root);
    println!("drops={:?}", telemetry::drops());
    scenario::finish(telemetry);
}

#[test]
fn spans_above_a_thousand_are_reported() {
    let receiver = Receiver::start(Behaviour::Normal);
    let output = scenario::run("wide", &receiver.dsn(), &[]);
    let transaction = receiver.transaction("wide");
    assert_eq!(transaction.payload["spans"].as_array().unwrap().len(), 1_000);
    let spans = spans_of(&transaction);
    let ids: Vec<&str> = spans.iter().map(|span| span["span_id"].as_str().unwrap()).collect();
    let orphans =
        spans.iter().filter(|s| s["parent_span_id"].as_str().is_some_and(|parent| !ids.contains(&parent)));
    assert_eq!(orphans.count(), 0, "no kept span lost its parent");
    assert_eq!(scenario::printed(&output, "drops"), r#"[("buffer_overflow", 500)]"#);
    assert_eq!(receiver.reported("buffer_overflow", "span"), 500);
    let request = receiver.received().into_iter().find(|request| request.body.len() > 100_000).unwrap();
    assert_eq!(request.header("content-encoding"), Some("gzip"));
}

/// Spans that never end must not use unlimited memory.
fn leaky() {
    let telemetry = scenario::telemetry();
    let leaked: Vec<_> = (0..20_000)
        .map(|_| {
            let span = spans::background("leak", []);
            span.in_scope(|| {});
            span
        })
        .collect();
    drop(leaked);
    let dropped: u64 = telemetry::drops().iter().map(|(_, count)| count).sum();
    assert!(dropped > 0, "what did not fit was counted");
    assert!(telemetry.shutdown_blocking(scenario::SOON_MS));
    let lost: u64 = telemetry::drops_by_category()
        .iter()
        .filter(|drop| drop.category == telemetry::Category::Span)
        .map(|drop| drop.quantity)
        .sum();
    println!("lost={lost}");
}

#[test]
fn every_span_is_sent_or_counted() {
    let receiver = Receiver::start(Behaviour::Normal);
    let output = scenario::run("leaky", &receiver.dsn(), &[]);
    let lost: usize = scenario::printed(&output, "lost").parse().unwrap();
    assert_eq!(receiver.transactions().len() + lost, 20_000);
}
