//! Page with the scorecard of the last `./pitboss verify --report`.

use askama::Template;
use axum::{extract::State, response::Response};
use chassis::problem::Problem;
use contracts::scorecard::{Figures, Row, Scorecard, Skipped, Spread};

use super::{format::clock, render};
use crate::{
    index::{IndexError, read},
    protocol::digest,
    query::{
        scorecard,
        state::{Query, run_query, with_lag},
    },
};

/// Shown for a value that is missing.
const NONE: &str = "–";
/// Verdict of a row that holds.
const PROVEN: &str = "PROVEN";
/// Width of the picture, and the places in it, in units of the drawing.
const BARS_BEGIN: f64 = 300.0;
const BARS_WIDTH: f64 = 590.0;
const BAR_DISTANCE: f64 = 20.0;
/// Smallest width that is seen.
const WIDTH_MIN: f64 = 2.0;

/// What is stored of the trace of a row.
#[derive(Clone, Debug, Default)]
struct Links {
    trace: Option<String>,
    issue: Option<String>,
}

/// One row, formatted.
struct RowLine {
    fault: String,
    verdict: String,
    is_proven: bool,
    proven: u64,
    runs: u64,
    signal: String,
    alert: String,
    recovery: String,
    first_seen_in: String,
    links: Links,
    blind: String,
    false_alarms: String,
    money: String,
    culprit: String,
    why: String,
}

impl RowLine {
    fn new(row: &Row, links: Links) -> Self {
        Self {
            fault: row.fault.clone(),
            verdict: row.verdict.clone(),
            is_proven: row.verdict == PROVEN,
            proven: row.proven,
            runs: row.runs,
            signal: spread(row.signal_s),
            alert: spread(row.alert_s),
            recovery: spread(row.recovery_s),
            first_seen_in: row.first_seen_in.clone().unwrap_or_else(|| NONE.to_owned()),
            links,
            blind: list(&row.blind),
            false_alarms: list(&row.false_alarms),
            money: row.money.clone(),
            culprit: row.culprit.clone(),
            why: row.why.clone(),
        }
    }
}

fn spread(spread: Option<Spread>) -> String {
    spread.map_or_else(
        || NONE.to_owned(),
        |spread| format!("{:.1} / {:.1} / {:.1}", spread.min, spread.median, spread.max),
    )
}

fn list(texts: &[String]) -> String {
    if texts.is_empty() { NONE.to_owned() } else { texts.join(", ") }
}

/// Figures of one row: control → fault.
struct FigureLine {
    fault: String,
    p50: String,
    p95: String,
    failed: String,
    cpu: String,
    memory: String,
}

impl FigureLine {
    fn new(row: &Row) -> Option<Self> {
        row.baseline.or(row.under_fault)?;
        let beside = |figure: fn(Figures) -> Option<f64>| {
            let shown = |figures: Option<Figures>| {
                figures.and_then(figure).map_or_else(|| NONE.to_owned(), |value| format!("{value:.1}"))
            };
            format!("{} → {}", shown(row.baseline), shown(row.under_fault))
        };
        Some(Self {
            fault: row.fault.clone(),
            p50: beside(|figures| Some(figures.p50_ms)),
            p95: beside(|figures| Some(figures.p95_ms)),
            failed: beside(|figures| Some(figures.failed_percent)),
            cpu: beside(|figures| figures.cpu_percent),
            memory: beside(|figures| figures.memory_mib),
        })
    }
}

/// Picture of the times to the first signal: a bar up to the median, and a line from the minimum to the maximum.
struct Picture {
    height: String,
    bars: Vec<Bar>,
}

/// One row of the picture. All places are numbers of the drawing.
struct Bar {
    fault: String,
    is_proven: bool,
    y: String,
    text_y: String,
    line_y: String,
    begin: String,
    width: String,
    line_begin: String,
    line_width: String,
    label_x: String,
    label: String,
}

impl Picture {
    /// The rows with a signal, the fastest first.
    fn new(rows: &[Row]) -> Self {
        let mut seen: Vec<(&Row, Spread)> =
            rows.iter().filter_map(|row| Some((row, row.signal_s?))).collect();
        seen.sort_by(|(_, one), (_, other)| one.median.total_cmp(&other.median));
        let longest_s = seen.iter().map(|(_, spread)| spread.max).fold(f64::MIN_POSITIVE, f64::max);
        let bars = seen.iter().enumerate().map(|(position, (row, spread))| {
            Bar::new(row, *spread, position as f64 * BAR_DISTANCE, longest_s)
        });
        Self { height: number(seen.len() as f64 * BAR_DISTANCE + 2.0), bars: bars.collect() }
    }
}

impl Bar {
    fn new(row: &Row, spread: Spread, y: f64, longest_s: f64) -> Self {
        let width = |seconds: f64| seconds / longest_s * BARS_WIDTH;
        let x = |seconds: f64| BARS_BEGIN + width(seconds);
        Self {
            fault: row.fault.clone(),
            is_proven: row.verdict == PROVEN,
            y: number(y + 3.0),
            text_y: number(y + 13.0),
            line_y: number(y + 8.0),
            begin: number(BARS_BEGIN),
            width: number(width(spread.median).max(WIDTH_MIN)),
            line_begin: number(x(spread.min)),
            line_width: number(width(spread.max - spread.min).max(WIDTH_MIN)),
            label_x: number(x(spread.max) + 8.0),
            label: format!("{:.1} s", spread.median),
        }
    }
}

fn number(number: f64) -> String {
    format!("{number:.1}")
}

#[derive(Template)]
#[template(path = "scorecard.html")]
struct ScorecardPage {
    stored: Option<Stored>,
}

/// Content of the page.
struct Stored {
    at: String,
    runs: usize,
    seeds: String,
    minutes: String,
    proven: usize,
    alarms: usize,
    rows: Vec<RowLine>,
    figures: Vec<FigureLine>,
    picture: Picture,
    skipped: Vec<Skipped>,
}

impl Stored {
    fn new(card: Scorecard, links: Vec<Links>) -> Self {
        let joined = |texts: Vec<String>| texts.join(", ");
        Self {
            at: clock(card.finished_at),
            runs: card.runs.len(),
            seeds: joined(card.runs.iter().map(|run| run.seed.to_string()).collect()),
            minutes: joined(card.runs.iter().map(|run| format!("{:.0}", run.duration_s / 60.0)).collect()),
            proven: card.rows.iter().filter(|row| row.verdict == PROVEN).count(),
            alarms: card.rows.iter().map(|row| row.false_alarms.len()).sum(),
            rows: card.rows.iter().zip(links).map(|(row, links)| RowLine::new(row, links)).collect(),
            figures: card.rows.iter().filter_map(FigureLine::new).collect(),
            picture: Picture::new(&card.rows),
            skipped: card.skipped,
        }
    }
}

/// `GET /scorecard`
pub(super) async fn page(State(query): State<Query>) -> Result<Response, Problem> {
    let Some(card) = scorecard::stored(&query).await? else {
        return Ok(render(&ScorecardPage { stored: None }));
    };
    let ids: Vec<Option<String>> = card.rows.iter().map(|row| row.trace_id.clone()).collect();
    let find = move |query: &Query| ids.into_iter().map(|id| links(query, id)).collect::<Result<Vec<_>, _>>();
    let (links, lag) = run_query(&query, find).await?;
    Ok(with_lag(lag, render(&ScorecardPage { stored: Some(Stored::new(card, links)) })))
}

/// Finds the trace of a row and the issue of its first error, if they are still stored.
fn links(query: &Query, trace_id: Option<String>) -> Result<Links, IndexError> {
    let Some(id) = trace_id.as_deref().and_then(digest::trace_id) else { return Ok(Links::default()) };
    let is_stored = !query.read_index(|connection| read::trace_envelopes(connection, id, 1))?.is_empty();
    let issue = query.read_index(|connection| read::trace_issue(connection, id))?;
    Ok(Links { trace: trace_id.filter(|_| is_stored), issue: issue.map(|issue| issue.simple().to_string()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(fault: &str, seconds: &[f64]) -> Row {
        Row {
            fault: fault.to_owned(),
            verdict: PROVEN.to_owned(),
            proven: 1,
            runs: 1,
            signal_s: Spread::of(seconds.to_vec()),
            alert_s: None,
            recovery_s: None,
            first_seen_in: None,
            trace_id: None,
            culprit: String::new(),
            blind: Vec::new(),
            false_alarms: Vec::new(),
            money: String::new(),
            baseline: None,
            under_fault: None,
            why: String::new(),
        }
    }

    #[test]
    fn picture_begins_with_the_fastest_signal() {
        let rows = [row("slow", &[4.0, 8.0]), row("unseen", &[]), row("fast", &[0.0])];
        let picture = Picture::new(&rows);
        let names: Vec<&str> = picture.bars.iter().map(|bar| bar.fault.as_str()).collect();
        assert_eq!(names, ["fast", "slow"]);
        let places: Vec<[&str; 3]> =
            picture.bars.iter().map(|bar| [bar.width.as_str(), &bar.line_begin, &bar.line_width]).collect();
        assert_eq!(places, [["2.0", "300.0", "2.0"], ["295.0", "595.0", "295.0"]]);
    }

    #[test]
    fn immediate_signal_has_a_visible_bar() {
        let picture = Picture::new(&[row("now", &[0.0])]);
        assert_eq!((picture.bars[0].width.as_str(), picture.bars[0].label.as_str()), ("2.0", "0.0 s"));
        assert!(Picture::new(&[]).bars.is_empty());
    }
}
