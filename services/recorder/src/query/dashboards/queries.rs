//! Queries dashboard: database spans by their normalised description.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{
    Extent,
    durations::Durations,
    mean,
    normalised::{Facts, normalised},
    rows::Rows,
};
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

/// Largest number of projects that one row names.
const PROJECTS_MAX: usize = 32;

/// Filters of the dashboard. An empty one selects everything.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Filter {
    #[serde(default)]
    pub(crate) system: String,
    #[serde(default)]
    pub(crate) action: String,
    #[serde(default)]
    pub(crate) domain: String,
}

impl Filter {
    fn selects(&self, facts: &Facts) -> bool {
        let matches = |wanted: &str, found: &Option<String>| {
            wanted.is_empty() || found.as_ref().is_some_and(|found| found.eq_ignore_ascii_case(wanted))
        };
        matches(&self.system, &facts.system)
            && matches(&self.action, &facts.action)
            && matches(&self.domain, &facts.domain)
    }
}

/// Figures of a set of queries.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct QueryFigures {
    pub(crate) count: u64,
    pub(crate) per_minute: f64,
    pub(crate) avg_ms: Option<f64>,
    /// Not a column of Sentry's table, but of its query page.
    pub(crate) p95_ms: Option<f64>,
    pub(crate) time_spent_ms: f64,
}

/// A row of the dashboard.
#[derive(Debug, Serialize)]
pub(crate) struct QueryRow {
    /// The normalised description.
    pub(crate) description: String,
    #[serde(flatten)]
    pub(crate) facts: Facts,
    /// Projects that sent the query.
    pub(crate) projects: BTreeSet<String>,
    #[serde(flatten)]
    pub(crate) figures: QueryFigures,
}

/// The dashboard.
#[derive(Debug, Serialize)]
pub(crate) struct Queries {
    #[serde(flatten)]
    pub(crate) scanned: Scanned,
    /// Length of the window, for the rates.
    pub(crate) minutes: f64,
    pub(crate) total: QueryFigures,
    pub(crate) queries: Vec<QueryRow>,
    /// Database spans without a normalised description, which the dashboard does not show.
    pub(crate) spans_without_description: u64,
    /// Spans whose row does not exist, because the table has too many rows.
    pub(crate) spans_left_out: u64,
}

#[derive(Debug, Default)]
struct Sums {
    count: u64,
    duration_ms: f64,
    durations: Durations,
    projects: BTreeSet<String>,
}

impl Sums {
    fn add(&mut self, project: &str, duration_ms: f64) {
        self.count += 1;
        self.duration_ms += duration_ms;
        self.durations.add(duration_ms);
        if self.projects.len() < PROJECTS_MAX && !self.projects.contains(project) {
            self.projects.insert(project.to_owned());
        }
    }

    fn figures(&self, minutes: f64) -> QueryFigures {
        QueryFigures {
            count: self.count,
            per_minute: self.count as f64 / minutes,
            avg_ms: mean(self.duration_ms, self.count),
            p95_ms: self.durations.percentile(95),
            time_spent_ms: self.duration_ms,
        }
    }
}

#[derive(Debug, Default)]
struct Tables {
    extent: Extent,
    total: Sums,
    rows: Rows<(String, Facts), Sums>,
    without_description: u64,
}

impl Tables {
    fn add(&mut self, project: &str, span: &StoredSpan<'_, '_>, filter: &Filter) {
        if span.op != "db" && !span.op.starts_with("db.") {
            return;
        }
        let facts = Facts::of(&span.attributes());
        if !filter.selects(&facts) {
            return;
        }
        let description = span.description().unwrap_or_default();
        let Some(description) = normalised(&span.op, &description, &facts) else {
            self.without_description += 1;
            return;
        };
        self.extent.add(span.start, span.end);
        self.total.add(project, span.duration_ms());
        if let Some(row) = self.rows.row((description, facts)) {
            row.add(project, span.duration_ms());
        }
    }

    fn finish(self, window: Window, scanned: Scanned) -> Queries {
        let minutes = window.minutes(self.extent.first, self.extent.last);
        Queries {
            scanned,
            minutes,
            total: self.total.figures(minutes),
            spans_without_description: self.without_description,
            spans_left_out: self.rows.left_out(),
            queries: self.rows.sorted(
                |(description, facts), sums| QueryRow {
                    description,
                    facts,
                    figures: sums.figures(minutes),
                    projects: sums.projects,
                },
                |row| row.figures.time_spent_ms,
            ),
        }
    }
}

/// Computes the dashboard of a window.
pub(crate) fn compute(query: &Query, window: Window, filter: &Filter) -> Result<Queries, WriteError> {
    let mut tables = Tables::default();
    let scanned = scan(query, window, Kinds::any_of(&SPAN_TYPES), |opened| {
        let source = opened.source;
        spans::each_span(opened.envelope, source.received_at, |span| tables.add(source.name, span, filter));
    })?;
    Ok(tables.finish(window, scanned))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::protocol::envelope::Envelope;

    fn tables(filter: &Filter) -> Tables {
        let find = |collection: &str, end: f64| {
            json!({"op": "db", "description": format!("{{\"find\":\"{collection}\",\"filter\":{{\"_id\":\"?\"}}}}"),
                "start_timestamp": 1.0, "timestamp": end,
                "data": {"db.system": "mongodb", "db.operation": "find", "db.collection.name": collection}})
        };
        let transaction = json!({"transaction": "t", "contexts": {"trace": {"op": "queue.process"}}, "spans": [
            find("bets", 1.1), find("bets", 1.3), find("players", 1.002),
            {"op": "db", "description": "ping", "data": {"db.system": "mongodb"}},
            {"op": "db.redis", "description": "GET player:?", "data": {"db.system": "redis"}},
            {"op": "cache.get", "description": "player:?", "data": {"db.system": "redis"}},
        ]});
        let body = format!("{{}}\n{{\"type\":\"transaction\"}}\n{transaction}\n");
        let envelope = Envelope::parse(body.as_bytes()).expect("an envelope");
        let mut tables = Tables::default();
        spans::each_span(&envelope, 9.0, |span| tables.add("user", span, filter));
        tables
    }

    #[test]
    fn queries_are_grouped_by_normalised_text() {
        let tables = tables(&Filter::default());
        assert_eq!(tables.without_description, 2, "of the ping and of redis");
        let rows = tables.rows.sorted(|key, sums| (key, sums.figures(1.0)), |row| row.1.time_spent_ms);
        let ((description, facts), figures) = &rows[0];
        assert_eq!(description, "{\"find\":\"bets\",\"filter\":{\"_id\":\"?\"}}");
        assert_eq!(facts.domain.as_deref(), Some("bets"));
        assert_eq!((rows.len(), figures.count), (2, 2));
        assert_eq!(figures.avg_ms.map(f64::round), Some(200.0));
        assert_eq!(figures.p95_ms.map(f64::round), Some(300.0));
    }

    #[test]
    fn filters_select_by_system_action_and_domain() {
        let filter = |system: &str, action: &str, domain: &str| Filter {
            system: system.to_owned(),
            action: action.to_owned(),
            domain: domain.to_owned(),
        };
        assert_eq!(tables(&filter("", "", "players")).total.count, 1);
        assert_eq!(tables(&filter("mongodb", "FIND", "")).total.count, 3);
        assert_eq!(tables(&filter("postgresql", "", "")).total.count, 0);
    }
}
