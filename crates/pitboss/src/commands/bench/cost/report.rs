//! The report: tables of what a bet costs, with the circumstances under which it was measured.

use std::collections::BTreeMap;

use serde::Serialize;

use super::counters::{CounterCost, counter_costs};
use super::grid::Grid;
use super::interval::Interval;
use super::machine::WRITES;
use super::shares::{Costs, Divisors, PartCost, Share, part_costs, total};
use crate::commands::bench::chart::{Chart, Form, Series};
use crate::commands::bench::pace::Pace;
use crate::commands::bench::report::BenchReport;
use crate::load_generator::load_report::{self, LatencyMs};

/// Cell without a figure.
const NONE: &str = "–";
/// Name of the last row.
const TOTAL: &str = "all parts";
/// Columns of the table of parts.
const PARTS: &[&str] = &[
    "PART",
    "CPU MS/BET",
    "IDLE CPU MS/S",
    "CPU MS/BET WITHOUT IDLE",
    "VOLUNTARY SWITCHES/BET",
    "INVOLUNTARY SWITCHES/BET",
];
/// Columns of the table of counters.
const COUNTED: &[&str] = &["COUNTED", "SERVICE", "LABELS", "PER BET", "IDLE PER S", "PER BET WITHOUT IDLE"];

/// Requested measurement, and the machine.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Setup {
    /// Release of the services, if `up` recorded it.
    pub(super) release: Option<String>,
    #[serde(flatten)]
    pub(super) pace: Pace,
    /// Median time of a write of 4 KiB with its fsync in the state folder, before the load.
    pub(super) fsync_ms: f64,
}

/// Result of the benchmark, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    bench: &'static str,
    #[serde(flatten)]
    setup: Setup,
    /// Durations of the two intervals.
    idle_s: f64,
    load_s: f64,
    /// Share of the machine's CPU time that its host took in each interval.
    idle_steal_percent: f64,
    load_steal_percent: f64,
    /// Bets that were to be sent in the interval, by result.
    sent: u64,
    settled: u64,
    rejected: u64,
    errors: BTreeMap<String, u64>,
    latency_ms: LatencyMs,
    parts: Vec<PartCost>,
    /// Sum over the parts. Absent if one of them has no costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<Costs>,
    counters: Vec<CounterCost>,
    /// Reasons to doubt the figures.
    notes: Vec<String>,
}

impl Report {
    /// Divides what was read in both intervals by the settled bets, of which there has to be at least one.
    pub(super) fn of(setup: Setup, idle: &Interval, load: &Interval, bets: load_report::Report) -> Self {
        let errors = bets.errors_and_refusals();
        let load_report::Report { sent, settled, rejected, latency_ms, .. } = bets;
        let divisors = Divisors { idle_s: idle.seconds(), load_s: load.seconds(), bets: settled as f64 };
        let parts = part_costs(
            [idle.begin.usages(), idle.end.usages()],
            [load.begin.usages(), load.end.usages()],
            divisors,
        );
        let changed: Vec<&str> =
            parts.iter().filter(|part| part.costs.is_none()).map(|part| part.part.as_str()).collect();
        let counters = counter_costs(
            [&idle.begin.counters, &idle.end.counters],
            [&load.begin.counters, &load.end.counters],
            divisors,
            &changed,
        );
        let idle_bets = idle.end.counters.bets_since(&idle.begin.counters);
        let notes = notes(&parts, rejected, idle_bets);
        Self {
            bench: "cost",
            setup,
            idle_s: divisors.idle_s,
            load_s: divisors.load_s,
            idle_steal_percent: idle.steal_percent(),
            load_steal_percent: load.steal_percent(),
            sent,
            settled,
            rejected,
            errors,
            latency_ms,
            total: total(&parts),
            parts,
            counters,
            notes,
        }
    }

    /// The report for a page in Markdown.
    pub(super) fn to_markdown(&self) -> String {
        let lines = self.circumstances().into_iter().chain(self.notes.iter().cloned());
        let list: String = lines.map(|line| format!("- {line}\n")).collect();
        let (parts, counted) = (self.parts_grid().to_markdown(), self.counters_grid().to_markdown());
        format!("{list}\n{parts}\n{}\n{counted}", self.chart().to_markdown())
    }

    /// Lines about the bets and the machine.
    fn circumstances(&self) -> Vec<String> {
        let Setup { release, pace: Pace { rate_per_s, warm_up_s, players, .. }, fsync_ms } = &self.setup;
        let Self { sent, settled, rejected, load_s, idle_s, latency_ms, .. } = self;
        vec![
            format!(
                "{sent} bets in {load_s:.1} s ({rate_per_s}/s requested, {players} players, after {warm_up_s} s of warm-up): settled {settled} · rejected {rejected} · errors {}",
                kinds(&self.errors)
            ),
            format!("latency from the scheduled send time: {latency_ms}"),
            format!(
                "stolen CPU time: {:.1} % of the idle {idle_s:.1} s, {:.1} % of the interval with bets · write and fsync of 4 KiB: {fsync_ms:.2} ms (median of {WRITES})",
                self.idle_steal_percent, self.load_steal_percent
            ),
            format!("release: {}", release.as_deref().unwrap_or("unknown")),
        ]
    }

    fn parts_grid(&self) -> Grid {
        let mut rows: Vec<Vec<String>> = self
            .parts
            .iter()
            .map(|PartCost { part, problem, costs }| match problem {
                Some(problem) => part_row(format!("{part} ({problem})"), costs.as_ref()),
                None => part_row(part.clone(), costs.as_ref()),
            })
            .collect();
        rows.push(part_row(TOTAL.to_owned(), self.total.as_ref()));
        Grid { header: PARTS, text_columns: 1, rows }
    }

    /// CPU time of a bet in each part that has costs.
    fn chart(&self) -> Chart {
        let costs = self.parts.iter().filter_map(|part| Some((part.part.clone(), part.costs.as_ref()?)));
        let (labels, cpu_ms): (Vec<String>, Vec<f64>) =
            costs.map(|(part, costs)| (part, costs.cpu_ms.per_bet)).unzip();
        Chart {
            title: "CPU time of a settled bet".to_owned(),
            axes: ["part".to_owned(), "ms".to_owned()],
            labels,
            form: Form::Bars,
            series: vec![Series::measured("CPU ms/bet", cpu_ms)],
        }
    }

    fn counters_grid(&self) -> Grid {
        let row = |cost: &CounterCost| {
            let CounterCost { service, counter, labels, share } = cost;
            let Share { per_bet, idle_per_s, per_bet_without_idle } = share;
            let figures = [per_bet, idle_per_s, per_bet_without_idle].map(|figure| format!("{figure:.2}"));
            let mut row = vec![(*counter).to_owned(), (*service).to_owned(), labels.clone()];
            row.extend(figures);
            row
        };
        Grid { header: COUNTED, text_columns: 3, rows: self.counters.iter().map(row).collect() }
    }
}

impl BenchReport for Report {
    fn to_text(&self, columns: usize) -> String {
        let circumstances = self.circumstances().join("\n");
        let (parts, counted) = (self.parts_grid().to_text(columns), self.counters_grid().to_text(columns));
        let notes: String = self.notes.iter().map(|note| format!("\n{note}\n")).collect();
        format!("{circumstances}\n\n{parts}\n\n{counted}\n{notes}")
    }

    /// Says that not every bet of the interval was settled. `None` if all were. Each player has money for all bets, so a rejected
    /// one is a defect, and it costs less than a settled one.
    fn problem(&self) -> Option<String> {
        let (failed, sent): (u64, _) = (self.errors.values().sum(), self.sent);
        if failed > 0 {
            let kinds = kinds(&self.errors);
            return Some(format!(
                "{failed} of {sent} bets of the interval were not answered with 200: {kinds}"
            ));
        }
        let rejected = self.rejected;
        (rejected > 0).then(|| {
            format!("{rejected} of {sent} bets of the interval were rejected, although each player has money for all of them")
        })
    }
}

fn part_row(name: String, costs: Option<&Costs>) -> Vec<String> {
    let mut row = vec![name];
    let Some(Costs { cpu_ms, voluntary_switches, involuntary_switches }) = costs else {
        row.resize(PARTS.len(), NONE.to_owned());
        return row;
    };
    let times = [cpu_ms.per_bet, cpu_ms.idle_per_s, cpu_ms.per_bet_without_idle];
    row.extend(times.map(|time| format!("{time:.3}")));
    let switches = [voluntary_switches.per_bet, involuntary_switches.per_bet];
    row.extend(switches.map(|count| format!("{count:.2}")));
    row
}

/// Reasons to doubt the figures.
fn notes(parts: &[PartCost], rejected: u64, idle_bets: f64) -> Vec<String> {
    let mut notes = Vec::new();
    for PartCost { part, problem, .. } in parts {
        if let Some(problem) = problem {
            notes.push(format!(
                "{part} {problem}: its cost and its counters are left out, and there is no sum over all parts"
            ));
        }
    }
    if rejected > 0 {
        notes.push(format!(
            "rejected bets: {rejected}. Their work is included, although the figures are for each settled bet"
        ));
    }
    if idle_bets > 0.0 {
        notes.push(format!(
            "bets settled in the idle interval: {idle_bets}. Something else plays on this platform, so repeat this without it"
        ));
    }
    notes
}

/// Numbers of failed bets by kind.
pub(in crate::commands::bench) fn kinds(errors: &BTreeMap<String, u64>) -> String {
    let kinds: Vec<String> = errors.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(part: &str, problem: Option<&'static str>, cpu_ms_per_bet: f64) -> PartCost {
        let cpu_ms = Share { per_bet: cpu_ms_per_bet, idle_per_s: 5.0, per_bet_without_idle: 1.5 };
        let costs = problem.is_none().then(|| Costs { cpu_ms, ..Costs::default() });
        PartCost { part: part.to_owned(), problem, costs }
    }

    fn report(parts: Vec<PartCost>, errors: &[(&str, u64)]) -> Report {
        let pace = Pace { rate_per_s: 20, seconds: 30, warm_up_s: 10, players: 50 };
        let setup = Setup { release: None, pace, fsync_ms: 1.25 };
        Report {
            bench: "cost",
            setup,
            idle_s: 30.0,
            load_s: 30.1,
            idle_steal_percent: 0.0,
            load_steal_percent: 2.5,
            sent: 600,
            settled: 600 - errors.iter().map(|(_, count)| count).sum::<u64>(),
            rejected: 0,
            errors: errors.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect(),
            latency_ms: LatencyMs { p50: 12.0, p95: 15.0, p99: 20.5, max: 44.0 },
            total: total(&parts),
            notes: notes(&parts, 0, 0.0),
            parts,
            counters: vec![CounterCost {
                service: "game",
                counter: "records published",
                labels: "topic=casino.bets.events.v1".to_owned(),
                share: Share { per_bet: 1.0, idle_per_s: 0.0, per_bet_without_idle: 1.0 },
            }],
        }
    }

    #[test]
    fn unanswered_bet_is_a_problem() {
        assert_eq!(report(Vec::new(), &[]).problem(), None);
        let problem = report(Vec::new(), &[("http_503", 9), ("timeout", 3)]).problem();
        let expected = "12 of 600 bets of the interval were not answered with 200: http_503 9, timeout 3";
        assert_eq!(problem.as_deref(), Some(expected));
    }

    #[test]
    fn page_has_all_parts_and_their_sum() {
        let page = report(vec![part("user", None, 2.0), part("game", None, 2.25)], &[]).to_markdown();
        for line in [
            "| game | 2.250 | 5.000 | 1.500 | 0.00 | 0.00 |",
            "| all parts | 4.250 | 10.000 | 3.000 | 0.00 | 0.00 |",
            "| records published | game | topic=casino.bets.events.v1 | 1.00 | 0.00 | 1.00 |",
            "- latency from the scheduled send time: p50 12.0 ms · p95 15.0 ms · p99 20.5 ms · max 44.0 ms",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
        assert!(page.contains("x-axis \"part\" [\"user\", \"game\"]"), "{page}");
        assert!(page.contains("    bar [2.000, 2.250]\n```\n\n| counted |"), "{page}");
        assert!(page.contains("2.5 % of the interval with bets") && page.contains("1.25 ms"), "{page}");
    }

    #[test]
    fn restarted_part_has_no_figures_and_a_note() {
        let report = report(vec![part("user", Some("restarted"), 0.0), part("game", None, 2.25)], &[]);
        let page = report.to_markdown();
        for line in ["| user (restarted) | – | – | – | – | – |", "| all parts | – | – | – | – | – |"]
        {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
        let text = report.to_text(120);
        assert!(text.contains("user restarted: its cost and its counters are left out"), "{text}");
    }

    #[test]
    fn doubtful_figures_have_a_note() {
        assert!(notes(&[part("game", None, 2.25)], 0, 0.0).is_empty());
        let notes = notes(&[], 3, 12.0);
        assert!(notes.len() == 2 && notes[0].contains("rejected bets: 3"), "{notes:?}");
        assert!(notes[1].contains("idle interval: 12."), "{notes:?}");
    }
}
