//! Comparison of the two witnesses: the spans and errors of a trace in the recorder, and in Spotlight.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use super::seen::{SeenTrace, id};
use super::tree::{ID_DIGITS, Tree};

/// What Spotlight has no view for, so that it cannot confirm or contradict it.
pub const CANNOT_SHOW: &str = "metrics, sessions, check-ins, client reports and streamed spans";
/// Largest number of differences that are named.
const DIFFERENCES_MAX: usize = 10;

/// A trace in the recorder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    spans: BTreeSet<String>,
    errors: BTreeSet<String>,
    /// The recorder's answer has a limit and left something out.
    truncated: bool,
}

impl Held {
    /// Reads the recorder's answer. Nothing, if it has nothing of the trace.
    pub(super) fn read(trace: &Value) -> Self {
        let ids = |list: &str, name: &str| {
            let list = trace.get(list).and_then(Value::as_array).into_iter().flatten();
            list.filter_map(|entry| id(entry, name)).collect()
        };
        let truncated = trace.get("truncated").and_then(Value::as_bool).unwrap_or_default();
        Self { spans: ids("spans", "span_id"), errors: ids("errors", "event_id"), truncated }
    }
}

/// What the second witness says about some traces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Testimony {
    /// Traces that were compared.
    pub traces: usize,
    /// Spans that both witnesses have.
    pub spans: usize,
    /// Errors that both have, by their event ids.
    pub errors: usize,
    /// Spans that the tree of Spotlight shows, or an error in their place. `None` if no tree could be compared.
    pub shown_spans: Option<usize>,
    /// Spans that Spotlight read and shows nowhere, because they were streamed.
    pub streamed_spans: usize,
    /// What differs, in words.
    pub differences: Vec<String>,
}

impl Testimony {
    /// Returns true if nothing differs. That is also so if there was nothing to compare.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.differences.is_empty()
    }

    /// The testimony in a few words.
    #[must_use]
    pub fn text(&self) -> String {
        if !self.agrees() {
            return format!("differs: {}", self.differences.join("; "));
        }
        if self.traces == 0 {
            return format!("no trace to compare (it shows no {})", CANNOT_SHOW.replace(" and ", " or "));
        }
        let counted =
            |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let mut text = format!(
            "the same {} and {} in {}",
            counted(self.spans, "span"),
            counted(self.errors, "error"),
            counted(self.traces, "trace")
        );
        if let Some(shown) = self.shown_spans {
            text.push_str(&format!(", {shown} in its tree"));
        }
        if self.streamed_spans > 0 {
            text.push_str(&format!(", {} streamed, which it does not show", self.streamed_spans));
        }
        text
    }

    /// Adds a trace: what the recorder has, and what Spotlight read.
    pub(super) fn add(&mut self, trace_id: &str, held: &Held, seen: &SeenTrace) {
        self.traces += 1;
        self.streamed_spans += seen.streamed.len();
        let spans: BTreeSet<String> = seen.spans.union(&seen.streamed).cloned().collect();
        self.spans += held.spans.intersection(&spans).count();
        self.errors += held.errors.intersection(&seen.errors).count();
        if held.spans.is_empty() && held.errors.is_empty() {
            self.differ(format!("the recorder has no span and no error of trace {trace_id}"));
        }
        for (what, ours, theirs) in [("span", &held.spans, &spans), ("error", &held.errors, &seen.errors)] {
            for missing in ours.difference(theirs) {
                self.differ(format!("Spotlight did not receive {what} {missing} of trace {trace_id}"));
            }
            // What the recorder left out of its answer is not missing there.
            for more in theirs.difference(ours).filter(|_| !held.truncated) {
                self.differ(format!("the recorder does not have {what} {more} of trace {trace_id}"));
            }
        }
    }

    /// Adds the tree of a trace, which shows no streamed spans.
    pub(super) fn add_tree(&mut self, trace_id: &str, held: &Held, seen: &SeenTrace, tree: &Tree) {
        // The line of an error that has the name of a transaction looks like the line of the span in which it happened.
        let known: BTreeSet<String> =
            held.spans.iter().chain(&seen.error_spans).map(|id| short(id)).collect();
        let shown: BTreeSet<&String> = tree.spans.union(&tree.events).collect();
        // Compared by whole ids on one side, because two of them can begin with the same digits.
        let expected = held.spans.difference(&seen.streamed);
        let (found, hidden): (Vec<&String>, Vec<&String>) =
            expected.partition(|id| shown.contains(&short(id.as_str())));
        self.shown_spans = Some(self.shown_spans.unwrap_or_default() + found.len());
        for id in hidden {
            self.differ(format!("the tree of Spotlight lacks span {id} of trace {trace_id}"));
        }
        for more in tree.spans.difference(&known).filter(|_| !held.truncated) {
            self.differ(format!(
                "the tree of Spotlight has a span {more}… that trace {trace_id} does not have"
            ));
        }
    }

    /// Adds that the tree of a trace could not be read.
    pub(super) fn add_unread_tree(&mut self, trace_id: &str, problem: &str) {
        self.differ(format!("the tree of trace {trace_id} cannot be read: {problem}"));
    }

    fn differ(&mut self, difference: String) {
        if self.differences.len() < DIFFERENCES_MAX {
            self.differences.push(difference);
        }
    }
}

/// First digits of an id, as a tree has them.
fn short(id: &str) -> String {
    id.chars().take(ID_DIGITS).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const ERROR: &str = "2ec79c33ec9942ab8353589fcb2e04dc";

    fn set(ids: &[&str]) -> BTreeSet<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    fn held(spans: &[&str], errors: &[&str]) -> Held {
        let spans: Vec<Value> = spans.iter().map(|id| json!({"span_id": id})).collect();
        let errors: Vec<Value> = errors.iter().map(|id| json!({"event_id": id})).collect();
        Held::read(&json!({"spans": spans, "errors": errors, "truncated": false}))
    }

    fn seen(spans: &[&str], errors: &[&str]) -> SeenTrace {
        SeenTrace { spans: set(spans), errors: set(errors), ..SeenTrace::default() }
    }

    fn tree(spans: &[&str], events: &[&str]) -> Tree {
        Tree { spans: set(spans), events: set(events), text: String::new() }
    }

    fn compared(held: &Held, seen: &SeenTrace) -> Testimony {
        let mut testimony = Testimony::default();
        testimony.add(TRACE, held, seen);
        testimony
    }

    #[test]
    fn same_spans_and_errors_agree() {
        let held = held(&["aaaaaaaa00000001", "bbbbbbbb00000002"], &[ERROR]);
        let seen = seen(&["aaaaaaaa00000001", "bbbbbbbb00000002"], &[ERROR]);
        let mut testimony = compared(&held, &seen);
        assert!(testimony.agrees(), "{testimony:?}");
        assert_eq!(testimony.text(), "the same 2 spans and 1 error in 1 trace");
        testimony.add_tree(TRACE, &held, &seen, &tree(&["aaaaaaaa"], &["bbbbbbbb"]));
        assert!(testimony.agrees(), "an error in the place of its span: {testimony:?}");
        assert!(testimony.text().ends_with(", 2 in its tree"), "{}", testimony.text());
    }

    #[test]
    fn each_difference_is_named() {
        let one = ["aaaaaaaa00000001"];
        let table = [
            (compared(&held(&one, &[ERROR]), &seen(&one, &[])), "did not receive error 2ec7"),
            (compared(&held(&one, &[]), &seen(&one, &[ERROR])), "does not have error 2ec7"),
            (compared(&held(&one, &[]), &SeenTrace::default()), "did not receive span aaaa"),
            (compared(&held(&[], &[]), &seen(&one, &[])), "the recorder has no span and no error"),
            (
                compared(&Held::read(&Value::Null), &SeenTrace::default()),
                "the recorder has no span and no error",
            ),
        ];
        for (testimony, text) in table {
            assert!(!testimony.agrees());
            assert!(testimony.text().contains(text), "{text}: {}", testimony.text());
        }
    }

    #[test]
    fn tree_with_other_spans_differs() {
        let one = held(&["aaaaaaaa00000001"], &[]);
        let with = |tree: &Tree| {
            let seen = seen(&["aaaaaaaa00000001"], &[]);
            let mut testimony = compared(&one, &seen);
            testimony.add_tree(TRACE, &one, &seen, tree);
            testimony.text()
        };
        assert!(with(&tree(&[], &["eeeeeeee"])).contains("lacks span aaaaaaaa00000001"));
        assert!(with(&tree(&["aaaaaaaa", "cccccccc"], &[])).contains("has a span cccccccc"));
        assert!(
            with(&tree(&["aaaaaaaa"], &["eeeeeeee"])).starts_with("the same"),
            "an error may be anywhere"
        );
    }

    #[test]
    fn error_outside_of_any_span_is_no_span() {
        let held = held(&[], &[ERROR]);
        let seen = SeenTrace { error_spans: set(&["eeeeeeee00000005"]), ..seen(&[], &[ERROR]) };
        let mut testimony = compared(&held, &seen);
        testimony.add_tree(TRACE, &held, &seen, &tree(&["eeeeeeee"], &[]));
        assert!(testimony.agrees(), "{testimony:?}");
    }

    #[test]
    fn streamed_spans_are_read_and_not_shown() {
        let held = held(&["aaaaaaaa00000001"], &[]);
        let streamed = SeenTrace { streamed: set(&["aaaaaaaa00000001"]), ..SeenTrace::default() };
        let mut testimony = compared(&held, &streamed);
        testimony.add_tree(TRACE, &held, &streamed, &Tree::default());
        assert!(testimony.agrees() && testimony.text().contains("1 streamed"), "{testimony:?}");
    }

    #[test]
    fn nothing_to_compare_says_why() {
        let testimony = Testimony::default();
        assert!(testimony.agrees());
        assert!(testimony.text().contains("no metrics, sessions, check-ins"), "{}", testimony.text());
    }

    #[test]
    fn number_of_named_differences_is_limited() {
        let ids: Vec<String> = (0..100).map(|number| format!("{number:016x}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        assert_eq!(compared(&held(&ids, &[]), &SeenTrace::default()).differences.len(), DIFFERENCES_MAX);
    }

    #[test]
    fn spans_that_the_recorder_left_out_are_no_difference() {
        let held = Held { truncated: true, ..held(&["aaaaaaaa00000001"], &[]) };
        let seen = seen(&["aaaaaaaa00000001", "bbbbbbbb00000002"], &[]);
        assert!(compared(&held, &seen).agrees());
    }
}
