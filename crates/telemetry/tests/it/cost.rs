//! Measures the cost of a span in the thread that creates it. Run it by hand:
//! `cargo test -p telemetry --test it -- --ignored --nocapture span_cost_is_bounded`

use telemetry::spans;

use super::receiver::{Behaviour, Receiver};
use super::scenario;

pub(crate) fn scenario(name: &str) -> Option<fn()> {
    (name == "cost").then_some(cost)
}

const SPANS_PER_TRANSACTION: u32 = 10;
const TRANSACTIONS: u32 = 400;

fn one_transaction() {
    let root = spans::queue_process(
        &spans::ProcessAttrs {
            message_id: "m",
            destination: "topic",
            consumer_group: "game",
            ..Default::default()
        },
        &opentelemetry::Context::new(),
    );
    root.in_scope(|| {
        for _ in 1..SPANS_PER_TRANSACTION {
            spans::db("mongodb", "game", "bets", "find", r#"{"find":"bets","filter":{"_id":"?"}}"#)
                .in_scope(|| {});
        }
    });
}

fn round() -> f64 {
    let started = testkit::thread_cpu_time();
    for _ in 0..TRANSACTIONS {
        one_transaction();
    }
    let took = testkit::thread_cpu_time() - started;
    took.as_secs_f64() * 1e6 / f64::from(TRANSACTIONS * SPANS_PER_TRANSACTION)
}

fn cost() {
    let telemetry = scenario::telemetry();
    round();
    assert!(telemetry.flush_blocking(10_000));
    let mut rounds: Vec<f64> = (0..15)
        .map(|_| {
            let us = round();
            // The writer's work is not part of the hot path
            telemetry.flush_blocking(10_000);
            us
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    let (low, median, high) = (rounds[0], rounds[rounds.len() / 2], rounds[rounds.len() - 1]);
    println!("us_per_span={median:.2} (from {low:.2} to {high:.2}), lost {:?}", telemetry::drops());
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    println!("peak={}", peak.split_whitespace().collect::<Vec<_>>().join(" "));
    scenario::finish(telemetry);
}

#[test]
#[ignore = "a measurement, for a quiet machine"]
fn span_cost_is_bounded() {
    let receiver = Receiver::start(Behaviour::Normal);
    let recording = scenario::run("cost", &receiver.dsn(), &[]);
    println!("recorded: {} us", scenario::printed(&recording, "us_per_span"));
    println!("memory: {}", scenario::printed(&recording, "peak"));
    let idle = scenario::run("cost", &receiver.dsn(), &[("RATE", "0")]);
    println!("not recorded: {} us", scenario::printed(&idle, "us_per_span"));
}
