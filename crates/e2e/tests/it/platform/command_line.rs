//! `bet`, `trace` and `load` as a user runs them: their output, and the exit code that reports whether the result holds.

use std::process::Output;
use std::time::{Duration, Instant};

use contracts::parts::Part;
use serde_json::Value;

use super::{cli, exclusive, is_busy, output_text, ports, shared};

/// A bet that takes this long met a machine that was busy with other work. Soon after this time the gateway queries the outcome
/// itself, which adds an edge to the trace, and later it answers 202.
const STALLED_MS: f64 = 1_500.0;
/// Time for a bet that meets no stall.
const PLAYED_WITHIN: Duration = Duration::from_secs(180);
/// Number of attempts when a stalled machine spoils the result.
const ATTEMPTS_MAX: usize = 5;
/// Time for all groups to have their members, and for lagwatch to read the lag after that.
const LAG_KNOWN_WITHIN: Duration = Duration::from_secs(60);
/// Interval between two runs of `lag`. Lagwatch reads every 3 s.
const LAG_POLL: Duration = Duration::from_millis(500);

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", output_text(output)))
}

/// Plays a bet by the command line and returns its trace id. A bet that met a stall is replaced by another one.
fn bet() -> String {
    let began = Instant::now();
    while began.elapsed() < PLAYED_WITHIN {
        let output = cli(&["bet", "--json"], None);
        if !output.status.success() {
            assert!(is_busy(&output_text(&output)), "{}", output_text(&output));
            continue;
        }
        let line = json(&output);
        assert!(["won", "lost"].contains(&line["bet"]["outcome"].as_str().unwrap_or_default()), "{line}");
        if line["took_ms"].as_f64().expect("a time") < STALLED_MS {
            return line["trace_id"].as_str().expect("a trace").to_owned();
        }
    }
    panic!("every bet within {PLAYED_WITHIN:?} took more than {STALLED_MS} ms");
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

#[tokio::test]
async fn issues_of_a_platform_are_listed() {
    let _guard = shared().await;
    let listed = cli(&["issue", "list", "--status", "all", "--json"], None);
    assert!(listed.status.success(), "{}", output_text(&listed));
    assert!(json(&listed)["issues"].is_array(), "{}", output_text(&listed));
    let unknown = cli(&["issue", "show", &"12".repeat(16)], None);
    assert_eq!(unknown.status.code(), Some(1), "{}", output_text(&unknown));
    assert!(output_text(&unknown).contains("there is no such issue"), "{}", output_text(&unknown));
}

fn stalled(report: &Value) -> bool {
    let slowest = |of: &Value| of["latency_ms"]["max"].as_f64().expect("a latency");
    slowest(report) >= STALLED_MS || slowest(&report["warm_up"]) >= STALLED_MS
}

#[tokio::test]
async fn load_has_complete_traces_and_no_losses() {
    // Its figures cover all services, so no other test may use them at the same time.
    let _guard = exclusive().await;
    let load = ["load", "--rate", "10", "--duration-s", "5", "--warm-up-s", "1", "--players", "5", "--json"];
    for _ in 0..ATTEMPTS_MAX {
        let output = cli(&load, None);
        if output.stdout.is_empty() && is_busy(&output_text(&output)) {
            continue;
        }
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

/// Reader of the lag that a run of `lag` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    /// Lagwatch, which has watched all partitions for a while and knows the age of every record.
    Lagwatch,
    /// The command itself. One reading may not find the time of a record that is unread.
    Command,
}

/// Returns the gaps of a reading: groups without members, and rows without an age.
fn unknown_lag(reading: &Value, reader: Reader) -> Vec<String> {
    let (states, rows) = (reading["states"].as_array(), reading["groups"].as_array());
    let has_no_member = |state: &&Value| state["members"].as_u64() < Some(1);
    let may_be_unknown = |row: &Value| reader == Reader::Command && row["lag_messages"] != 0;
    let is_unknown = |row: &&Value| !row["lag_seconds"].is_number() && !may_be_unknown(row);
    let states = states.expect("states").iter().filter(has_no_member);
    states.chain(rows.expect("rows").iter().filter(is_unknown)).map(ToString::to_string).collect()
}

/// Runs `lag` until every group has members and the lag of every partition is known. Lagwatch answers with a reading of some
/// seconds ago, and a group that rebalances has no members for a moment.
async fn known_lag(reader: Reader, args: &[&str]) -> Value {
    let began = Instant::now();
    loop {
        let output = cli(&[&["lag", "--once", "--json"], args].concat(), None);
        let unknown = if output.status.success() {
            let reading = json(&output);
            let unknown = unknown_lag(&reading, reader);
            if unknown.is_empty() {
                return reading;
            }
            unknown
        } else {
            let text = output_text(&output);
            // Every other failure is a defect.
            let is_too_early = output.status.code() == Some(1) && text.contains("no recent reading");
            assert!(is_too_early && reader == Reader::Lagwatch, "{:?}: {text}", output.status);
            vec![text]
        };
        assert!(began.elapsed() < LAG_KNOWN_WITHIN, "unknown after {LAG_KNOWN_WITHIN:?}: {unknown:#?}");
        tokio::time::sleep(LAG_POLL).await;
    }
}

#[tokio::test]
async fn lag_comes_from_lagwatch_or_from_broker() {
    let _guard = shared().await;
    bet();
    let broker = format!("127.0.0.1:{}", ports().http(Part::Kafka));
    let lagwatch = known_lag(Reader::Lagwatch, &[]).await;
    let direct = known_lag(Reader::Command, &["--brokers", broker.as_str()]).await;
    assert_eq!(partitions(&lagwatch), partitions(&direct));
    for reading in [&lagwatch, &direct] {
        let states = reading["states"].as_array().expect("states");
        let names: Vec<&Value> = states.iter().map(|state| &state["group"]).collect();
        assert_eq!(names, ["game", "payment", "user", "analytics", "notification"], "{reading}");
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
