//! Test of an e-mail's trace by the bytes sent to Sentry, in a separate process because telemetry exists once per process.

use serde_json::Value;
use telemetry::spans;
use tracing::Instrument as _;

use crate::harness::{Platform, win};
use testkit::scenario;

#[test]
fn mail_continues_trace_of_win() {
    scenario::run("traces::scenario");
}

#[test]
#[ignore = "runs in the process that the test above starts"]
fn scenario() {
    let Some((receiver, event_id)) = scenario::received("notification", |_| win_and_mail()) else { return };
    let items = receiver.items();
    let transactions: Vec<&Value> =
        items.iter().filter(|(kind, _)| kind == "transaction").map(|(_, payload)| payload).collect();
    check(&transactions, &event_id);
}

/// Publishes a win in a trace, waits until its e-mail was sent, and shuts the process down.
async fn win_and_mail() -> String {
    let mut platform = Platform::start().await;
    let player = testkit::unique("player");
    platform.register(&player).await;
    let big = win(&player, 100, 2_000);
    platform.publish(&big).instrument(spans::background("bet", [])).await;
    platform.wait_for(&big, "sent").await;
    platform.stop().await;
    big.id.to_string()
}

fn check(transactions: &[&Value], event_id: &str) {
    let find = |what: &str, matches: &dyn Fn(&Value) -> bool| {
        let found: Vec<&Value> =
            transactions.iter().copied().filter(|transaction| matches(transaction)).collect();
        assert_eq!(found.len(), 1, "{what}: {transactions:#?}");
        found[0]["contexts"]["trace"].clone()
    };
    let bet = find("the bet", &|transaction| transaction["transaction"] == "bet");
    let handled = find("the record's handling", &|transaction| {
        transaction["contexts"]["trace"]["data"]["messaging.message.id"] == event_id
    });
    let mail = find("the mail", &|transaction| transaction["transaction"] == "send mail");
    assert_eq!(mail["trace_id"], bet["trace_id"], "one trace");
    assert_eq!(mail["parent_span_id"], handled["span_id"], "child of what stored the win");
    assert_eq!(mail["status"], "ok");
}
