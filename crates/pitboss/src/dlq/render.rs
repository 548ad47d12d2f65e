//! Dead letters for people: a table on a wide terminal, a few lines for each letter on a narrow one, and all facts about one.

use std::fmt::Write as _;

use bus::letter::{Action, Content};
use comfy_table::ColumnConstraint;
use console::truncate_str;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::entry::{Entry, HEX_BYTES_MAX, hex, printable};
use super::filter::NO_CLASS;
use crate::output::borderless_table;

/// Width from which the list is a table.
const TABLE_COLUMNS_MIN: usize = 120;
/// Number of bytes of a value that `show` prints.
const VALUE_BYTES_MAX: usize = 4_096;
/// Number of bytes of a header that `show` prints.
const HEADER_BYTES_MAX: usize = 1_024;
/// Number of headers that `show` prints.
const HEADERS_MAX: usize = 64;

/// Surroundings of the output.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Width of the output.
    pub columns: usize,
    /// The time, in milliseconds since 1970.
    pub now_ms: i64,
    /// URL of the recorder's pages, without a slash at the end. `None` if it is unknown.
    pub recorder_url: Option<String>,
}

impl Frame {
    /// Address of a trace.
    #[must_use]
    pub fn trace_url(&self, trace_id: &str) -> Option<String> {
        Some(format!("{}/traces/{trace_id}", self.recorder_url.as_deref()?))
    }
}

/// The list.
#[must_use]
pub fn list(entries: &[Entry], frame: &Frame) -> String {
    if frame.columns >= TABLE_COLUMNS_MIN {
        return table(entries, frame);
    }
    entries.iter().map(|entry| block(entry, frame)).collect::<Vec<_>>().join("\n")
}

fn table(entries: &[Entry], frame: &Frame) -> String {
    let mut table = borderless_table(frame.columns, &["ID", "CLASS", "AGE", "TYPE", "REASON", "TRACE"]);
    for entry in entries {
        let letter = &entry.letter;
        table.add_row([
            letter.id.to_string(),
            class(entry),
            age(entry, frame),
            event_type(entry),
            reason(entry),
            letter.trace_id().unwrap_or_else(|| "–".to_owned()),
        ]);
    }
    // The trace id is for copying, so it is never broken
    if let Some(trace) = table.column_mut(5) {
        trace.set_constraint(ColumnConstraint::ContentWidth);
    }
    table.to_string()
}

/// A letter in a few lines.
#[must_use]
pub fn block(entry: &Entry, frame: &Frame) -> String {
    let letter = &entry.letter;
    let mut lines = vec![
        format!("{}  {}  {}", letter.id, class(entry), age(entry, frame)),
        format!("  {}", event_type(entry)),
        format!("  {}", reason(entry)),
    ];
    if let Some(trace_id) = letter.trace_id() {
        // An address that was cut leads nowhere
        let url = frame.trace_url(&trace_id).filter(|url| url.len() + 2 <= frame.columns);
        lines.push(url.map_or_else(|| format!("  trace {trace_id}"), |url| format!("  {url}")));
    }
    if let Some(handled) = &entry.handled {
        lines.push(format!("  {}", action(&handled.last)));
    }
    let cut = |line: &String| truncate_str(line, frame.columns, "…").into_owned();
    lines.iter().map(cut).collect::<Vec<_>>().join("\n")
}

fn class(entry: &Entry) -> String {
    let class = match entry.letter.verdict.class.as_str() {
        "" => NO_CLASS,
        class => class,
    };
    let copies = if entry.copies > 1 { format!(" ({} copies)", entry.copies) } else { String::new() };
    let closed = if entry.is_open { "" } else { " closed" };
    format!("{class}{copies}{closed}")
}

fn event_type(entry: &Entry) -> String {
    entry.letter.event_type().unwrap_or_else(|| "unknown type".to_owned())
}

fn reason(entry: &Entry) -> String {
    match entry.letter.verdict.reason.as_str() {
        "" => "no reason in its headers".to_owned(),
        reason => reason.to_owned(),
    }
}

fn age(entry: &Entry, frame: &Frame) -> String {
    entry.age_s(frame.now_ms).map_or_else(|| "–".to_owned(), duration)
}

/// A duration in its largest unit.
#[must_use]
pub fn duration(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// An action in one line.
#[must_use]
pub fn action(action: &Action) -> String {
    let by = printable(action.by.as_bytes(), HEADER_BYTES_MAX);
    let at = printable(to_the_second(&action.at).as_bytes(), HEADER_BYTES_MAX);
    let mut text = format!("{} by {by} at {at}", action.action.as_str());
    if !action.reason.is_empty() {
        text.push_str(": ");
        text.push_str(&printable(action.reason.as_bytes(), HEADER_BYTES_MAX));
    }
    text
}

/// A time without its fraction of a second. A text that is not a time stays as it is.
fn to_the_second(at: &str) -> String {
    let whole = OffsetDateTime::parse(at, &Rfc3339).ok().and_then(|time| time.replace_nanosecond(0).ok());
    whole.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| at.to_owned())
}

/// Everything about one letter.
#[must_use]
pub fn show(entry: &Entry, frame: &Frame) -> String {
    let letter = &entry.letter;
    let verdict = &letter.verdict;
    let trace_id = letter.trace_id();
    let trace = trace_id.map(|trace_id| frame.trace_url(&trace_id).unwrap_or(trace_id));
    let facts = [
        ("id", Some(letter.id.to_string())),
        ("group", Some(letter.id.group.to_string())),
        ("class", Some(class(entry))),
        ("reason", Some(reason(entry))),
        ("attempts", verdict.attempts.map(|attempts| attempts.to_string())),
        ("parked", Some(verdict.failed_at.clone()).filter(|at| !at.is_empty())),
        ("age", Some(age(entry, frame))),
        ("first place", Some(letter.first.to_string())),
        ("event", Some(letter.event_id.to_string())),
        ("type", letter.event_type()),
        ("key", letter.key().map(|key| printable(key, HEADER_BYTES_MAX))),
        ("trace", trace),
        ("last action", entry.handled.as_ref().map(|handled| action(&handled.last))),
    ];
    let mut text = String::new();
    for (name, fact) in facts {
        if let Some(fact) = fact {
            let _written = writeln!(text, "{name:<12}{fact}");
        }
    }
    text.push_str("\nheaders\n");
    for (name, value) in letter.headers().iter().take(HEADERS_MAX) {
        let (name, value) =
            (printable(name.as_bytes(), HEADER_BYTES_MAX), printable(value, HEADER_BYTES_MAX));
        let _written = writeln!(text, "  {name}: {value}");
    }
    let hidden = letter.headers().len().saturating_sub(HEADERS_MAX);
    if hidden > 0 {
        let _written = writeln!(text, "  and {hidden} more");
    }
    let _written = write!(text, "\nvalue ({} bytes)\n{}", letter.value_bytes(), value(entry));
    text
}

/// The decoded value with an indent of two columns, bounded.
fn value(entry: &Entry) -> String {
    let whole = match entry.letter.content() {
        Content::Message { json, .. } | Content::Json(json) => {
            serde_json::to_string_pretty(&json).unwrap_or_default()
        }
        Content::Text(text) => text,
        Content::Bytes(bytes) => return format!("  0x{}\n", hex(&bytes, HEX_BYTES_MAX)),
        Content::Empty => return "  none\n".to_owned(),
    };
    let (mut shown, mut left) = (String::new(), VALUE_BYTES_MAX);
    for line in whole.lines() {
        let Some(after) = left.checked_sub(line.len()) else {
            let _written = writeln!(shown, "  {}", printable(line.as_bytes(), left));
            break;
        };
        left = after;
        let _written = writeln!(shown, "  {}", printable(line.as_bytes(), line.len()));
    }
    shown
}

#[cfg(test)]
mod tests {
    use bus::letter::History;

    use super::super::entry::unite;
    use super::super::filter::tests::letter;
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    fn entries(reason: &str, value: &str) -> Vec<Entry> {
        let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
        let headers = [
            ("traceparent", parent.as_str()),
            ("dlq-error-class", "undecodable"),
            ("dlq-error-message", reason),
            ("ce_type", "casino.bets.v1.PlaceBet"),
        ];
        unite(vec![letter(12, 1_000, &headers, value)], &History::default())
    }

    fn frame(columns: usize) -> Frame {
        Frame { columns, now_ms: 301_000, recorder_url: Some("http://127.0.0.1:8110".to_owned()) }
    }

    #[test]
    fn narrow_list_fits_and_names_the_trace() {
        let text = list(&entries(&"a long reason ".repeat(9), "{}"), &frame(60));
        assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "game/bets.commands/12  undecodable  5 min");
        assert_eq!(lines[1].trim(), "casino.bets.v1.PlaceBet");
        assert_eq!(lines[3].trim(), format!("trace {TRACE}"), "the address would not fit");
        let wider = list(&entries("short", "{}"), &frame(80));
        assert!(wider.contains(&format!("http://127.0.0.1:8110/traces/{TRACE}")), "{wider}");
    }

    #[test]
    fn wide_list_is_a_table() {
        for columns in [120, 160] {
            let text = list(&entries("no such game", "{}"), &frame(columns));
            assert!(text.lines().next().is_some_and(|head| head.contains("REASON")), "{text}");
            assert!(text.contains("no such game") && text.contains(TRACE), "{text}");
            assert!(text.lines().all(|line| line.chars().count() <= columns), "{text}");
        }
        let long = list(&entries(&"a long reason ".repeat(9), "{}"), &frame(120));
        assert!(long.contains(TRACE) && long.lines().all(|line| line.chars().count() <= 120), "{long}");
    }

    #[test]
    fn letter_is_shown_with_headers_and_value() {
        let text = show(&entries("stakee", r#"{"stakee":{"minor":"100"}}"#)[0], &frame(60));
        for part in [
            "reason      stakee",
            "  ce_type: casino.bets.v1.PlaceBet",
            "    \"minor\": \"100\"",
            "value (26 bytes)",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let long = show(&entries("r", &"x".repeat(9_000))[0], &frame(60));
        assert!(long.len() < 6_000 && long.contains('…'), "the value is bounded");
        assert!(show(&entries("r", "")[0], &frame(60)).ends_with("  none\n"));
    }

    #[test]
    fn time_of_an_action_has_no_fraction_of_a_second() {
        assert_eq!(to_the_second("2026-11-21T12:00:09.123456789Z"), "2026-11-21T12:00:09Z");
        assert_eq!(to_the_second("2026-11-21T12:00:09Z"), "2026-11-21T12:00:09Z");
        assert_eq!(to_the_second("yesterday"), "yesterday");
    }

    #[test]
    fn duration_has_its_largest_unit() {
        let shown = [0, 119, 120, 7_200, 172_800].map(duration);
        assert_eq!(shown, ["0 s", "119 s", "2 min", "2 h", "2 d"]);
    }
}
