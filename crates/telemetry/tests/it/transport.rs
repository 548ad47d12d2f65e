//! The transport with a healthy and a failing Sentry.

use std::time::{Duration, Instant};

use telemetry::metric::{self, Metric};
use telemetry::spans;

use super::receiver::{Behaviour, Item, Receiver};
use super::scenario;

pub(crate) fn scenario(name: &str) -> Option<fn()> {
    match name {
        "burst" => Some(burst),
        "small_queue" => Some(small_queue),
        "two_waves" => Some(two_waves),
        "behind" => Some(behind),
        "metrics_after_an_answer" => Some(metrics_after_an_answer),
        "first_unanswered" => Some(first_unanswered),
        _ => None,
    }
}

/// Creates `count` transactions of two spans each.
pub(crate) fn work(name: &str, count: usize) {
    for _ in 0..count {
        let root = spans::background(name, []);
        root.in_scope(|| spans::function("step").in_scope(|| {}));
    }
}

fn burst() {
    let telemetry = scenario::telemetry();
    for _ in 0..10 {
        work("burst", 100);
        // At a rate that the writer can follow, so that only the transport can lose transactions
        telemetry.flush_blocking(0);
    }
    println!("drops={:?}", telemetry::drops());
    let started = Instant::now();
    let deadline_ms = scenario::argument("DEADLINE").map_or(scenario::SOON_MS, |text| text.parse().unwrap());
    println!("all={}", telemetry.shutdown_blocking(deadline_ms));
    println!("stopped_ms={}", started.elapsed().as_millis());
    println!("after={:?}", telemetry::drops());
}

#[test]
fn burst_arrives_over_few_connections() {
    let receiver = Receiver::start(Behaviour::Slow(Duration::from_millis(1)));
    let output = scenario::run("burst", &receiver.dsn(), &[]);
    assert_eq!(scenario::printed(&output, "all"), "true");
    assert_eq!(scenario::printed(&output, "after"), "[]");
    let ids: std::collections::HashSet<String> =
        receiver.transactions().iter().map(|item| item.payload["event_id"].to_string()).collect();
    assert_eq!((receiver.transactions().len(), ids.len()), (1_000, 1_000), "all, and none twice");
    assert!(receiver.connections() <= 16, "{} connections for 1000 envelopes", receiver.connections());
    assert!((2..=8).contains(&receiver.at_once_max()), "{} at once", receiver.at_once_max());
    assert!(receiver.reported_losses().is_empty());
    let request = receiver.received().remove(0);
    assert_eq!(request.request_line, "POST /api/3/envelope/ HTTP/1.1");
    assert_eq!(request.header("content-type"), Some("application/x-sentry-envelope"));
    assert!(request.header("x-sentry-auth").unwrap().contains("sentry_key=0123456789abcdef0123456789abcdef"));
    assert!(request.header("content-encoding").is_none(), "small bodies are not worth compressing");
}

#[test]
fn shutdown_counts_unsent_at_deadline() {
    let receiver = Receiver::start(Behaviour::Hung);
    let output = scenario::run("burst", &receiver.dsn(), &[("DEADLINE", "300")]);
    assert_eq!(scenario::printed(&output, "all"), "false");
    let stopped_ms: u64 = scenario::printed(&output, "stopped_ms").parse().unwrap();
    // A request in flight would time out after a minute
    assert!((250..scenario::SOON_MS / 2).contains(&stopped_ms), "{stopped_ms}");
    // A transaction and its two spans each
    assert_eq!(scenario::printed(&output, "after"), r#"[("shutdown", 3000)]"#);
}

fn small_queue() {
    let telemetry = scenario::telemetry_with(|config| {
        config.transport.queue_envelopes_max = 10;
        config.transport.in_flight_max = 2;
    });
    work("early", 100);
    assert!(telemetry.flush_blocking(scenario::SOON_MS), "the queue drains");
    println!("drops={:?}", telemetry::drops());
    let lost = telemetry::drops_by_category();
    let lost = lost.iter().find(|drop| drop.category == telemetry::Category::Transaction).unwrap();
    println!("lost={}", lost.quantity);
    scenario::finish(telemetry);
}

#[test]
fn overflow_is_counted_and_reported() {
    let receiver = Receiver::start(Behaviour::Slow(Duration::from_millis(30)));
    let output = scenario::run("small_queue", &receiver.dsn(), &[]);
    let lost: usize = scenario::printed(&output, "lost").parse().unwrap();
    assert!(lost > 0);
    assert_eq!(receiver.transactions().len() + lost, 100);
    assert_eq!(receiver.reported("queue_overflow", "transaction"), lost as u64);
    assert_eq!(receiver.reported("queue_overflow", "span"), 2 * lost as u64);
}

/// One batch of work, a rate limit from Sentry, another batch.
fn two_waves() {
    let telemetry = scenario::telemetry();
    work("first", 1);
    assert!(telemetry.flush_blocking(scenario::SOON_MS));
    work("second", 5);
    tracing::error!("an error in between");
    assert!(telemetry.flush_blocking(scenario::SOON_MS));
    println!("drops={:?}", telemetry::drops());
    if let Some(wait) = scenario::argument("WAIT") {
        std::thread::sleep(Duration::from_millis(wait.parse().unwrap()));
        work("third", 1);
    }
    scenario::finish(telemetry);
}

#[test]
fn rate_limit_applies_to_category_until_deadline() {
    let limit = Behaviour::Answer(200, "x-sentry-rate-limits: 5:transaction:organization\r\n".to_owned());
    let receiver = Receiver::start(Behaviour::First(Box::new(limit)));
    scenario::run("two_waves", &receiver.dsn(), &[("WAIT", "5100")]);
    let names: Vec<String> = receiver
        .transactions()
        .iter()
        .map(|t| t.payload["transaction"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["first", "third"], "nothing of the second wave, everything after its time");
    assert_eq!(receiver.items_of("event").len(), 1, "errors were not limited");
    assert_eq!(receiver.reported("ratelimit_backoff", "transaction"), 5);
    assert_eq!(receiver.reported("ratelimit_backoff", "span"), 10);
}

#[test]
fn nothing_is_sent_after_429() {
    let receiver = Receiver::start(Behaviour::Answer(429, "retry-after: 60\r\n".to_owned()));
    let output = scenario::run("two_waves", &receiver.dsn(), &[]);
    assert_eq!(receiver.received().len(), 1, "one attempt, then silence");
    let drops = scenario::printed(&output, "drops");
    assert!(
        drops.contains(r#"("ratelimited_by_server", 3)"#) && drops.contains("ratelimit_backoff"),
        "{drops}"
    );
}

#[test]
fn error_response_is_a_counted_loss() {
    let receiver = Receiver::start(Behaviour::Answer(500, String::new()));
    let output = scenario::run("two_waves", &receiver.dsn(), &[]);
    assert!(scenario::printed(&output, "drops").contains("send_error"));
}

/// An error behind more transactions than the queue holds, with a slow Sentry.
fn behind() {
    let telemetry = scenario::telemetry_with(|config| config.transport.queue_envelopes_max = 50);
    scenario::until("the queue overflows", || {
        work("many", 50);
        // The writer keeps up, but the queue behind it does not
        telemetry.flush_blocking(0);
        !telemetry::drops().is_empty()
    });
    tracing::error!("the one that matters");
    work("later", 200);
    scenario::finish(telemetry);
}

#[test]
fn error_overtakes_transactions() {
    let receiver = Receiver::start(Behaviour::Slow(Duration::from_millis(100)));
    scenario::run("behind", &receiver.dsn(), &[]);
    assert!(receiver.reported("queue_overflow", "transaction") > 0);
    assert_eq!(receiver.reported("queue_overflow", "error"), 0);
    let kinds: Vec<String> =
        receiver.items().iter().map(|item| item.header["type"].as_str().unwrap().to_owned()).collect();
    let at = kinds.iter().position(|kind| kind == "event").expect("the error arrived");
    let behind = kinds[at..].iter().filter(|kind| *kind == "transaction").count();
    // Fifty transactions were queued before the error, and it overtook them
    assert!(behind >= 40, "only {behind} transactions came after it: {kinds:?}");
    let names: Vec<Item> = receiver.transactions();
    assert!(
        names.last().is_some_and(|item| item.payload["transaction"] == "later"),
        "the oldest were given up, not the newest"
    );
}

/// An error whose first request never gets a response.
fn first_unanswered() {
    let telemetry = scenario::telemetry_with(|config| config.transport.request_timeout_ms = 5_000);
    tracing::error!("logged at most twice");
    scenario::finish(telemetry);
    println!("drops={:?}", telemetry::drops());
}

#[test]
fn unanswered_error_is_sent_again() {
    for _ in 0..5 {
        let receiver = Receiver::start(Behaviour::First(Box::new(Behaviour::Hung)));
        let output = scenario::run("first_unanswered", &receiver.dsn(), &[]);
        // The log line of the error can overtake it. The first request is that of the log line then.
        if receiver.items()[0].header["type"] != "event" {
            continue;
        }
        let ids: std::collections::HashSet<String> =
            receiver.items_of("event").iter().map(|item| item.payload["event_id"].to_string()).collect();
        assert_eq!((receiver.items_of("event").len(), ids.len()), (2, 1), "again, and with the same id");
        assert_eq!(scenario::printed(&output, "drops"), "[]");
        return;
    }
    panic!("the error was never in the first request");
}

#[test]
fn lost_logs_and_metrics_are_reported_in_bytes() {
    let limit = "x-sentry-rate-limits: 60:log_item;trace_metric:organization\r\n".to_owned();
    let receiver = Receiver::start(Behaviour::First(Box::new(Behaviour::Answer(200, limit))));
    scenario::run("two_waves", &receiver.dsn(), &[]);
    let (logs, bytes) = (
        receiver.reported("ratelimit_backoff", "log_item"),
        receiver.reported("ratelimit_backoff", "log_byte"),
    );
    assert!(logs > 0 && bytes > 20 * logs, "{logs} log lines of {bytes} bytes");
}

/// Five metrics after the first answer of Sentry.
fn metrics_after_an_answer() {
    let telemetry = scenario::telemetry();
    work("first", 1);
    assert!(telemetry.flush_blocking(scenario::SOON_MS));
    for _ in 0..5 {
        metric::count(Metric::BetsSettled, 1, &[("game", "slots")]);
    }
    assert!(telemetry.flush_blocking(scenario::SOON_MS));
    scenario::finish(telemetry);
}

#[test]
fn lost_metrics_are_reported_in_bytes() {
    let limit = "x-sentry-rate-limits: 60:trace_metric:organization\r\n".to_owned();
    let receiver = Receiver::start(Behaviour::First(Box::new(Behaviour::Answer(200, limit))));
    scenario::run("metrics_after_an_answer", &receiver.dsn(), &[]);
    let (metrics, bytes) = (
        receiver.reported("ratelimit_backoff", "trace_metric"),
        receiver.reported("ratelimit_backoff", "trace_metric_byte"),
    );
    assert_eq!(metrics, 5);
    assert!(bytes > 20 * metrics, "{metrics} metrics of {bytes} bytes");
    assert!(receiver.items_of("trace_metric").is_empty());
}
