//! Widgets of dashboards: their queries, and their places on the grid.

use std::collections::BTreeSet;

use super::names;
use crate::declared_names::DeclaredNames;
use crate::sentry::model::{Dashboard, Display, Source, Widget};

/// Columns of a dashboard.
const COLUMNS: u32 = 6;
/// Largest number of rows.
const ROWS_MAX: u32 = 100;
/// Largest number of widgets that Sentry shows.
const WIDGETS_MAX: usize = 30;

/// Longest description of a widget that Sentry takes.
const DESCRIPTION_CHARS_MAX: usize = 255;

/// Checks all dashboards.
pub(super) fn check(dashboards: &[Dashboard], names: &DeclaredNames, findings: &mut Vec<String>) {
    let mut titles = BTreeSet::new();
    for dashboard in dashboards {
        let place = format!("dashboard {}", dashboard.title);
        if dashboard.title.is_empty() || !titles.insert(&dashboard.title) {
            findings.push(format!("{place}: a dashboard needs a title of its own"));
        }
        if dashboard.widgets.is_empty() || dashboard.widgets.len() > WIDGETS_MAX {
            findings.push(format!("{place}: a dashboard has 1 to {WIDGETS_MAX} widgets"));
        }
        layout(&dashboard.widgets, &place, findings);
        for widget in &dashboard.widgets {
            query(widget, names, &format!("{place}: {}", widget.title), findings);
        }
    }
}

fn layout(widgets: &[Widget], place: &str, findings: &mut Vec<String>) {
    let mut taken = BTreeSet::new();
    for widget in widgets {
        let ([x, y], [w, h]) = (widget.at, widget.size);
        let right = x.checked_add(w).filter(|right| w > 0 && *right <= COLUMNS);
        let bottom = y.checked_add(h).filter(|bottom| h > 0 && *bottom <= ROWS_MAX);
        let (Some(right), Some(bottom)) = (right, bottom) else {
            findings.push(format!("{place}: {} is outside of the {COLUMNS} columns", widget.title));
            continue;
        };
        let mut is_free = true;
        for cell in (x..right).flat_map(|column| (y..bottom).map(move |row| (column, row))) {
            is_free &= taken.insert(cell);
        }
        if !is_free {
            findings.push(format!("{place}: {} lies over another widget", widget.title));
        }
    }
}

fn query(widget: &Widget, names: &DeclaredNames, place: &str, findings: &mut Vec<String>) {
    let (shown, groups) = match &widget.source {
        Source::Spans(spans) => {
            if spans.ops.is_empty() {
                findings.push(format!("{place}: it needs an op"));
            }
            for op in &spans.ops {
                names::op(names, op, place, findings);
            }
            for attribute in &spans.by {
                names::attribute(names, attribute, place, findings);
            }
            (spans.show.len(), spans.by.len())
        }
        Source::Metrics(metrics) => {
            for column in &metrics.show {
                names::metric(names, column.name.0, column.aggregate, place, findings);
            }
            for label in metrics.by.iter().chain(metrics.labels.keys()) {
                names::label(names, label, place, findings);
            }
            names::patterns(metrics.labels.values(), place, findings);
            (metrics.show.len(), metrics.by.len())
        }
    };
    if widget.title.is_empty() || widget.means.chars().count() > DESCRIPTION_CHARS_MAX {
        findings.push(format!(
            "{place}: it needs a title, and a meaning of at most {DESCRIPTION_CHARS_MAX} characters"
        ));
    }
    if shown == 0 {
        findings.push(format!("{place}: it shows nothing"));
    }
    if widget.display == Display::BigNumber && (shown != 1 || groups != 0) {
        findings.push(format!("{place}: a number is one figure without groups"));
    }
    if widget.display.is_over_time() && groups > 0 && shown > 1 {
        findings.push(format!("{place}: over time, groups need a single figure"));
    }
}
