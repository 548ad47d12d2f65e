//! Caches dashboard: reads of the cache by transaction and project.

use serde::Serialize;

use super::{Extent, mean, rows::Rows};
use crate::{
    protocol::{
        digest::Kinds,
        spans::{self, SPAN_TYPES, StoredSpan},
    },
    query::{
        lines::WriteError,
        scan::{Scanned, Window, scan},
        state::Query,
    },
};

/// Ops that the dashboard shows. Writes and removals are not among them.
const READS: [&str; 2] = ["cache.get", "cache.get_item"];
const HIT: &str = "cache.hit";
const ITEM_SIZE: &str = "cache.item_size";

/// Figures of a set of reads.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct CacheFigures {
    pub(crate) reads: u64,
    /// Mean size of the values that have one.
    pub(crate) avg_item_size_bytes: Option<f64>,
    /// Reads with `cache.hit` false, divided by all reads. A read without the attribute counts as no miss.
    pub(crate) miss_rate: Option<f64>,
    pub(crate) time_spent_ms: f64,
    pub(crate) per_minute: f64,
}

/// A row of the dashboard.
#[derive(Debug, Serialize)]
pub(crate) struct CacheRow {
    pub(crate) transaction: Option<String>,
    pub(crate) project: String,
    #[serde(flatten)]
    pub(crate) figures: CacheFigures,
}

/// The dashboard.
#[derive(Debug, Serialize)]
pub(crate) struct Caches {
    #[serde(flatten)]
    pub(crate) scanned: Scanned,
    /// Length of the window, for the rates.
    pub(crate) minutes: f64,
    pub(crate) total: CacheFigures,
    pub(crate) transactions: Vec<CacheRow>,
    /// Spans whose row does not exist, because the table has too many rows.
    pub(crate) spans_left_out: u64,
}

#[derive(Debug, Default)]
struct Sums {
    reads: u64,
    misses: u64,
    sizes: u64,
    size_bytes: f64,
    duration_ms: f64,
}

impl Sums {
    fn add(&mut self, duration_ms: f64, is_miss: bool, size_bytes: Option<f64>) {
        self.reads += 1;
        self.misses += u64::from(is_miss);
        self.duration_ms += duration_ms;
        if let Some(size_bytes) = size_bytes {
            self.sizes += 1;
            self.size_bytes += size_bytes;
        }
    }

    fn figures(&self, minutes: f64) -> CacheFigures {
        CacheFigures {
            reads: self.reads,
            avg_item_size_bytes: mean(self.size_bytes, self.sizes),
            miss_rate: mean(self.misses as f64, self.reads),
            time_spent_ms: self.duration_ms,
            per_minute: self.reads as f64 / minutes,
        }
    }
}

#[derive(Debug, Default)]
struct Tables {
    extent: Extent,
    total: Sums,
    rows: Rows<(Option<String>, String), Sums>,
}

impl Tables {
    fn add(&mut self, project: &str, span: &StoredSpan<'_, '_>) {
        if !READS.contains(&span.op.as_str()) {
            return;
        }
        let attributes = span.attributes();
        let is_miss = attributes.text(HIT).as_deref() == Some("false");
        let size_bytes = attributes.number(ITEM_SIZE);
        self.extent.add(span.start, span.end);
        let row = self.rows.row((span.segment.name.clone(), project.to_owned()));
        for sums in [Some(&mut self.total), row].into_iter().flatten() {
            sums.add(span.duration_ms(), is_miss, size_bytes);
        }
    }

    fn finish(self, window: Window, scanned: Scanned) -> Caches {
        let minutes = window.minutes(self.extent.first, self.extent.last);
        Caches {
            scanned,
            minutes,
            total: self.total.figures(minutes),
            spans_left_out: self.rows.left_out(),
            transactions: self.rows.sorted(
                |(transaction, project), sums| CacheRow {
                    transaction,
                    project,
                    figures: sums.figures(minutes),
                },
                |row| row.figures.time_spent_ms,
            ),
        }
    }
}

/// Computes the dashboard of a window.
pub(crate) fn compute(query: &Query, window: Window) -> Result<Caches, WriteError> {
    let mut tables = Tables::default();
    let scanned = scan(query, window, Kinds::any_of(&SPAN_TYPES), |opened| {
        let source = opened.source;
        spans::each_span(opened.envelope, source.received_at, |span| tables.add(source.name, span));
    })?;
    Ok(tables.finish(window, scanned))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::protocol::envelope::Envelope;

    #[test]
    fn misses_are_divided_by_all_reads() {
        let read = |data: serde_json::Value| json!({"op": "cache.get", "start_timestamp": 1.0, "timestamp": 1.01, "data": data});
        let transaction = json!({"transaction": "GET /me", "contexts": {"trace": {"op": "http.server"}}, "spans": [
            read(json!({"cache.hit": true, "cache.item_size": 10})), read(json!({"cache.hit": false})),
            read(json!({})), read(json!({"cache.hit": true, "cache.item_size": 30})),
            {"op": "cache.put", "data": {"cache.item_size": 900}}, {"op": "db", "data": {"cache.hit": false}},
        ]});
        let body = format!("{{}}\n{{\"type\":\"transaction\"}}\n{transaction}\n");
        let envelope = Envelope::parse(body.as_bytes()).expect("an envelope");
        let mut tables = Tables::default();
        spans::each_span(&envelope, 9.0, |span| tables.add("user", span));
        let figures = tables.total.figures(2.0);
        assert_eq!(
            (figures.reads, figures.miss_rate, figures.avg_item_size_bytes),
            (4, Some(0.25), Some(20.0))
        );
        assert!((figures.per_minute - 2.0).abs() < 1e-9 && (figures.time_spent_ms - 40.0).abs() < 0.1);
        let rows = tables.rows.sorted(|key, sums| (key, sums.reads), |_| 0.0);
        assert_eq!(rows, [((Some("GET /me".to_owned()), "user".to_owned()), 4)]);
    }
}
