use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use contracts::debug::DebugEvent;
use serde_json::{Value, json};

use super::expectation::{Scene, expectations, is_known};
use super::*;
use crate::evidence::{ErrorEvent, Observation, Profile, Transaction};

pub(super) const PLAYER: &str = "p-7";
const ARMED: &str = "user.unauthorized";

fn trace_id() -> String {
    "ab".repeat(16)
}

fn event_id() -> String {
    "cd".repeat(16)
}

pub(super) fn row(fault: DebugFault) -> DebugRow {
    let service = fault.definition().services.first().copied().unwrap_or(Part::Payment);
    DebugRow { service, fault }
}

pub(super) fn answer() -> Answer {
    Answer { status: 500, body: json!({ "trace_id": trace_id(), "sentry_event_id": event_id() }) }
}

/// The value that the event of a fault has for each expectation of its list.
fn exception(row: DebugRow) -> Value {
    let (mut kind, mut text, mut function) = ("Kind", "a text", "reported");
    let mut is_unhandled = false;
    for expectation in expectations(row) {
        match expectation {
            Expectation::Type(wanted) => kind = wanted,
            Expectation::Text(wanted) => text = wanted,
            Expectation::Function(wanted) => function = wanted,
            Expectation::Unhandled => is_unhandled = true,
            _ => {}
        }
    }
    json!({
        "type": kind, "value": text,
        "mechanism": {
            "type": "generic", "handled": !is_unhandled, "exception_id": 0, "is_exception_group": true,
        },
        "stacktrace": { "frames": [
            { "function": "tokio::runtime::run", "in_app": false },
            { "function": format!("chassis::debug::{function}"), "in_app": true, "filename": "a.rs", "lineno": 3 },
        ]},
    })
}

/// An event as the recorder stored it, with everything that the list demands of this fault.
pub(super) fn event(row: DebugRow) -> Value {
    let (mut tags, mut details, mut fingerprint) = (json!({}), json!({}), Vec::new());
    let (mut exceptions, mut thread) = (Vec::new(), "worker");
    for expectation in expectations(row) {
        match expectation {
            Expectation::Tag(name, value) => {
                tags[name] = json!(if value.is_empty() { "find" } else { value })
            }
            Expectation::Detail(name) => details[name] = json!("a detail"),
            Expectation::Fingerprint(parts) => fingerprint = parts.to_vec(),
            Expectation::Linked(count) => {
                exceptions = vec![json!({ "mechanism": { "parent_id": 0 } }); count];
            }
            Expectation::Threads(name) if !name.is_empty() => thread = name,
            _ => {}
        }
    }
    exceptions.push(exception(row));
    json!({
        "event_id": event_id(),
        "minidump": row.is_deadly(),
        "user": { "id": PLAYER },
        "tags": tags,
        "fingerprint": fingerprint,
        "exception": { "values": exceptions },
        "breadcrumbs": { "values": [{ "message": "an operator asked for a debug fault" }] },
        "threads": { "values": [{ "name": thread, "crashed": true }, { "name": "other" }] },
        "contexts": {
            "trace": { "trace_id": trace_id() },
            "pitboss": details,
            "flags": { "values": [{ "flag": ARMED, "result": true }] },
            "process": {
                "rss_bytes": 200_000_000, "threads": 9, "tokio_workers": 2, "cpu_time_ms": 0,
                "tokio_alive_tasks": 0, "uptime_s": 0, "version": "1.2.3",
            },
        },
    })
}

fn transaction(service: &str) -> Transaction {
    let span = |op: &str, status: &str, end: f64| {
        json!({
            "span_id": "bb", "op": op, "status": status, "start_timestamp": 10.0, "timestamp": end,
        })
    };
    let payload = json!({
        "transaction": "POST /internal/v1/debug/{fault}", "start_timestamp": 10.0, "timestamp": 12.5,
        "contexts": { "trace": { "trace_id": trace_id(), "span_id": "aa", "op": "http.server" } },
        "spans": [
            span("function", "cancelled", 10.1), span("function", "cancelled", 10.1), span("db", "ok", 10.5),
        ],
    });
    Transaction::read(service, &payload).unwrap()
}

fn profile(service: &str) -> Profile {
    let payload = json!({
        "transaction": { "trace_id": trace_id() },
        "profile": {
            "frames": [{ "function": "chassis::debug::cpu::search_without_end" }],
            "stacks": [[0]],
            "samples": [{ "stack_id": 0 }],
        },
    });
    Profile::read(service, &payload).unwrap()
}

/// What arrived after a fault, with these events.
pub(super) fn observation(row: DebugRow, events: Vec<Value>) -> Observation {
    let service = row.service.as_str();
    Observation {
        events: events
            .iter()
            .map(|event| ErrorEvent::new(service, event, event["minidump"] == true))
            .collect(),
        transactions: vec![transaction("gateway"), transaction(service)],
        profiles: vec![profile(service)],
        ..Observation::default()
    }
}

fn events_of(row: DebugRow) -> Vec<Value> {
    if row.fault.definition().event == DebugEvent::None { Vec::new() } else { vec![event(row)] }
}

fn missing(row: DebugRow, answer: &Answer, seen: &Observation) -> Vec<Expectation> {
    Scene { row, answer, player_id: PLAYER, armed: ARMED, dumps_before: 0, seen }.missing()
}

#[test]
fn each_pair_of_the_list_is_a_row() {
    let names: BTreeSet<String> = rows().into_iter().map(DebugRow::name).collect();
    assert_eq!(
        names.len(),
        DebugFault::ALL.iter().map(|fault| fault.definition().services.len()).sum::<usize>()
    );
    assert!(names.contains("debug.payment.crash") && names.contains("debug.game.infinite-loop"));
}

#[test]
fn pattern_selects_by_its_parts() {
    let row = DebugRow { service: Part::Payment, fault: DebugFault::Crash };
    for pattern in ["debug.payment.crash", "debug.*", "debug.payment.*", "debug.*.crash", "debug.*.*"] {
        assert!(row.is_selected_by(pattern), "{pattern}");
    }
    for pattern in [
        "debug",
        "debug.payment",
        "debug.user.crash",
        "debug.payment.crash.x",
        "payment.crash",
        "debug.user.*",
    ] {
        assert!(!row.is_selected_by(pattern), "{pattern}");
    }
}

#[test]
fn complete_event_shows_its_fault() {
    for fault in DebugFault::ALL {
        let row = row(*fault);
        let seen = observation(row, events_of(row));
        assert_eq!(missing(row, &answer(), &seen), [], "{fault}");
        assert!(!missing(row, &answer(), &Observation::default()).is_empty(), "{fault} without any data");
    }
}

/// Otherwise a row would be proven by the event of another fault, as `--sabotage` causes it.
#[test]
fn event_of_another_fault_shows_nothing() {
    for fault in DebugFault::ALL {
        let row = row(*fault);
        for other in DebugFault::ALL.iter().filter(|other| *other != fault) {
            let sent = DebugRow { fault: *other, ..row };
            let seen = observation(row, events_of(sent));
            let is_same = row.is_deadly() && sent.is_deadly();
            assert!(is_same || !missing(row, &answer(), &seen).is_empty(), "{other} shows {fault}");
        }
        assert!(row.other() != row && row.other().fault.is_offered_by(row.service), "{fault}");
    }
}

#[test]
fn each_missing_part_is_named() {
    let row = row(DebugFault::Crash);
    let without = |change: fn(&mut Value)| {
        let mut event = event(row);
        change(&mut event);
        missing(row, &answer(), &observation(row, vec![event]))
    };
    assert_eq!(without(|event| event["user"]["id"] = json!("p-8")), [Expectation::User]);
    assert_eq!(without(|event| event["breadcrumbs"] = json!({})), [Expectation::Breadcrumbs]);
    assert_eq!(without(|event| event["contexts"]["flags"] = json!({})), [Expectation::ArmedFault]);
    assert_eq!(without(|event| event["threads"]["values"] = json!([])), [Expectation::Threads("")]);
    assert_eq!(without(|event| event["event_id"] = json!("e".repeat(32))), [Expectation::EventInAnswer]);
    for figure in ["rss_bytes", "threads", "tokio_workers", "cpu_time_ms", "tokio_alive_tasks", "version"] {
        let mut event = event(row);
        event["contexts"]["process"][figure] = Value::Null;
        assert_eq!(
            missing(row, &answer(), &observation(row, vec![event])),
            [Expectation::Process],
            "{figure}"
        );
    }
    let handled = without(|event| {
        let exceptions = event["exception"]["values"].as_array_mut();
        for exception in exceptions.into_iter().flatten() {
            exception["mechanism"]["handled"] = json!(true);
        }
    });
    assert_eq!(handled, [Expectation::Unhandled]);
}

#[test]
fn traces_have_to_agree() {
    let row = row(DebugFault::ErrorParse);
    let mut other = event(row);
    other["contexts"]["trace"]["trace_id"] = json!("0".repeat(32));
    let seen = observation(row, vec![other.clone()]);
    assert!(missing(row, &answer(), &seen).contains(&Expectation::OneEvent));
    let twice = observation(row, vec![event(row), event(row)]);
    assert_eq!(missing(row, &answer(), &twice), [Expectation::OneEvent]);
    let mut one_transaction = observation(row, vec![event(row)]);
    one_transaction.transactions.truncate(1);
    assert_eq!(missing(row, &answer(), &one_transaction), [Expectation::Transactions]);
    assert!(!missing(row, &Answer::default(), &seen).is_empty(), "an answer without a trace");
}

/// The control has no trace of the request, so an event of this kind in any trace counts.
#[test]
fn control_knows_the_event_in_any_trace() {
    for fault in DebugFault::ALL.iter().filter(|fault| fault.definition().event != DebugEvent::None) {
        let row = row(*fault);
        assert!(is_known(row, &observation(row, vec![event(row)])), "{fault}");
        assert!(!is_known(row, &observation(row, vec![event(row.other())])), "{fault}");
        assert!(!is_known(row, &Observation::default()), "{fault}");
    }
}

#[test]
fn each_fault_has_its_runbook() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/runbooks/debug");
    let known: BTreeSet<String> =
        DebugFault::ALL.iter().map(|fault| fault.to_string()).chain(DEADLY.map(str::to_owned)).collect();
    for fault in DebugFault::ALL {
        let path = folder.join(format!("{fault}.md"));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(text.starts_with(&format!("# `{fault}`: ")), "{fault}");
        for part in ["- **Seen:** ", "- **Where:** ", "- **Meaning:** ", "- **Do:** "] {
            assert!(text.contains(part), "{fault} lacks {part}");
        }
        assert!(text.contains(&format!("./pitboss verify 'debug.*.{fault}'")), "{fault}");
    }
    for entry in fs::read_dir(&folder).expect("the runbooks") {
        let name = entry.expect("a file").file_name().to_string_lossy().replace(".md", "");
        assert!(name == "README" || known.contains(&name), "{name} is a page of no debug fault");
    }
}
