//! Tables and JSON of a lag reading.

use std::collections::BTreeMap;

use bus::lag::{GroupStatus, PartitionLag};
use comfy_table::{Cell, Color, Table};
use serde::Serialize;

use super::signature::Signature;
use super::source::LagReading;
use crate::output::{Output, borderless_table, counted};

/// Text for a value that is not known.
const UNKNOWN: &str = "–";
/// What is said below groups whose signature is not known. It fits a narrow output.
const FEW_READINGS: &str = "unknown: a signature needs three readings, without --once";

/// A reading as text: a line for each group, and one for each partition, by default only those with lag. `watcher` remembers when
/// records were first seen.
#[must_use]
pub fn text(
    reading: &LagReading,
    signatures: &BTreeMap<String, Signature>,
    shows_all: bool,
    watcher: &str,
    output: &Output,
) -> String {
    let groups = if output.is_narrow() {
        group_lines(reading, signatures, output)
    } else {
        group_table(reading, signatures, output).to_string()
    };
    let rows: Vec<&PartitionLag> =
        reading.groups.iter().filter(|lag| shows_all || lag.lag_messages > 0).collect();
    let partitions = match rows.as_slice() {
        [] => "no partition has unread records".to_owned(),
        rows if output.is_narrow() => partition_lines(rows, output),
        rows => partition_table(rows, output).to_string(),
    };
    let is_unknown = |status: &GroupStatus| signature_of(status, signatures) == Signature::Unknown;
    let few = if reading.states.iter().any(is_unknown) { format!("\n{FEW_READINGS}") } else { String::new() };
    let LagReading { number, watched_s, age_ms, .. } = reading;
    format!(
        "{groups}{few}\n\n{partitions}\n\nreading {number}, {age_ms} ms old, watched for {watched_s} s by {watcher}"
    )
}

fn group_lines(reading: &LagReading, signatures: &BTreeMap<String, Signature>, output: &Output) -> String {
    let lines = reading.states.iter().flat_map(|status| {
        let rows: Vec<&PartitionLag> =
            reading.groups.iter().filter(|lag| lag.group == status.group).collect();
        let lag: i64 = rows.iter().map(|lag| lag.lag_messages).sum();
        let held: i64 = rows.iter().map(|lag| lag.held_messages).sum();
        let (members, joins) = (counted(status.members, "member"), counted(status.joins, "join"));
        [
            format!("{}  {}  {}", status.group, status.state.as_str(), signature_of(status, signatures)),
            format!("  {members}, {joins}"),
            format!("  lag {lag}, held {held}, {}", oldest_text(&oldest(&rows))),
        ]
    });
    output.cut(&lines.collect::<Vec<_>>())
}

fn partition_lines(rows: &[&PartitionLag], output: &Output) -> String {
    let lines = rows.iter().flat_map(|lag| {
        [
            format!("{}/{}", lag.topic, lag.partition),
            format!("  group {}", lag.group),
            format!(
                "  lag {}, held {}, {}",
                lag.lag_messages,
                lag.held_messages,
                oldest_text(&seconds(lag.lag_seconds))
            ),
            format!("  committed {}, end {}", committed(lag), lag.end),
        ]
    });
    output.cut(&lines.collect::<Vec<_>>())
}

fn oldest_text(age_s: &str) -> String {
    if age_s == UNKNOWN { "age unknown".to_owned() } else { format!("oldest {age_s} s") }
}

fn group_table(reading: &LagReading, signatures: &BTreeMap<String, Signature>, output: &Output) -> Table {
    let header = ["GROUP", "STATE", "MEMBERS", "JOINS", "LAG", "HELD", "OLDEST S", "SIGNATURE"];
    let mut table = borderless_table(output.columns, &header);
    for status in &reading.states {
        let rows: Vec<&PartitionLag> =
            reading.groups.iter().filter(|lag| lag.group == status.group).collect();
        let signature = signature_of(status, signatures);
        let cell = Cell::new(signature);
        let is_fault = !matches!(signature, Signature::Unknown | Signature::Steady);
        table.add_row(vec![
            Cell::new(&status.group),
            Cell::new(status.state.as_str()),
            Cell::new(status.members),
            Cell::new(status.joins),
            Cell::new(rows.iter().map(|lag| lag.lag_messages).sum::<i64>()),
            Cell::new(rows.iter().map(|lag| lag.held_messages).sum::<i64>()),
            Cell::new(oldest(&rows)),
            if output.colours && is_fault { cell.fg(Color::Red) } else { cell },
        ]);
    }
    table
}

fn partition_table(rows: &[&PartitionLag], output: &Output) -> Table {
    let header = ["GROUP", "TOPIC", "PARTITION", "LAG", "HELD", "OLDEST S", "COMMITTED", "END"];
    let mut table = borderless_table(output.columns, &header);
    for lag in rows {
        table.add_row(vec![
            lag.group.clone(),
            lag.topic.clone(),
            lag.partition.to_string(),
            lag.lag_messages.to_string(),
            lag.held_messages.to_string(),
            seconds(lag.lag_seconds),
            committed(lag),
            lag.end.to_string(),
        ]);
    }
    table
}

/// The committed offset. One beyond the end is marked, because the next member begins at the oldest record.
fn committed(lag: &PartitionLag) -> String {
    let Some(offset) = lag.committed else { return UNKNOWN.to_owned() };
    if lag.is_beyond_end { format!("{offset} (beyond the end)") } else { offset.to_string() }
}

/// The greatest known age. Unknown if partitions have unread records and no age is known.
fn oldest(rows: &[&PartitionLag]) -> String {
    let lagging = rows.iter().filter(|lag| lag.lag_messages > 0);
    let ages: Vec<Option<f64>> = lagging.map(|lag| lag.lag_seconds).collect();
    match ages.iter().flatten().copied().reduce(f64::max) {
        None if ages.is_empty() => seconds(Some(0.0)),
        oldest => seconds(oldest),
    }
}

fn seconds(age: Option<f64>) -> String {
    age.map_or_else(|| UNKNOWN.to_owned(), |age| format!("{age:.1}"))
}

fn signature_of(status: &GroupStatus, signatures: &BTreeMap<String, Signature>) -> Signature {
    signatures.get(&status.group).copied().unwrap_or(Signature::Unknown)
}

/// A group's state with its signature, in JSON.
#[derive(Serialize)]
struct StateJson<'a> {
    #[serde(flatten)]
    status: &'a GroupStatus,
    signature: Signature,
}

/// A reading in JSON.
#[derive(Serialize)]
struct ReadingJson<'a> {
    groups: &'a [PartitionLag],
    states: Vec<StateJson<'a>>,
    number: u64,
    watched_s: u64,
    age_ms: u64,
}

/// A reading as one line of JSON.
///
/// # Errors
/// Never for a reading: its values are numbers and text.
pub fn json(
    reading: &LagReading,
    signatures: &BTreeMap<String, Signature>,
) -> Result<String, serde_json::Error> {
    let states = reading.states.iter();
    let states = states.map(|status| StateJson { status, signature: signature_of(status, signatures) });
    serde_json::to_string(&ReadingJson {
        groups: &reading.groups,
        states: states.collect(),
        number: reading.number,
        watched_s: reading.watched_s,
        age_ms: reading.age_ms,
    })
}

#[cfg(test)]
mod tests {
    use bus::lag::GroupState;
    use serde_json::Value;

    use super::*;

    fn reading() -> LagReading {
        let lag = |partition, lag_messages, lag_seconds| PartitionLag {
            group: "game".to_owned(),
            topic: "casino.bets.commands.v1".to_owned(),
            partition,
            lag_messages,
            held_messages: 0,
            lag_seconds,
            committed: (partition > 0).then_some(40),
            end: 40 + lag_messages,
            stable_end: 40 + lag_messages,
            members: 1,
            is_beyond_end: false,
        };
        let group = "game".to_owned();
        LagReading {
            groups: vec![lag(0, 7, Some(12.34)), lag(1, 2, None), lag(2, 0, Some(0.0))],
            states: vec![GroupStatus { group, state: GroupState::Stable, members: 1, joins: 2 }],
            number: 3,
            watched_s: 9,
            age_ms: 120,
        }
    }

    fn signatures() -> BTreeMap<String, Signature> {
        BTreeMap::from([("game".to_owned(), Signature::Slow)])
    }

    #[test]
    fn table_has_groups_and_lagging_partitions() {
        let output = Output { json: false, colours: false, columns: 120 };
        let shown = |shows_all| text(&reading(), &signatures(), shows_all, "lagwatch", &output);
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let lines: Vec<Vec<String>> = shown(false).lines().map(words).collect();
        assert!(lines.contains(&words("game stable 1 2 9 0 12.3 slow")), "{lines:?}");
        assert!(lines.contains(&words("game casino.bets.commands.v1 0 7 0 12.3 – 47")), "{lines:?}");
        assert!(lines.contains(&words("game casino.bets.commands.v1 1 2 0 – 40 42")), "{lines:?}");
        assert_eq!(shown(true).lines().count(), shown(false).lines().count() + 1, "a partition without lag");
        let narrow = Output { columns: 60, ..output };
        let text = text(&reading(), &signatures(), false, "lagwatch", &narrow);
        assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
        for part in [
            "game  stable  slow\n  1 member, 2 joins\n  lag 9, held 0, oldest 12.3 s\n",
            "casino.bets.commands.v1/0\n  group game\n  lag 7, held 0, oldest 12.3 s\n  committed –, end 47\n",
            "casino.bets.commands.v1/1\n  group game\n  lag 2, held 0, age unknown\n  committed 40, end 42\n",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn unknown_signature_is_explained() {
        let output = Output { json: false, colours: false, columns: 60 };
        let of = |signatures: BTreeMap<String, Signature>| {
            text(&reading(), &signatures, false, "lagwatch", &output)
        };
        let unknown = of(BTreeMap::new());
        assert!(unknown.contains("game  stable  unknown") && unknown.contains(FEW_READINGS), "{unknown}");
        assert!(unknown.lines().all(|line| line.chars().count() <= 60), "{unknown}");
        assert!(!of(signatures()).contains(FEW_READINGS));
    }

    #[test]
    fn offset_beyond_the_end_is_marked() {
        let mut reading = reading();
        let lag = reading.groups.get_mut(1).unwrap();
        (lag.committed, lag.is_beyond_end) = (Some(50), true);
        for columns in [60, 160] {
            let output = Output { json: false, colours: false, columns };
            let text = text(&reading, &signatures(), false, "lagwatch", &output);
            assert!(text.contains("50 (beyond the end)"), "{text}");
        }
    }

    #[test]
    fn json_has_all_partitions_and_the_signature() {
        let json: Value = serde_json::from_str(&json(&reading(), &signatures()).unwrap()).unwrap();
        assert_eq!(json["groups"].as_array().map(Vec::len), Some(3));
        assert_eq!(json["groups"][1]["lag_seconds"], Value::Null);
        let state = &json["states"][0];
        assert_eq!((&state["state"], &state["signature"]), (&"stable".into(), &"slow".into()));
        assert_eq!((&state["joins"], &json["number"]), (&2.into(), &3.into()));
    }
}
