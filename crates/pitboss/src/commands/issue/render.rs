//! Issues for people: a table, and all facts about one.

use std::fmt::Write as _;

use serde_json::Value;
use time::OffsetDateTime;

use crate::output::{Output, borderless_table, counted, plain};

/// Number of digits of an id in the table. They are enough to name the issue.
const ID_DIGITS: usize = 8;
/// Number of our own frames that are shown of a stack. The page shows all.
const FRAMES_SHOWN: usize = 10;

/// The list as a table, or as a few lines for each issue on a narrow output.
pub(super) fn list(issues: &[Value], output: &Output) -> String {
    if output.is_narrow() {
        let lines: Vec<String> = issues.iter().flat_map(block).collect();
        return output.cut(&lines);
    }
    let header = ["ID", "STATE", "EVENTS", "LAST SEEN (UTC)", "SERVICE", "TITLE"];
    let mut table = borderless_table(output.columns, &header);
    for issue in issues {
        table.add_row([
            short_id(issue),
            plain(&state(issue)),
            issue["count"].to_string(),
            clock(&issue["last_seen"]),
            plain(text(&issue["project"])),
            plain(text(&issue["title"])),
        ]);
    }
    table.to_string()
}

fn block(issue: &Value) -> [String; 2] {
    let project = text(&issue["project"]);
    let facts = format!("{}  {project}  {}  {}", short_id(issue), state(issue), events(&issue["count"]));
    [plain(&facts), format!("  {}", plain(text(&issue["title"])))]
}

/// All facts about an issue. `pages` is the address of the recorder's pages.
pub(super) fn show(issue: &Value, pages: &str) -> String {
    let mut shown = String::new();
    let mut line = |name: &str, value: &str| {
        let _infallible = writeln!(shown, "{name:<11} {}", plain(value));
    };
    line("issue", text(&issue["id"]));
    line("title", text(&issue["title"]));
    line("service", text(&issue["project"]));
    line("state", &state(issue));
    line("events", &issue["count"].to_string());
    line("first seen", &format!("{} UTC", clock(&issue["first_seen"])));
    line("last seen", &format!("{} UTC", clock(&issue["last_seen"])));
    line("releases", &texts(&issue["releases"]).join(", "));
    line("page", &format!("{pages}/issues/{}", text(&issue["id"])));
    if let Some(trace_id) = issue["last_trace_id"].as_str() {
        line("last trace", trace_id);
    }
    for frame in own_frames(&issue["events"][0]["stack"]) {
        line("stack", &frame);
    }
    for entry in list_of(&issue["activity"]) {
        let by = entry["by"].as_str().map(|by| format!(" by {by}")).unwrap_or_default();
        let kind = text(&entry["type"]).replace('_', " ");
        line("activity", &format!("{}  {kind}{by}: {}", clock(&entry["at"]), text(&entry["why"])));
    }
    for verdict in list_of(&issue["outlook"]) {
        let outcome = if verdict["regresses"] == true { "opens it again" } else { "leaves it resolved" };
        let release = text(&verdict["release"]);
        line("outlook", &format!("an event of {release} {outcome}: {}", text(&verdict["why"])));
    }
    shown
}

/// The frames of our own code in the stack of the newest event, the innermost first.
fn own_frames(stack: &Value) -> Vec<String> {
    let own = list_of(&stack["frames"]).iter().rev().filter(|frame| frame["in_app"] == true);
    own.take(FRAMES_SHOWN)
        .map(|frame| {
            let line = frame["line"].as_u64().map(|line| format!(":{line}")).unwrap_or_default();
            let unnamed = || {
                let address = frame["address"].as_str().map(|address| format!(" at {address}"));
                format!("?{}", address.unwrap_or_default())
            };
            let function = frame["function"].as_str().map_or_else(unnamed, str::to_owned);
            let module = if frame["function"].is_null() { text(&frame["module"]) } else { "" };
            let file = frame["file"].as_str().unwrap_or(module);
            format!("{function}  {file}{line}").trim_end().to_owned()
        })
        .collect()
}

/// The state in a few words.
fn state(issue: &Value) -> String {
    let details = &issue["statusDetails"];
    let of = |member: &str| details[member].as_str();
    match (text(&issue["status"]), of("inRelease"), of("afterRelease")) {
        ("resolved", Some(release), _) => format!("resolved in {release}"),
        ("resolved", None, Some(after)) => format!("resolved after {after}"),
        ("resolved", None, None) => match of("inCommit") {
            Some(commit) => format!("resolved in commit {commit}"),
            None => "resolved".to_owned(),
        },
        ("ignored", ..) if issue["substatus"] == "archived_until_escalating" => {
            "archived until it escalates".to_owned()
        }
        ("ignored", ..) => match (details["ignoreCount"].as_u64(), &details["ignoreUntil"]) {
            (Some(_), _) => format!("archived for {}", events(&details["ignoreCount"])),
            (None, Value::Null) => "archived".to_owned(),
            (None, until) => format!("archived until {}", clock(until)),
        },
        _ => text(&issue["substatus"]).to_owned(),
    }
}

/// A number of events.
fn events(count: &Value) -> String {
    counted(count.as_u64().unwrap_or_default(), "event")
}

fn short_id(issue: &Value) -> String {
    text(&issue["id"]).chars().take(ID_DIGITS).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list_of(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn texts(value: &Value) -> Vec<&str> {
    list_of(value).iter().map(text).collect()
}

/// Formats seconds since the epoch in UTC.
fn clock(seconds: &Value) -> String {
    let seconds = seconds.as_f64().unwrap_or_default();
    let Ok(at) = OffsetDateTime::from_unix_timestamp(seconds as i64) else { return "–".to_owned() };
    format!("{} {:02}:{:02}:{:02}", at.date(), at.hour(), at.minute(), at.second())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn issue() -> Value {
        json!({
            "id": "0123456789abcdef0123456789abcdef", "title": "ReelError: stuck", "project": "game",
            "status": "resolved", "substatus": null, "statusDetails": { "inRelease": "g@1.1.0" }, "count": 7,
            "last_trace_id": "0af7651916cd43dd8448eb211c80319c",
            "first_seen": 0.5, "last_seen": 86_400.0, "releases": ["g@1.0.0", "g@1.1.0"],
            "activity": [{ "at": 60.0, "type": "set_resolved_in_release", "by": "anna", "why": "resolved in g@1.1.0" }],
            "outlook": [{ "release": "g@1.0.0", "regresses": false, "why": "it is older" }],
            "events": [{ "stack": { "frames": [
                { "function": "game::turn", "file": "services/game/src/reels.rs", "line": 7, "in_app": true },
                { "function": "core::unwrap", "file": "library/core/src/option.rs", "line": 9, "in_app": false },
                { "function": "game::spin", "file": null, "line": null, "in_app": true },
            ] } }],
        })
    }

    #[test]
    fn list_is_a_table_or_lines() {
        let output = |columns| Output { json: false, colours: false, columns };
        let table = list(&[issue()], &output(140));
        assert!(table.contains("01234567 ") && table.contains("resolved in g@1.1.0"), "{table}");
        assert!(table.contains("1970-01-02 00:00:00") && !table.contains("012345678"), "{table}");
        let lines = list(&[issue()], &output(60));
        assert_eq!(lines.lines().count(), 2, "{lines}");
        assert!(lines.contains("  ReelError: stuck") && lines.contains("  7 events"), "{lines}");
    }

    #[test]
    fn all_facts_are_shown() {
        let shown = show(&issue(), "http://127.0.0.1:8110");
        for line in [
            "issue       0123456789abcdef0123456789abcdef",
            "releases    g@1.0.0, g@1.1.0",
            "page        http://127.0.0.1:8110/issues/0123456789abcdef0123456789abcdef",
            "last trace  0af7651916cd43dd8448eb211c80319c",
            "activity    1970-01-01 00:01:00  set resolved in release by anna: resolved in g@1.1.0",
            "outlook     an event of g@1.0.0 leaves it resolved: it is older",
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line}: {shown}");
        }
        let stack: Vec<&str> = shown.lines().filter(|line| line.starts_with("stack ")).collect();
        assert_eq!(
            stack,
            ["stack       game::spin", "stack       game::turn  services/game/src/reels.rs:7"],
            "the innermost first, and only ours"
        );
    }

    #[test]
    fn frame_without_a_name_is_shown_with_its_place() {
        let stack = json!({ "frames": [
            { "function": null, "file": null, "line": null, "in_app": true },
            { "function": null, "module": "payment", "address": "0x55d0", "file": null, "line": null, "in_app": true },
        ] });
        assert_eq!(own_frames(&stack), ["? at 0x55d0  payment", "?"]);
    }

    #[test]
    fn terminal_obeys_no_text_of_a_sender() {
        let hostile = "a\u{1b}[2Jb\nissue";
        let mut issue = issue();
        issue["title"] = hostile.into();
        issue["statusDetails"]["inRelease"] = hostile.into();
        issue["activity"][0]["why"] = hostile.into();
        issue["outlook"][0]["release"] = hostile.into();
        issue["releases"][0] = hostile.into();
        issue["events"][0]["stack"]["frames"][0]["function"] = hostile.into();
        let output = |columns| Output { json: false, colours: false, columns };
        let issues = [issue];
        for shown in [list(&issues, &output(140)), list(&issues, &output(60)), show(&issues[0], "")] {
            assert!(!shown.contains('\u{1b}') && shown.contains("a\u{fffd}[2Jb\u{fffd}"), "{shown}");
            assert!(!shown.lines().any(|line| line == "issue"), "{shown}");
        }
    }

    #[test]
    fn states_are_told_in_words() {
        let of = |status: &str, substatus: Value, details: Value| {
            state(&json!({ "status": status, "substatus": substatus, "statusDetails": details }))
        };
        assert_eq!(of("unresolved", json!("regressed"), json!({})), "regressed");
        assert_eq!(of("resolved", Value::Null, json!({})), "resolved");
        let next = json!({ "inNextRelease": true, "afterRelease": "g@1" });
        assert_eq!(of("resolved", Value::Null, next), "resolved after g@1");
        let commit = json!({ "inCommit": "423d6be" });
        assert_eq!(of("resolved", Value::Null, commit), "resolved in commit 423d6be");
        assert_eq!(of("ignored", Value::Null, json!({})), "archived");
        let escalating = json!("archived_until_escalating");
        assert_eq!(of("ignored", escalating, json!({})), "archived until it escalates");
        assert_eq!(of("ignored", Value::Null, json!({ "ignoreCount": 5 })), "archived for 5 events");
        assert_eq!(of("ignored", Value::Null, json!({ "ignoreCount": 1 })), "archived for 1 event");
        let until = json!({ "ignoreUntil": 0.0 });
        assert_eq!(of("ignored", Value::Null, until), "archived until 1970-01-01 00:00:00");
    }
}
