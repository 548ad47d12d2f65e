//! The tree of a trace as Spotlight's own view builds it: the answer of its tool `get_traces`.
//!
//! The answer is text for people. A line ends with `[<first 8 digits of the id> · <op> · <duration>]`, without an op for a transaction.
//! An error has a line of its own, with the id of the span in which it happened. Such a line can take the place of the span's line and
//! of what is below it, so a span counts as shown if either line is there.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::sse::Reader;

/// Digits of an id that a line has.
pub(super) const ID_DIGITS: usize = 8;

/// Lines of a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    /// First digits of the ids of spans.
    pub(crate) spans: BTreeSet<String>,
    /// First digits of the ids of spans in which errors happened.
    pub(crate) events: BTreeSet<String>,
    /// The text itself.
    pub(crate) text: String,
}

/// Reads the answer. `None` if Spotlight has no transaction and no error of the trace.
///
/// # Errors
/// When it is no answer of the tool.
pub(super) fn read(answer: &[u8]) -> Result<Option<Tree>> {
    let event =
        Reader::default().read(answer).into_iter().next().context("Spotlight's answer is no event")?;
    let answer: Value = serde_json::from_str(&event.data).context("Spotlight's answer is not JSON")?;
    let text = answer.pointer("/result/content/0/text").and_then(Value::as_str);
    let text = text.context("Spotlight's answer has no text")?;
    let tree = parse(text);
    Ok((!tree.spans.is_empty() || !tree.events.is_empty()).then_some(tree))
}

fn parse(text: &str) -> Tree {
    let mut tree = Tree { text: text.to_owned(), ..Tree::default() };
    for line in text.lines() {
        let Some(bracket) = line.strip_suffix(']').and_then(|line| line.rsplit_once('[')) else { continue };
        let mut parts = bracket.1.split(" · ");
        let (Some(id), Some(second)) = (parts.next(), parts.next()) else { continue };
        if id.len() != ID_DIGITS || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            continue;
        }
        // Only two parts: a transaction, and the second one is its duration.
        match parts.next().map(|_| second) {
            Some("error" | "event") => drop(tree.events.insert(id.to_ascii_lowercase())),
            // A root above several roots, and a parent that was never sent.
            Some("trace" | "orphan") => {}
            _ => drop(tree.spans.insert(id.to_ascii_lowercase())),
        }
    }
    tree
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = include_str!("recorded/tree.sse");
    const NOT_FOUND: &str = include_str!("recorded/tree_not_found.sse");

    fn ids(ids: &BTreeSet<String>) -> Vec<&str> {
        ids.iter().map(String::as_str).collect()
    }

    #[test]
    fn tree_of_a_real_spotlight_is_read() {
        let tree = read(TREE.as_bytes()).unwrap().unwrap();
        assert_eq!(ids(&tree.spans), ["aaaaaaaa", "bbbbbbbb", "cccccccc", "dddddddd"]);
        assert_eq!(ids(&tree.events), ["bbbbbbbb"]);
        assert!(tree.text.starts_with("Trace 0af76519"), "{}", tree.text);
    }

    #[test]
    fn trace_that_it_does_not_have_has_no_tree() {
        assert_eq!(read(NOT_FOUND.as_bytes()).unwrap(), None);
        assert!(read(b"").is_err() && read(b"data: {}\n\n").is_err());
    }

    #[test]
    fn only_ends_of_lines_are_read() {
        let text = "find [11111111 · db · 1ms] x\n├─ a [b [aaaaaaaa · db · 5ms]\n└─ missing or unknown parent span [bbbbbbbb · orphan · unknown]\n   └─ c [CCCCCCCC · unknown]\nd [short · db · 1ms]";
        let tree = parse(text);
        assert_eq!((ids(&tree.spans), tree.events.len()), (vec!["aaaaaaaa", "cccccccc"], 0));
    }
}
