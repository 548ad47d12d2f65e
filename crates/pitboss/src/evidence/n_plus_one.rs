//! Sentry's rule for N+1 queries (`n_plus_one_db_span_detector.py`), applied to one transaction.
//!
//! Below one parent that is no database span, a first database span (the source) is followed by equal database spans, one after
//! the other. Another span between them ends the run. Equal means: the same description, which does not end in `...`.

use std::collections::BTreeMap;

use super::describes;
use super::observation::Transaction;
use crate::trace::Span;

/// Thresholds, and the spans that count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule<'a> {
    pub(super) op: &'a str,
    pub(super) description_contains: &'a str,
    pub(super) same_parent_min: usize,
    pub(super) duration_ms_total_min: f64,
}

/// Equal spans in a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Run {
    pub(super) count: usize,
    /// Time that they cover. Overlaps count once.
    pub(super) duration_ms: f64,
}

/// Returns the first run that reaches both thresholds.
pub(super) fn find(transaction: &Transaction, rule: &Rule<'_>) -> Option<Run> {
    let mut siblings: BTreeMap<&str, Vec<&Span>> = BTreeMap::new();
    for span in &transaction.spans {
        if let Some(parent) = span.parent_span_id.as_deref() {
            siblings.entry(parent).or_default().push(span);
        }
    }
    let parents = transaction.spans.iter().filter(|span| !is_database(span));
    parents.filter_map(|parent| siblings.get(parent.span_id.as_str())).find_map(|spans| {
        let mut spans = spans.clone();
        spans.sort_by(|a, b| a.start.total_cmp(&b.start));
        longest_run(&spans, rule)
    })
}

fn longest_run(siblings: &[&Span], rule: &Rule<'_>) -> Option<Run> {
    let mut found = None;
    let mut run: Vec<&Span> = Vec::new();
    let mut has_source = false;
    for span in siblings.iter().copied() {
        if !is_database(span) {
            run.clear();
            has_source = false;
            continue;
        }
        if run.last().is_some_and(|last| last.description != span.description) {
            run.clear();
            has_source = true;
        }
        run.push(span);
        let counts = has_source && span.op == rule.op && is_complete(span);
        let reached = Run { count: run.len(), duration_ms: covered_ms(&run) };
        if counts
            && describes(span, rule.description_contains)
            && reached.count >= rule.same_parent_min
            && reached.duration_ms >= rule.duration_ms_total_min
        {
            found = Some(reached);
        }
    }
    found
}

fn is_database(span: &Span) -> bool {
    span.op.starts_with("db") && !span.op.starts_with("db.redis") && !span.op.starts_with("db.connection")
}

fn is_complete(span: &Span) -> bool {
    span.description.as_deref().is_some_and(|description| !description.ends_with("..."))
}

fn covered_ms(run: &[&Span]) -> f64 {
    let (mut covered, mut reached) = (0.0, f64::MIN);
    for span in run {
        let from = span.start.max(reached);
        if span.end > from {
            covered += span.end - from;
            reached = span.end;
        }
    }
    covered * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule<'static> =
        Rule { op: "db", description_contains: "find", same_parent_min: 5, duration_ms_total_min: 50.0 };

    /// Children of one segment, one after the other: (op, description, milliseconds).
    fn transaction(children: &[(&str, &str, f64)]) -> Transaction {
        let span = |id: String, parent: Option<&str>, op: &str, description: &str| Span {
            span_id: id,
            parent_span_id: parent.map(str::to_owned),
            project: "user".to_owned(),
            op: op.to_owned(),
            description: Some(description.to_owned()),
            status: None,
            start: 0.0,
            end: 1.0,
            data: serde_json::Map::new(),
            is_transaction: parent.is_none(),
        };
        let mut spans = vec![span("segment".to_owned(), Some("elsewhere"), "http.server", "GET /")];
        let mut now = 0.0;
        for (number, (op, description, ms)) in children.iter().enumerate() {
            let mut child = span(format!("child-{number}"), Some("segment"), op, description);
            child.start = now;
            now += ms / 1000.0;
            child.end = now;
            spans.push(child);
        }
        Transaction { service: "user".to_owned(), trace_id: String::new(), spans }
    }

    fn repeated(op: &'static str, ms: f64, count: usize) -> Vec<(&'static str, &'static str, f64)> {
        std::iter::once(("db", "find ids", 1.0))
            .chain(std::iter::repeat_n((op, "find one", ms), count))
            .collect()
    }

    #[test]
    fn source_and_five_equal_queries_are_found() {
        let run = find(&transaction(&repeated("db", 11.0, 6)), &RULE).unwrap();
        assert_eq!((run.count, run.duration_ms.round()), (6, 66.0));
    }

    #[test]
    fn run_below_a_threshold_is_not_found() {
        assert_eq!(find(&transaction(&repeated("db", 20.0, 4)), &RULE), None, "four queries");
        assert_eq!(find(&transaction(&repeated("db", 9.0, 5)), &RULE), None, "45 ms");
        assert_eq!(find(&transaction(&repeated("db.redis", 20.0, 9)), &RULE), None, "a cache");
    }

    #[test]
    fn run_needs_a_source_and_no_span_between() {
        let no_source = repeated("db", 20.0, 8).split_off(1);
        assert_eq!(find(&transaction(&no_source), &RULE), None);
        let mut interrupted = repeated("db", 20.0, 8);
        interrupted.insert(4, ("http.client", "GET /", 1.0));
        assert_eq!(find(&transaction(&interrupted), &RULE), None);
    }

    #[test]
    fn overlapping_queries_count_once() {
        let mut transaction = transaction(&repeated("db", 20.0, 5));
        for span in transaction.spans.iter_mut().skip(2) {
            (span.start, span.end) = (0.1, 0.12);
        }
        assert_eq!(find(&transaction, &RULE), None);
    }
}
