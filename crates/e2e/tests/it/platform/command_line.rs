//! `bet`, `trace` and `load` as a user runs them: their output, and the exit code that reports whether the result holds.

use std::process::Output;

use contracts::parts::Part;
use serde_json::Value;

use super::{cli, exclusive, output_text, ports, shared};

/// A bet that takes this long met a machine that was busy with other work. Soon after this time the gateway queries the outcome
/// itself, which adds an edge to the trace, and later it answers 202.
const STALLED_MS: f64 = 1_500.0;
/// Number of attempts when a stalled machine spoils the result.
const ATTEMPTS_MAX: usize = 5;

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", output_text(output)))
}

/// Plays a bet by the command line and returns its trace id. A bet that met a stall is replaced by another one.
fn bet() -> String {
    for _ in 0..ATTEMPTS_MAX {
        let output = cli(&["bet", "--json"], None);
        if !output.status.success() {
            // Only a bet that was not settled in time may be repeated.
            assert!(output_text(&output).contains("the gateway answered 202"), "{}", output_text(&output));
            continue;
        }
        let line = json(&output);
        assert!(["won", "lost"].contains(&line["bet"]["outcome"].as_str().unwrap_or_default()), "{line}");
        if line["took_ms"].as_f64().expect("a time") < STALLED_MS {
            return line["trace_id"].as_str().expect("a trace").to_owned();
        }
    }
    panic!("{ATTEMPTS_MAX} bets one after the other took more than {STALLED_MS} ms");
}

#[tokio::test]
async fn bet_has_complete_trace() {
    let _guard = shared().await;
    let trace_id = bet();
    let traced = cli(&["trace", &trace_id, "--bet", "--json"], None);
    assert!(traced.status.success(), "{}", output_text(&traced));
    let trace = json(&traced);
    assert_eq!(trace["trace_id"], trace_id.as_str());
    assert!(trace["spans"].as_array().is_some_and(|spans| spans.len() >= 20), "{trace}");

    let unknown = cli(&["trace", &"12".repeat(16), "--json"], None);
    assert!(!unknown.status.success(), "an unknown trace was found: {}", output_text(&unknown));
}

fn stalled(report: &Value) -> bool {
    let slowest = |of: &Value| of["latency_ms"]["max"].as_f64().expect("a latency");
    slowest(report) >= STALLED_MS || slowest(&report["warm_up"]) >= STALLED_MS
}

#[tokio::test]
async fn load_succeeds_with_complete_traces_and_no_losses() {
    // Its figures cover all services, so no other test may use them at the same time.
    let _guard = exclusive().await;
    let load = ["load", "--rate", "10", "--duration-s", "5", "--warm-up-s", "1", "--players", "5", "--json"];
    for _ in 0..ATTEMPTS_MAX {
        let output = cli(&load, None);
        let report = json(&output);
        if stalled(&report) {
            continue;
        }
        assert!(output.status.success(), "{}", output_text(&output));
        assert_eq!((&report["sent"], &report["settled"]), (&50.into(), &50.into()), "{report}");
        assert_eq!(report["warm_up"]["settled"], 10, "{report}");
        let traces = &report["traces"];
        assert_eq!((&traces["answered"], &traces["complete"]), (&60.into(), &60.into()), "{report}");
        for lost in ["client_reports", "drops"] {
            assert!(traces[lost].as_object().is_some_and(serde_json::Map::is_empty), "{report}");
        }
        return;
    }
    panic!("{ATTEMPTS_MAX} runs one after the other had a bet that took more than {STALLED_MS} ms");
}

/// Partitions of a reading, as group, topic and number.
fn partitions(reading: &Value) -> Vec<String> {
    let rows = reading["groups"].as_array().expect("rows").iter();
    rows.map(|row| format!("{} {} {}", row["group"], row["topic"], row["partition"])).collect()
}

#[tokio::test]
async fn lag_comes_from_lagwatch_or_from_broker() {
    let _guard = shared().await;
    bet();
    let broker = format!("127.0.0.1:{}", ports().http(Part::Kafka));
    let readings =
        [["lag", "--once", "--json"].as_slice(), &["lag", "--once", "--json", "--brokers", broker.as_str()]];
    let [lagwatch, direct] = readings.map(|args| {
        let output = cli(args, None);
        assert!(output.status.success(), "{}", output_text(&output));
        json(&output)
    });
    assert_eq!(partitions(&lagwatch), partitions(&direct));
    for reading in [&lagwatch, &direct] {
        let states = reading["states"].as_array().expect("states");
        let names: Vec<&Value> = states.iter().map(|state| &state["group"]).collect();
        assert_eq!(names, ["game", "payment", "user", "analytics", "notification"], "{reading}");
        assert!(states.iter().all(|state| state["members"].as_u64() >= Some(1)), "{reading}");
        let is_known = |row: &Value| row["lag_seconds"].is_number() || row["lag_messages"] != 0;
        assert!(reading["groups"].as_array().is_some_and(|rows| rows.iter().all(is_known)), "{reading}");
    }
    assert_eq!(direct["states"][0]["signature"], "unknown", "one reading says nothing");

    let text = cli(&["lag", "--once", "--group", "game", "--all"], None);
    let text = output_text(&text);
    assert!(text.contains("SIGNATURE") && text.contains("by lagwatch"), "{text}");
    assert!(
        text.contains("casino.payments.events.v1") && !text.contains("casino.players.events.v1"),
        "{text}"
    );
    let nothing = cli(&["lag", "--once", "--topic", "casino.unknown"], None);
    assert_eq!(nothing.status.code(), Some(1), "{}", output_text(&nothing));
}
