//! The report: memory of each part, its growth with the number of bets, and its peak.

use std::collections::BTreeMap;
use std::str::FromStr as _;

use contracts::Part;
use serde::Serialize;

use super::growth::{Growth, pairs};
use super::samples::Track;
use crate::commands::bench::chart::{Chart, Form, Series};
use crate::commands::bench::cost::grid::Grid;
use crate::commands::bench::cost::shares::place;
use crate::commands::bench::order_statistics::{Ends, Estimate};
use crate::commands::bench::report::{Sheet, SheetReport};
use crate::commands::bench::rounds::Machine;
use crate::commands::bench::turn::{Bets, Totals};
use crate::output::counted;

/// Limit of the peak of a service, in MiB.
const PEAK_MIB_MAX: f64 = 64.0;
/// Limit of the growth of a service, in MiB for each million bets: 16 bytes for each bet, half of the smallest block that the
/// allocator (glibc) gives. So a service within it keeps nothing of a bet. No measurement can show a growth of exactly 0.
const GROWTH_MIB_MAX: f64 = 16_000_000.0 / 1_048_576.0;
/// Cell without a figure.
const NONE: &str = "–";
/// Columns of the table.
const COLUMNS: &[&str] =
    &["PART", "FIRST ROUND MIB", "LAST ROUND MIB", "GROWTH MIB/1M BETS", "INTERVAL", "BAD END", "PEAK MIB"];

/// Requested measurement.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Setup {
    /// Release of the services, if `up` recorded it.
    pub(super) release: Option<String>,
    pub(super) rate_per_s: u32,
    /// Duration of a round, in seconds.
    pub(super) round_s: u64,
    pub(super) warm_up_s: u64,
    pub(super) players: u16,
}

/// Measured rounds.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) setup: Setup,
    pub(super) machine: Machine,
    /// Bets of each round.
    pub(super) bets: Vec<Bets>,
    /// Settled bets up to the end of each round.
    pub(super) events: Vec<u64>,
    /// Memory of each part.
    pub(super) parts: BTreeMap<String, Track>,
}

/// Memory of one part.
#[derive(Clone, Debug, Serialize)]
struct PartMemory {
    part: String,
    /// Returns true for a Pitboss service, to which the limits apply.
    is_service: bool,
    /// True if it restarted, or did not run throughout. There is no growth then.
    is_broken: bool,
    peak_mib: f64,
    /// Resident memory in each round.
    levels_mib: Vec<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    growth_mib: Option<Growth>,
}

/// Result of the benchmark, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    bench: &'static str,
    #[serde(flatten)]
    setup: Setup,
    #[serde(flatten)]
    machine: Machine,
    /// Settled bets up to the end of each round.
    events: Vec<u64>,
    /// Probability with which each interval contains the median of its slopes.
    coverage_percent: f64,
    growth_mib_max: f64,
    peak_mib_max: f64,
    parts: Vec<PartMemory>,
    #[serde(flatten)]
    totals: Totals,
}

impl PartMemory {
    fn of(part: String, track: Track, events: &[u64]) -> Self {
        let Track { levels_mib, peak_mib, is_broken, .. } = track;
        let growth_mib = if is_broken { None } else { Growth::of(&levels_mib, events) };
        let is_service = Part::from_str(&part).is_ok_and(Part::is_service);
        Self { part, is_service, is_broken, peak_mib, levels_mib, growth_mib }
    }

    /// Says that the service keeps memory of bets, that the rounds do not show that it keeps none, or that its peak is too high.
    fn problem(&self) -> Option<String> {
        let Self { part, peak_mib, growth_mib, .. } = self;
        if *peak_mib > PEAK_MIB_MAX {
            return Some(format!("{part} needed {peak_mib:.1} MiB (at most {PEAK_MIB_MAX})"));
        }
        let Some(Growth { estimate: Estimate { low, high, .. }, .. }) = growth_mib else {
            return Some(format!("the growth of {part} is not known"));
        };
        let interval = format!("{low:.1} to {high:.1} MiB/1M bets, at most {GROWTH_MIB_MAX:.1}");
        match (*high <= GROWTH_MIB_MAX, *low > 0.0) {
            (true, _) => None,
            (false, true) => Some(format!("{part} grows ({interval})")),
            (false, false) => {
                Some(format!("{part} may grow or not ({interval}): repeat this with more --events"))
            }
        }
    }

    fn row(&self) -> Vec<String> {
        let level = |level: Option<&f64>| level.map_or_else(|| NONE.to_owned(), |mib| format!("{mib:.1}"));
        let growth = match &self.growth_mib {
            Some(Growth { estimate: Estimate { median, low, high }, .. }) => {
                [format!("{median:.1}"), format!("{low:.1} to {high:.1}"), format!("{high:.1}")]
            }
            None => [NONE, NONE, NONE].map(str::to_owned),
        };
        let restarted = if self.is_broken { " (restarted)" } else { "" };
        let mut row = vec![format!("{}{restarted}", self.part)];
        row.extend([level(self.levels_mib.first()), level(self.levels_mib.last())]);
        row.extend(growth);
        row.push(format!("{:.1}", self.peak_mib));
        row
    }
}

impl Report {
    /// Computes the growth of each part.
    pub(super) fn of(measured: Measured) -> Self {
        let Measured { setup, machine, bets, events, parts } = measured;
        let parts = parts.into_iter().map(|(part, track)| PartMemory::of(part, track, &events));
        let mut parts: Vec<PartMemory> = parts.collect();
        parts.sort_by_key(|memory| place(&memory.part));
        Self {
            bench: super::NAME,
            setup,
            machine,
            coverage_percent: Ends::of(pairs(events.len())).coverage * 100.0,
            growth_mib_max: GROWTH_MIB_MAX,
            peak_mib_max: PEAK_MIB_MAX,
            parts,
            totals: Totals::of(&bets),
            events,
        }
    }

    /// Lines about the bets and the machine.
    fn circumstances(&self) -> Vec<String> {
        let Setup { release, rate_per_s, round_s, warm_up_s, players } = &self.setup;
        vec![
            format!(
                "{} of {round_s} s with {rate_per_s} bets/s of {players} players, after {warm_up_s} s of warm-up: {}",
                counted(self.events.len(), "round"),
                self.totals
            ),
            format!(
                "goals for services: the bad end of growth is at most {GROWTH_MIB_MAX:.1} MiB/1M bets (16 bytes for each bet), and the peak at most {PEAK_MIB_MAX} MiB"
            ),
            self.machine.to_string(),
            format!("release: {}", release.as_deref().unwrap_or("unknown")),
        ]
    }

    fn services(&self) -> impl Iterator<Item = &PartMemory> {
        self.parts.iter().filter(|memory| memory.is_service)
    }

    /// The memory of all services together in each round. It has a value that is not a number for a round that a service lacks.
    fn levels_chart(&self) -> Chart {
        let level = |memory: &PartMemory, round: usize| memory.levels_mib.get(round).copied();
        let sum = |round| self.services().map(|memory| level(memory, round).unwrap_or(f64::NAN)).sum::<f64>();
        let sums: Vec<f64> = (0..self.events.len()).map(sum).collect();
        Chart {
            title: "Resident memory of all services in each round".to_owned(),
            axes: ["settled bets".to_owned(), "MiB".to_owned()],
            labels: self.events.iter().map(u64::to_string).collect(),
            form: Form::Line,
            series: vec![Series::measured("their sum", sums)],
        }
    }

    fn peaks_chart(&self) -> Chart {
        let peaks: Vec<f64> = self.services().map(|memory| memory.peak_mib).collect();
        let goal = Series::goal("at most", PEAK_MIB_MAX, peaks.len());
        Chart {
            title: "Peak of each service".to_owned(),
            axes: ["service".to_owned(), "MiB".to_owned()],
            labels: self.services().map(|memory| memory.part.clone()).collect(),
            form: Form::Bars,
            series: vec![Series::measured("the peak", peaks), goal],
        }
    }

    /// Explains growth and its interval.
    fn explanation(&self) -> String {
        let intervals = Ends::explanation(pairs(self.events.len()));
        format!(
            "Growth is the median of one ratio for each round of the first half: its memory (the median of its samples) and that of the round half a run later, divided by the bets between them. {intervals} Bad end: the upper end."
        )
    }
}

impl SheetReport for Report {
    fn sheet(&self) -> Sheet {
        let rows = self.parts.iter().map(PartMemory::row).collect();
        Sheet {
            circumstances: self.circumstances(),
            grids: vec![Grid { header: COLUMNS, text_columns: 1, rows }],
            charts: vec![self.levels_chart(), self.peaks_chart()],
            explanation: self.explanation(),
        }
    }

    fn values(&self) -> usize {
        pairs(self.events.len())
    }

    /// Says why the figures are not those of the requested bets on one process of each service. `None` if they are.
    fn own_doubt(&self) -> Option<String> {
        let broken = || {
            let part = self.services().find(|memory| memory.is_broken)?;
            Some(format!("{} restarted, or did not run throughout", part.part))
        };
        self.totals.problem().or_else(broken)
    }

    fn missed(&self) -> Option<String> {
        let problems: Vec<String> = self.services().filter_map(PartMemory::problem).collect();
        (!problems.is_empty()).then(|| problems.join(" · "))
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::tests::track;
    use super::*;
    use crate::commands::bench::report::BenchReport as _;
    use crate::commands::bench::turn::tests::bets;

    /// Fourteen rounds of a thousand bets with these parts.
    fn report(parts: Vec<(&str, Track)>) -> Report {
        Report::of(Measured {
            setup: Setup { release: None, rate_per_s: 40, round_s: 25, warm_up_s: 60, players: 50 },
            machine: Machine { fsync_ms: 1.25, steal_percent: 0.5 },
            bets: vec![bets(5.0); 14],
            events: (1..=14).map(|round| round * 1_000).collect(),
            parts: parts.into_iter().map(|(name, track)| (name.to_owned(), track)).collect(),
        })
    }

    fn steady(mib: f64) -> Track {
        track(vec![mib; 14], mib)
    }

    /// Levels that rise by this much from each round to the next.
    fn rising(mib: f64) -> Vec<f64> {
        (0..14_i32).map(|round| 20.0 + mib * f64::from(round)).collect()
    }

    #[test]
    fn limits_apply_to_services_alone() {
        let fine = report(vec![
            ("game", steady(64.0)),
            ("kafka", steady(400.0)),
            ("mongo", track(rising(1.0), 90.0)),
        ]);
        assert_eq!(fine.problem(), None);
        let high = report(vec![("game", track(vec![20.0; 14], 64.1))]);
        assert_eq!(high.problem().as_deref(), Some("game needed 64.1 MiB (at most 64)"));
    }

    #[test]
    fn growth_beyond_its_limit_is_a_problem() {
        // 15 MiB for a million bets, and 16.
        assert_eq!(report(vec![("game", track(rising(0.015), 30.0))]).problem(), None);
        let grows = report(vec![("game", track(rising(0.016), 30.0))]).problem();
        assert_eq!(grows.as_deref(), Some("game grows (16.0 to 16.0 MiB/1M bets, at most 15.3)"));
        let mut noisy = vec![20.0; 14];
        (noisy[2], noisy[12]) = (21.0, 21.0);
        let unclear = report(vec![("game", track(noisy, 30.0))]).problem().unwrap();
        assert!(unclear.starts_with("game may grow or not (-142.9 to 142.9 MiB/1M bets"), "{unclear}");
    }

    #[test]
    fn eleven_rounds_are_too_few() {
        let doubt = |rounds| {
            let mut report = report(vec![("game", steady(20.0))]);
            report.events.truncate(rounds);
            report.doubt()
        };
        assert!(doubt(11).is_some_and(|doubt| doubt.contains("give 5 values")));
        assert_eq!(doubt(12), None);
    }

    #[test]
    fn restarted_service_is_a_doubt() {
        let broken = || {
            let mut track = steady(20.0);
            track.is_broken = true;
            track
        };
        let doubt = report(vec![("game", broken())]).doubt();
        assert_eq!(doubt.as_deref(), Some("game restarted, or did not run throughout"));
        let others = report(vec![("game", steady(20.0)), ("mongo", broken())]);
        assert_eq!(others.doubt(), None);
        let page = others.to_markdown();
        let line = "| mongo (restarted) | 20.0 | 20.0 | – | – | – | 20.0 |";
        assert!(page.lines().any(|found| found == line), "{page}");
    }

    #[test]
    fn page_has_all_parts_in_their_order() {
        let parts =
            vec![("supervisor", steady(15.0)), ("user", track(rising(0.001), 32.8)), ("game", steady(20.0))];
        let page = report(parts).to_markdown();
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| ")).skip(2).collect();
        assert_eq!(
            rows,
            [
                "| user | 20.0 | 20.0 | 1.0 | 1.0 to 1.0 | 1.0 | 32.8 |",
                "| game | 20.0 | 20.0 | 0.0 | 0.0 to 0.0 | 0.0 | 20.0 |",
                "| supervisor | 15.0 | 15.0 | 0.0 | 0.0 to 0.0 | 0.0 | 15.0 |",
            ]
        );
        assert!(
            page.contains("14 rounds of 25 s with 40 bets/s of 50 players, after 60 s of warm-up: 4200 bets"),
            "{page}"
        );
        assert!(page.contains("98.4 %"), "{page}");
        for part in
            ["bar [32.800, 20.000]\n    line [64.000, 64.000]", "line [40.000, 40.001,", "[\"1000\", "]
        {
            assert!(page.contains(part), "{part} is not in\n{page}");
        }
    }

    #[test]
    fn json_has_levels_and_slopes() {
        let json = serde_json::to_value(report(vec![("game", track(rising(0.015), 30.0))])).unwrap();
        assert_eq!(json["bench"], "memory");
        assert_eq!(json["events"][13], 14_000);
        assert_eq!(json["parts"][0]["levels_mib"].as_array().map(Vec::len), Some(14));
        let growth = &json["parts"][0]["growth_mib"];
        assert_eq!(growth["slopes"].as_array().map(Vec::len), Some(7));
        assert!((growth["median"].as_f64().unwrap() - 15.0).abs() < 1e-6, "{growth}");
    }
}
