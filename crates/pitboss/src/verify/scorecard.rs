//! The scorecard: several runs beside one another, as a page in Markdown.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::report::{Outcome, Report};
use super::run::flow::Flow;
use super::run::names::Coverage;
use super::verdict::Verdict;
use super::{Figures, Row, debug};
use crate::second_witness::{CANNOT_SHOW, Testimony};

/// Begin of the page.
const HEAD: &str = "# Scorecard\n\n\
    `./pitboss verify --report` writes this page. Do not edit it by hand. [EVIDENCE.md](EVIDENCE.md) explains the rows, \
    the verdicts and the times.\n\n";

/// The page about these runs, and about the names that the whole ones among them sent.
#[must_use]
pub fn page(runs: &[Report], rows: &[Row], coverages: &[Coverage]) -> String {
    let seeds: Vec<String> = runs.iter().map(|run| run.seed.to_string()).collect();
    let minutes: Vec<String> = runs.iter().map(|run| format!("{:.0}", run.duration_s / 60.0)).collect();
    let mut page = HEAD.to_owned();
    let intro = format!(
        "Runs: {}. Seeds: {}. Minutes: {}. Times are minimum / median / maximum over the runs, in seconds.\n\n",
        runs.len(),
        seeds.join(", "),
        minutes.join(", ")
    );
    page.push_str(&intro);
    signals(&mut page, runs, rows);
    debug_endpoints(&mut page, runs);
    figures(&mut page, runs, rows);
    names(&mut page, coverages);
    second_witness(&mut page, runs, rows);
    notes(&mut page, runs, rows);
    page
}

/// All results of one row.
fn outcomes<'a>(runs: &'a [Report], row: &Row) -> Vec<&'a Outcome> {
    let all = runs.iter().flat_map(|run| &run.rows);
    let name = row.name();
    all.filter(|outcome| outcome.id == name).collect()
}

fn signals(page: &mut String, runs: &[Report], rows: &[Row]) {
    page.push_str("## When each fault shows\n\n");
    page.push_str(
        "| fault | proven | signal | alert | recovery | seen first in | blind signals | money | flow |\n",
    );
    page.push_str("|---|---|---|---|---|---|---|---|---|\n");
    for row in rows {
        let outcomes = outcomes(runs, row);
        let Some(last) = outcomes.last() else { continue };
        let judged = outcomes.iter().find(|outcome| outcome.result != Verdict::Proven).unwrap_or(last);
        let seen_first_in = outcomes.iter().rev().find_map(|outcome| outcome.first_seen_in.as_deref());
        let proven = outcomes.iter().filter(|outcome| outcome.result == Verdict::Proven).count();
        let times = |time: fn(&Outcome) -> Option<f64>| spread(outcomes.iter().filter_map(|o| time(o)));
        let line = format!(
            "| `{}` | {proven} of {} | {} | {} | {} | {} | {} | {} | {} |",
            row.name(),
            outcomes.len(),
            times(|outcome| outcome.times.time_to_signal_s),
            times(|outcome| outcome.times.time_to_alert_s),
            times(|outcome| outcome.times.recovery_s),
            cell(seen_first_in.unwrap_or("–")),
            cell(&always_blind(&outcomes).join(", ")),
            judged.money,
            flow(&outcomes),
        );
        push(page, &line);
    }
    page.push('\n');
}

/// The debug endpoints, one line a fault, because the services differ little.
fn debug_endpoints(page: &mut String, runs: &[Report]) {
    let mut by_fault: BTreeMap<&str, Vec<&Outcome>> = BTreeMap::new();
    for outcome in runs.iter().flat_map(|run| &run.rows) {
        let name = outcome.id.strip_prefix(debug::PREFIX).and_then(|rest| rest.strip_prefix('.'));
        if let Some((_, fault)) = name.and_then(|name| name.split_once('.')) {
            by_fault.entry(fault).or_default().push(outcome);
        }
    }
    if by_fault.is_empty() {
        return;
    }
    page.push_str("## Debug endpoints\n\n");
    page.push_str("Each fault at each service that offers it ([list](DEBUG_ENDPOINTS.md)).\n\n");
    page.push_str("| fault | proven | evidence | recovery | money |\n|---|---|---|---|---|\n");
    for (fault, outcomes) in by_fault {
        let proven = outcomes.iter().filter(|outcome| outcome.result == Verdict::Proven).count();
        let times = |time: fn(&Outcome) -> Option<f64>| spread(outcomes.iter().filter_map(|o| time(o)));
        let judged = outcomes.iter().find(|outcome| outcome.result != Verdict::Proven);
        let line = format!(
            "| `{fault}` | {proven} of {} | {} | {} | {} |",
            outcomes.len(),
            times(|outcome| outcome.times.time_to_evidence_s),
            times(|outcome| outcome.times.recovery_s),
            judged.or(outcomes.last()).map(|outcome| outcome.money).unwrap_or_default(),
        );
        push(page, &line);
    }
    page.push('\n');
}

/// Flow of the records in the run in which most of it is wrong.
fn flow(outcomes: &[&Outcome]) -> String {
    let flows = outcomes.iter().filter_map(|outcome| outcome.flow.as_ref());
    let worst = flows.max_by_key(|flow| (flow.exempt.is_empty(), flow.violations.len()));
    worst.map_or_else(|| "–".to_owned(), Flow::text)
}

/// Baseline beside fault, as the median over the runs.
fn figures(page: &mut String, runs: &[Report], rows: &[Row]) {
    page.push_str("## Load and services: control → fault\n\n");
    page.push_str(
        "| fault | p50 ms | p95 ms | not answered with 200, % | CPU, % of a core | memory, MiB |\n",
    );
    page.push_str("|---|---|---|---|---|---|\n");
    for row in rows {
        let outcomes = outcomes(runs, row);
        let beside = |figure: fn(&Figures) -> Option<f64>| {
            let of = |phase: fn(&Outcome) -> Option<Figures>| {
                median(outcomes.iter().filter_map(|outcome| figure(&phase(outcome)?)).collect())
            };
            let text =
                |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.1}"));
            format!("{} → {}", text(of(|outcome| outcome.baseline)), text(of(|outcome| outcome.under_fault)))
        };
        if outcomes.iter().all(|outcome| outcome.baseline.is_none()) {
            continue;
        }
        let line = format!(
            "| `{}` | {} | {} | {} | {} | {} |",
            row.name(),
            beside(|figures| Some(figures.p50_ms)),
            beside(|figures| Some(figures.p95_ms)),
            beside(|figures| Some(figures.failed_percent)),
            beside(|figures| figures.cpu_percent),
            beside(|figures| figures.memory_mib),
        );
        push(page, &line);
    }
    page.push('\n');
}

/// Names that were sent, beside the declared ones.
fn names(page: &mut String, coverages: &[Coverage]) {
    if coverages.is_empty() {
        return;
    }
    page.push_str("## Names of `schemas/names.json`\n\n");
    for line in coverages.iter().flat_map(Coverage::lines) {
        push(page, &format!("- {}.", cell(&line)));
    }
    page.push('\n');
}

/// What the second witness saw. Nothing without `--second-witness`.
fn second_witness(page: &mut String, runs: &[Report], rows: &[Row]) {
    let testimonies = |row: &Row| -> Vec<String> {
        let all = outcomes(runs, row).into_iter();
        all.filter_map(|outcome| outcome.second_witness.as_ref().map(Testimony::text)).collect()
    };
    if rows.iter().all(|row| testimonies(row).is_empty()) {
        return;
    }
    page.push_str("## Second witness\n\n");
    push(
        page,
        &format!(
            "What Sentry's own Spotlight has of the traces that the evidence cites, beside the recorder ([SPOTLIGHT](SPOTLIGHT.md)). It cannot show {CANNOT_SHOW}.\n"
        ),
    );
    page.push_str("| fault | what it saw in each run |\n|---|---|\n");
    for row in rows {
        let testimonies = testimonies(row);
        if !testimonies.is_empty() {
            push(page, &format!("| `{}` | {} |", row.name(), cell(&testimonies.join(" · "))));
        }
    }
    page.push('\n');
}

/// False alarms, culprits, and what was not proven.
fn notes(page: &mut String, runs: &[Report], rows: &[Row]) {
    page.push_str("## Notes\n\n");
    let all = || runs.iter().flat_map(|run| &run.rows);
    let alarms: usize = all().map(|outcome| outcome.false_alarms.len()).sum();
    push(page, &format!("- False alarms in the controls: {alarms}."));
    for outcome in all().filter(|outcome| !outcome.false_alarms.is_empty()) {
        push(page, &format!("  - `{}`: {}", outcome.id, outcome.false_alarms.join(", ")));
    }
    for row in rows.iter().filter(|row| !row.culprit.is_empty()) {
        push(page, &format!("- The culprit of `{}`: {}.", row.name(), row.culprit));
    }
    for outcome in all().filter(|outcome| outcome.result != Verdict::Proven) {
        push(page, &format!("- `{}` was {}: {}", outcome.id, outcome.result.as_str(), cell(&outcome.why)));
    }
    for outcome in all() {
        for violation in outcome.flow.iter().flat_map(Flow::proven) {
            push(page, &format!("- Flow of `{}`: {}", outcome.id, cell(violation)));
        }
    }
    for skipped in runs.iter().flat_map(|run| &run.skipped) {
        push(page, &format!("- `{}` was left out: {}", skipped.id, skipped.why));
    }
}

fn push(page: &mut String, line: &str) {
    // Writing to a string cannot fail.
    writeln!(page, "{line}").ok();
}

/// Signals that showed nothing in any run.
fn always_blind(outcomes: &[&Outcome]) -> Vec<&'static str> {
    let Some(first) = outcomes.first() else { return Vec::new() };
    let is_blind = |name: &&'static str| outcomes.iter().all(|outcome| outcome.blind.contains(name));
    first.blind.iter().copied().filter(is_blind).collect()
}

/// Minimum, median and maximum.
fn spread(values: impl Iterator<Item = f64>) -> String {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match (values.first(), median(values.clone()), values.last()) {
        (Some(min), Some(median), Some(max)) => format!("{min:.1} / {median:.1} / {max:.1}"),
        _ => "–".to_owned(),
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let place = values.len().checked_sub(1)? / 2;
    values.get(place).copied()
}

/// Text that does not break a table.
fn cell(text: &str) -> String {
    text.replace('|', "/").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use faults::FaultId;

    use super::*;
    use crate::verify::report::Seconds;
    use crate::verify::{row, rows};

    fn outcome(signal_s: f64, blind: &[&'static str]) -> Outcome {
        let figures = |p95_ms| Some(Figures { p95_ms, ..Figures::default() });
        Outcome {
            result: Verdict::Proven,
            times: Seconds { time_to_signal_s: Some(signal_s), ..Seconds::default() },
            first_seen_in: Some("metric a|b".to_owned()),
            blind: blind.to_vec(),
            baseline: figures(20.0),
            under_fault: figures(400.0),
            why: String::new(),
            ..Outcome::unfinished(&row(FaultId::ConsumerSlow), &anyhow::anyhow!("no answer"))
        }
    }

    fn run(outcome: Outcome) -> Report {
        Report { seed: 7, rows: vec![outcome], skipped: Vec::new(), duration_s: 61.0 }
    }

    #[test]
    fn page_has_spread_blind_signals_and_figures() {
        let runs = [
            run(outcome(3.0, &["issue", "lag"])),
            run(outcome(1.0, &["issue"])),
            run(outcome(2.0, &["issue", "latency"])),
        ];
        let page = page(&runs, &rows(), &[]);
        let line = "| `consumer.slow` | 3 of 3 | 1.0 / 2.0 / 3.0 | – | – | metric a/b | issue |";
        assert!(page.contains(line), "{page}");
        assert!(page.contains("| `consumer.slow` | 0.0 → 0.0 | 20.0 → 400.0 |"), "{page}");
        assert!(page.contains("False alarms in the controls: 0."), "{page}");
        assert!(!page.contains("game.cpu-spike"), "it was not run: {page}");
    }

    #[test]
    fn page_names_what_was_not_proven() {
        let mut failed = outcome(1.0, &[]);
        failed.result = Verdict::NotVisible;
        failed.why = "not within 5 s".to_owned();
        failed.false_alarms = vec!["consumer lag"];
        let page = page(&[run(failed)], &rows(), &[]);
        assert!(page.contains("- `consumer.slow` was NOT VISIBLE: not within 5 s"), "{page}");
        assert!(
            page.contains("False alarms in the controls: 1.") && page.contains(": consumer lag"),
            "{page}"
        );
    }

    #[test]
    fn money_is_that_of_the_unproven_run() {
        let wrong = Outcome { result: Verdict::MoneyWrong, money: "2 findings", ..outcome(2.0, &[]) };
        let unseen = Outcome { first_seen_in: None, ..outcome(3.0, &[]) };
        let page = page(&[run(outcome(1.0, &[])), run(wrong), run(unseen)], &rows(), &[]);
        assert!(page.contains("| 2 of 3 | 1.0 / 2.0 / 3.0 | – | – | metric a/b |  | 2 findings |"), "{page}");
    }

    #[test]
    fn page_shows_names_and_worst_flow() {
        let flow = |violations: &[&str], exempt| {
            let violations = violations.iter().map(|text| (*text).to_owned()).collect();
            Some(Flow { published: 9, violations, exempt })
        };
        let with = |flow| run(Outcome { flow, ..outcome(1.0, &[]) });
        let late = with(flow(&["not counted"], "counters of earlier records arrived late"));
        let runs = [with(flow(&[], "")), with(flow(&["two|lost"], "")), late];
        let missing = Coverage { never_sent: vec!["metrics a".to_owned()], ..Coverage::default() };
        let text = page(&runs, &rows(), &[missing]);
        assert!(text.contains("| not audited | 1 missing |\n"), "{text}");
        assert!(
            text.contains("- Flow of `consumer.slow`: two/lost\n") && !text.contains("not counted"),
            "{text}"
        );
        assert!(text.contains("- declared and never sent: metrics a.\n"), "{text}");
        let text = page(&[run(outcome(1.0, &[]))], &rows(), &[]);
        assert!(text.contains("| not audited | – |\n") && !text.contains("## Names"), "{text}");
    }

    #[test]
    fn page_shows_what_the_second_witness_saw() {
        let with = |testimony| run(Outcome { second_witness: testimony, ..outcome(1.0, &[]) });
        let agrees = Testimony { traces: 1, spans: 4, errors: 1, ..Testimony::default() };
        let differs = Testimony { differences: vec!["a|b".to_owned()], ..Testimony::default() };
        let text = page(&[with(Some(agrees)), with(Some(differs)), with(None)], &rows(), &[]);
        let line = "| `consumer.slow` | the same 4 spans and 1 error in 1 trace · differs: a/b |\n";
        assert!(text.contains("## Second witness\n") && text.contains(line), "{text}");
        assert!(text.contains("It cannot show metrics, sessions, check-ins"), "{text}");
        assert!(!page(&[with(None)], &rows(), &[]).contains("Second witness"), "it was not asked");
    }

    #[test]
    fn debug_endpoints_have_one_line_a_fault() {
        let of = |id: &str, result| Outcome { id: id.to_owned(), result, ..outcome(1.0, &[]) };
        let rows_of_run = vec![
            of("debug.game.crash", Verdict::Proven),
            of("debug.payment.crash", Verdict::NotVisible),
            of("debug.payment.deadlock", Verdict::Proven),
        ];
        let run = Report { rows: rows_of_run, ..run(outcome(1.0, &[])) };
        let page = page(&[run], &rows(), &[]);
        assert!(page.contains("| `crash` | 1 of 2 | – | – | not audited |\n"), "{page}");
        assert!(page.contains("| `deadlock` | 1 of 1 |"), "{page}");
        assert!(page.contains("- `debug.payment.crash` was NOT VISIBLE"), "{page}");
    }

    #[test]
    fn median_is_one_of_the_values() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!((median(vec![4.0, 1.0]), median(Vec::new())), (Some(1.0), None));
    }
}
