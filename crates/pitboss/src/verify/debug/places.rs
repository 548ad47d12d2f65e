//! File and line of the frames of a row's event, as the recorder shows them.
//!
//! The bytes that arrive have addresses. The recorder has the lines from the tables that `./pitboss up` makes of the programs, and
//! none of programs that were built without line tables. Then nothing can be demanded, and the report says so.

use super::DebugRow;
use super::expectation::{Expectation, expectations};
use crate::evidence::{ReportedEvent, located_frames};

/// What the recorder says of the frames of a row's events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Places {
    /// The event of the row has no stack of the program, so there is nothing to look for.
    NotDemanded,
    /// The recorder has no line tables of any program.
    NoTables,
    /// So many frames of our code have function, file and line, and no other one lacks any of them.
    Located(usize),
    /// A frame lacks something, or there is none.
    Missing(String),
}

impl Places {
    /// Judges the events of the row's service in the trace of its answer, among all events that were reported meanwhile.
    pub(super) fn of(row: DebugRow, trace_id: Option<&str>, reported: &[ReportedEvent]) -> Self {
        let has_stack = expectations(row).contains(&Expectation::OwnFrame) || row.is_deadly();
        if !has_stack {
            return Self::NotDemanded;
        }
        let has_lines = |event: &ReportedEvent| event.stack.as_ref().is_some_and(|stack| stack.symbolicated);
        if !reported.iter().any(has_lines) {
            return Self::NoTables;
        }
        let is_own = |event: &&ReportedEvent| {
            event.project == row.service.as_str()
                && trace_id.is_some()
                && event.trace_id.as_deref() == trace_id
        };
        let own: Vec<ReportedEvent> = reported.iter().filter(is_own).cloned().collect();
        match located_frames(&own) {
            Ok(frames) => Self::Located(frames),
            Err(reason) => Self::Missing(reason.to_string()),
        }
    }

    /// What a report adds to the place of the evidence.
    pub(super) fn text(&self) -> String {
        match self {
            Self::NotDemanded | Self::Missing(_) => String::new(),
            Self::NoTables => ", no line tables".to_owned(),
            Self::Located(frames) => format!(", {frames} frames with file and line"),
        }
    }
}

#[cfg(test)]
mod tests {
    use contracts::debug::DebugFault;
    use serde_json::{Value, json};

    use super::super::tests::row;
    use super::*;

    fn reported(row: DebugRow, symbolicated: bool, line: Option<u64>) -> ReportedEvent {
        let frame =
            json!({ "function": "f", "file": "services/payment/src/a.rs", "line": line, "in_app": true });
        let event: Value = json!({
            "seq": 7, "project": row.service.as_str(), "title": "panic", "trace_id": "ab",
            "stack": { "symbolicated": symbolicated, "frames": [frame] },
        });
        serde_json::from_value(event).unwrap()
    }

    #[test]
    fn every_frame_needs_file_and_line_where_there_are_tables() {
        let crash = row(DebugFault::Crash);
        let of = |reported: &[ReportedEvent]| Places::of(crash, Some("ab"), reported);
        let whole = reported(crash, true, Some(3));
        assert_eq!(of(std::slice::from_ref(&whole)), Places::Located(1));
        assert_eq!(of(&[reported(crash, false, None)]), Places::NoTables);
        let cut = of(&[reported(crash, true, None)]);
        assert!(matches!(&cut, Places::Missing(reason) if reason.contains("no line")), "{cut:?}");
        let elsewhere = ReportedEvent { trace_id: Some("cd".to_owned()), ..whole };
        assert!(matches!(of(&[elsewhere]), Places::Missing(_)), "no event of this trace");
        assert_eq!(Places::of(row(DebugFault::RuntimeBlock), Some("ab"), &[]), Places::NotDemanded);
        assert!(Places::Located(2).text().contains("2 frames") && Places::NotDemanded.text().is_empty());
    }
}
