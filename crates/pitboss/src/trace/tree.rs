//! Draws a trace as a tree: one line a span, service, op and what it worked on, when it began and how long it took, and a bar
//! where the terminal is wide enough.

use std::collections::BTreeMap;

use console::{Style, measure_text_width, truncate_str};

use super::{Span, Trace};

/// From this width on a bar is drawn behind each line.
const BAR_FROM_COLUMNS: usize = 110;
/// Columns of the bar.
const BAR_COLUMNS: usize = 30;
/// Columns of the two numbers at the left: start and duration.
const TIMES_COLUMNS: usize = 22;

/// The tree as text, at most `columns` wide; colours only when `colours` says so.
#[must_use]
pub fn render(trace: &Trace, columns: usize, colours: bool) -> String {
    let mut children: BTreeMap<Option<&str>, Vec<&Span>> = BTreeMap::new();
    let known: std::collections::HashSet<&str> = trace.spans.iter().map(|s| s.span_id.as_str()).collect();
    for span in &trace.spans {
        // A span whose parent did not arrive is drawn at the left margin rather than not at all.
        let parent = span.parent_span_id.as_deref().filter(|p| known.contains(p));
        children.entry(parent).or_default().push(span);
    }
    for siblings in children.values_mut() {
        siblings.sort_by(|a, b| a.start.total_cmp(&b.start));
    }
    let begin = trace.spans.iter().map(|s| s.start).fold(f64::INFINITY, f64::min);
    let end = trace.spans.iter().map(|s| s.end).fold(f64::NEG_INFINITY, f64::max);
    let page = Page { children, begin, length_ms: (end - begin) * 1000.0, columns, colours };

    let (spans, services) = (trace.spans.len(), trace.services.len());
    let mut out = format!(
        "trace {} · {spans} spans · {services} services · {:.1} ms\n",
        trace.trace_id, page.length_ms
    );
    out.push_str(&format!("{:>10} {:>10}\n", "at ms", "took ms"));
    for root in page.children.get(&None).into_iter().flatten() {
        page.span(&mut out, root, "", "");
    }
    out
}

struct Page<'a> {
    children: BTreeMap<Option<&'a str>, Vec<&'a Span>>,
    begin: f64,
    length_ms: f64,
    columns: usize,
    colours: bool,
}

impl Page<'_> {
    /// One span and all below it. `lead` stands before this line's text, `below` before those of its children.
    fn span(&self, out: &mut String, span: &Span, lead: &str, below: &str) {
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
        let below_me = self.children.get(&Some(span.span_id.as_str()));
        let count = below_me.map_or(0, Vec::len);
        for (index, child) in below_me.into_iter().flatten().enumerate() {
            let (branch, rest) = if index + 1 == count { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            self.span(out, child, &format!("{below}{branch}"), &format!("{below}{rest}"));
        }
    }

    fn label(&self, span: &Span) -> String {
        let failed = span.status.as_deref().is_some_and(|s| s != "ok");
        let service = self.paint(Style::new().bold().color256(colour_of(&span.project)), &span.project);
        let op = self.paint(Style::new().cyan(), &span.op);
        let what = span.description.as_deref().unwrap_or_default();
        let status = if failed {
            self.paint(Style::new().red(), &format!(" [{}]", span.status.as_deref().unwrap_or_default()))
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

/// The same colour for the same service in every tree; from the part of the palette that is readable on black and on white.
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
    fn children_stand_below_their_parent_and_no_line_is_wider_than_the_terminal() {
        for columns in [40, 80, 160] {
            let text = render(&trace(), columns, false);
            let lines: Vec<&str> = text.lines().collect();
            assert!(lines[2].contains("http.server"), "{text}");
            // At 40 columns there is room for 20 characters of text, branches included.
            assert!(lines[3].contains("└─ game queue.pub"), "{text}");
            assert!(lines[4].contains("   └─ game queue."), "{text}");
            assert!(lines[2..].iter().all(|l| measure_text_width(l) <= columns.max(42)), "{columns}: {text}");
        }
    }

    #[test]
    fn a_span_without_its_parent_is_drawn_at_the_margin() {
        let mut trace = trace();
        trace.spans.retain(|s| s.span_id != "b");
        let text = render(&trace, 80, false);
        assert!(text.lines().any(|l| l.ends_with("game queue.process casino.bets.commands.v1")), "{text}");
        assert_eq!(trace.defects().len(), 1);
    }
}
