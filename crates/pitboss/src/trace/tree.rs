//! Draws a trace as a tree, one line a span: start, duration, service, op and object, and a bar if the terminal is wide. Its errors
//! follow.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};

use console::{Style, measure_text_width, truncate_str};

use super::{Span, Trace};
use crate::output::{counted, plain};

/// Minimum width of the terminal for a bar behind each line.
const BAR_FROM_COLUMNS: usize = 110;
/// Width of the bar.
const BAR_COLUMNS: usize = 30;
/// Width of the two numbers at the left: start and duration.
const TIMES_COLUMNS: usize = 22;

/// Largest number of errors that are listed.
const ERRORS_MAX: usize = 20;

/// The tree as text, at most `columns` wide, with colours if `colours` is set.
#[must_use]
pub fn render(trace: &Trace, columns: usize, colours: bool) -> String {
    let mut children: BTreeMap<Option<&str>, Vec<&Span>> = BTreeMap::new();
    let known: HashSet<&str> = trace.spans.iter().map(|s| s.span_id.as_str()).collect();
    for span in &trace.spans {
        // A span whose parent is missing is drawn at the left margin, so that it is not lost.
        let parent = span.parent_span_id.as_deref().filter(|p| known.contains(p));
        children.entry(parent).or_default().push(span);
    }
    for siblings in children.values_mut() {
        siblings.sort_by(|a, b| a.start.total_cmp(&b.start));
    }
    let (spans, services) = (trace.spans.len(), trace.services.len());
    if spans == 0 {
        return without_spans(trace);
    }
    let begin = trace.spans.iter().map(|s| s.start).fold(f64::INFINITY, f64::min);
    let end = trace.spans.iter().map(|s| s.end).fold(f64::NEG_INFINITY, f64::max);
    let drawn = RefCell::default();
    let page = Page { children, drawn, begin, length_ms: (end - begin).max(0.0) * 1000.0, columns, colours };
    let mut out = format!(
        "trace {} · {} · {} · {:.1} ms\n",
        trace.trace_id,
        counted(spans, "span"),
        counted(services, "service"),
        page.length_ms
    );
    out.push_str(&format!("{:>10} {:>10}\n", "at ms", "took ms"));
    for root in page.children.get(&None).into_iter().flatten() {
        page.span(&mut out, root, "", "");
    }
    // Spans that are each other's parents are below no root.
    for span in &trace.spans {
        if !page.drawn.borrow().contains(span.span_id.as_str()) {
            page.span(&mut out, span, "", "");
        }
    }
    add_errors(&mut out, trace);
    out
}

/// Adds a line for each error of the trace. The one of a native crash is in no transaction, because the process died before it ended.
fn add_errors(out: &mut String, trace: &Trace) {
    for error in trace.errors.iter().take(ERRORS_MAX) {
        let text = |field: &str| plain(error[field].as_str().unwrap_or_default());
        out.push_str(&format!("  {} error: {}\n", text("project"), text("title")));
    }
    let left_out = trace.errors.len().saturating_sub(ERRORS_MAX);
    if left_out > 0 {
        out.push_str(&format!("  and {left_out} more, which --json lists\n"));
    }
}

/// Renders a trace for which only errors or logs were recorded.
fn without_spans(trace: &Trace) -> String {
    let mut out = format!(
        "trace {} · no span was recorded · {} · {}\n",
        trace.trace_id,
        counted(trace.errors.len(), "error"),
        counted(trace.logs.len(), "log")
    );
    add_errors(&mut out, trace);
    out
}

struct Page<'a> {
    children: BTreeMap<Option<&'a str>, Vec<&'a Span>>,
    /// Ids of the spans that have a line.
    drawn: RefCell<HashSet<&'a str>>,
    begin: f64,
    length_ms: f64,
    columns: usize,
    colours: bool,
}

impl<'a> Page<'a> {
    /// Draws a span and all below it, except spans that have a line already. `lead` is the prefix of this line, and `below` the
    /// prefix of its children's lines.
    fn span(&self, out: &mut String, span: &'a Span, lead: &str, below: &str) {
        let is_first_of_its_id = self.drawn.borrow_mut().insert(&span.span_id);
        let bar = if self.columns >= BAR_FROM_COLUMNS { BAR_COLUMNS + 1 } else { 0 };
        let room = self.columns.saturating_sub(TIMES_COLUMNS + bar).max(20);
        let text = truncate_str(&format!("{lead}{}", self.label(span)), room, "…").into_owned();
        let at_ms = (span.start - self.begin) * 1000.0;
        out.push_str(&format!("{at_ms:>10.2} {:>10.2} {text}", span.duration_ms()));
        if bar > 0 {
            let padding = room.saturating_sub(measure_text_width(&text));
            out.push_str(&format!("{:padding$} {}", "", self.bar(span, at_ms)));
        }
        out.push('\n');
        if !is_first_of_its_id {
            return;
        }
        let below_me = self.children.get(&Some(span.span_id.as_str()));
        let is_new = |child: &&&Span| !self.drawn.borrow().contains(child.span_id.as_str());
        let below_me: Vec<_> = below_me.into_iter().flatten().filter(is_new).collect();
        let count = below_me.len();
        for (index, child) in below_me.into_iter().enumerate() {
            let (branch, rest) = if index + 1 == count { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            self.span(out, child, &format!("{below}{branch}"), &format!("{below}{rest}"));
        }
    }

    fn label(&self, span: &Span) -> String {
        let failed = span.status.as_deref().is_some_and(|s| s != "ok");
        let service =
            self.paint(Style::new().bold().color256(colour_of(&span.project)), &plain(&span.project));
        let op = self.paint(Style::new().cyan(), &plain(&span.op));
        let what = plain(span.description.as_deref().unwrap_or_default());
        let status = if failed {
            self.paint(
                Style::new().red(),
                &format!(" [{}]", plain(span.status.as_deref().unwrap_or_default())),
            )
        } else {
            String::new()
        };
        format!("{service} {op} {what}{status}")
    }

    fn bar(&self, span: &Span, at_ms: f64) -> String {
        let scale = BAR_COLUMNS as f64 / self.length_ms.max(f64::EPSILON);
        let from = ((at_ms * scale) as usize).min(BAR_COLUMNS - 1);
        let width = ((span.duration_ms() * scale).round() as usize).clamp(1, BAR_COLUMNS - from);
        let bar = format!("{}{}", " ".repeat(from), "━".repeat(width));
        self.paint(Style::new().color256(colour_of(&span.project)), &bar)
    }

    fn paint(&self, style: Style, text: &str) -> String {
        style.force_styling(self.colours).apply_to(text).to_string()
    }
}

/// Returns the same colour for the same service in every tree, from the colours that are readable on black and on white.
fn colour_of(service: &str) -> u8 {
    const PALETTE: [u8; 8] = [33, 35, 130, 133, 37, 167, 99, 142];
    let sum = service.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
    PALETTE[sum % PALETTE.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(id: &str, parent: Option<&str>, op: &str, start: f64, end: f64) -> Span {
        Span {
            span_id: id.into(),
            parent_span_id: parent.map(Into::into),
            project: "game".into(),
            op: op.into(),
            description: Some("casino.bets.commands.v1".into()),
            status: Some("ok".into()),
            start,
            end,
            data: serde_json::Map::new(),
            is_transaction: parent.is_none(),
        }
    }

    fn trace() -> Trace {
        Trace {
            trace_id: "0af7651916cd43dd8448eb211c80319c".into(),
            spans: vec![
                span("b", Some("a"), "queue.publish", 10.001, 10.004),
                span("a", None, "http.server", 10.0, 10.010),
                span("c", Some("b"), "queue.process", 10.005, 10.009),
            ],
            errors: vec![],
            logs: vec![],
            metrics: vec![],
            missing_parents: vec![],
            services: vec!["game".into()],
        }
    }

    #[test]
    fn tree_is_indented_and_fits_terminal() {
        for columns in [40, 80, 160] {
            let text = render(&trace(), columns, false);
            let lines: Vec<&str> = text.lines().collect();
            assert!(lines[0].contains(" · 3 spans · 1 service · 10.0 ms"), "{text}");
            assert!(lines[2].contains("http.server"), "{text}");
            // At 40 columns there is room for 20 characters of text, branches included.
            assert!(lines[3].contains("└─ game queue.pub"), "{text}");
            assert!(lines[4].contains("   └─ game queue."), "{text}");
            assert!(lines[2..].iter().all(|l| measure_text_width(l) <= columns.max(42)), "{columns}: {text}");
        }
    }

    #[test]
    fn spans_in_a_cycle_are_drawn_once() {
        let mut trace = trace();
        trace.spans[1].parent_span_id = Some("c".into());
        trace.spans.push(span("d", Some("d"), "function", 10.0, 10.001));
        let text = render(&trace, 80, false);
        assert_eq!(text.lines().count(), 2 + 4, "{text}");
    }

    #[test]
    fn trace_without_spans_shows_errors() {
        let mut trace = trace();
        trace.spans.clear();
        trace.errors.push(serde_json::json!({ "project": "game", "title": "Refused: no" }));
        let text = render(&trace, 80, false);
        assert!(text.contains("no span was recorded") && text.contains("game error: Refused: no"), "{text}");
    }

    #[test]
    fn errors_follow_the_spans() {
        let mut trace = trace();
        trace.errors = vec![serde_json::json!({ "project": "payment", "title": "SIGABRT" }); ERRORS_MAX + 1];
        let text = render(&trace, 80, false);
        assert_eq!(text.lines().count(), 2 + 3 + ERRORS_MAX + 1, "{text}");
        assert!(text.lines().nth(5).is_some_and(|line| line.trim() == "payment error: SIGABRT"), "{text}");
        assert!(text.ends_with("and 1 more, which --json lists\n"), "{text}");
    }

    #[test]
    fn control_characters_are_replaced() {
        let mut trace = trace();
        trace.spans[0].description = Some("a\u{1b}[31m\nb".into());
        let text = render(&trace, 80, false);
        assert_eq!((text.lines().count(), text.contains('\u{1b}')), (5, false), "{text}");
    }

    #[test]
    fn orphan_span_is_drawn_at_margin() {
        let mut trace = trace();
        trace.spans.retain(|s| s.span_id != "b");
        let text = render(&trace, 80, false);
        assert!(text.lines().any(|l| l.ends_with("game queue.process casino.bets.commands.v1")), "{text}");
        assert_eq!(trace.defects().len(), 1);
    }
}
