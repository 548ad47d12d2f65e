//! The arithmetic of rounds: from the figures of all turns to ratios of the two sides, with the controls of each side against itself.

use serde::Serialize;

use super::chart::{Chart, Form, Series};
use super::cost::grid::Grid;
use super::order_statistics::{Ends, Estimate};

/// Columns of [`Comparison::grid`] where A is the bare chain and B the platform.
pub(super) const CHAIN_COLUMNS: &[&str] = &[
    "FIGURE",
    "CHAIN",
    "PLATFORM",
    "PLATFORM/CHAIN",
    "INTERVAL",
    "BAD END",
    "CHAIN/CHAIN",
    "ITS INTERVAL",
    "PLATFORM/PLATFORM",
    "ITS INTERVAL",
];

/// Explains the ratios of the platform to the bare chain in so many rounds, and their intervals.
pub(super) fn chain_explanation(rounds: usize) -> String {
    let intervals = Ends::explanation(rounds);
    format!("Ratios are medians of one a round. {intervals} Bad end: the end that is worse for the platform.")
}

/// Columns of a table that compares A and B.
pub(super) const A_AND_B: &[&str] =
    &["FIGURE", "A", "B", "B/A", "INTERVAL", "BAD END", "A/A", "A/A INTERVAL", "B/B", "B/B INTERVAL"];

/// A figure of a turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figure<T> {
    /// Name in JSON.
    pub(super) name: &'static str,
    /// Name for people.
    pub(super) title: &'static str,
    /// Returns true if a limit on the ratio applies to it.
    pub(super) is_limited: bool,
    /// Returns true if the larger of two values is the better one.
    pub(super) is_more_better: bool,
    /// Reads it.
    pub(super) of: fn(&T) -> f64,
}

impl<T> Figure<T> {
    /// A figure of which less is better.
    pub(super) const fn less(
        name: &'static str,
        title: &'static str,
        is_limited: bool,
        of: fn(&T) -> f64,
    ) -> Self {
        Self { name, title, is_limited, is_more_better: false, of }
    }
}

/// One ratio for each round, with the estimate of their median.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Ratios {
    pub(super) rounds: Vec<f64>,
    #[serde(flatten)]
    pub(super) estimate: Estimate,
}

/// Result of the rounds for one figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Comparison {
    pub(super) figure: &'static str,
    #[serde(skip)]
    pub(super) title: &'static str,
    #[serde(skip)]
    pub(super) is_limited: bool,
    #[serde(skip)]
    pub(super) is_more_better: bool,
    /// Median over the turns of A.
    pub(super) a: f64,
    /// Median over the turns of B.
    pub(super) b: f64,
    /// Mean of the turns of B divided by the mean of the turns of A.
    pub(super) b_over_a: Ratios,
    /// Second turn of A divided by the first: what the machine alone changes.
    pub(super) a_over_a: Ratios,
    /// Second turn of B divided by the first.
    pub(super) b_over_b: Ratios,
}

impl Comparison {
    /// Compares one figure in rounds of the turns A, B, B, A. There has to be at least one round.
    fn of<T>(figure: &Figure<T>, rounds: &[[T; 4]]) -> Self {
        let values: Vec<[f64; 4]> = rounds.iter().map(|round| round.each_ref().map(figure.of)).collect();
        let ratios = |of: fn(&[f64; 4]) -> f64| Ratios::of(values.iter().map(of).collect());
        let turns = |of: fn(&[f64; 4]) -> [f64; 2]| {
            let values: Vec<f64> = values.iter().flat_map(of).collect();
            Estimate::of(&values).median
        };
        Self {
            figure: figure.name,
            title: figure.title,
            is_limited: figure.is_limited,
            is_more_better: figure.is_more_better,
            a: turns(|[a1, _, _, a2]| [*a1, *a2]),
            b: turns(|[_, b1, b2, _]| [*b1, *b2]),
            b_over_a: ratios(|[a1, b1, b2, a2]| ratio(f64::midpoint(*b1, *b2), f64::midpoint(*a1, *a2))),
            a_over_a: ratios(|[a1, _, _, a2]| ratio(*a2, *a1)),
            b_over_b: ratios(|[_, b1, b2, _]| ratio(*b2, *b1)),
        }
    }

    /// Compares all figures.
    pub(super) fn all<T>(figures: &[Figure<T>], rounds: &[[T; 4]]) -> Vec<Self> {
        figures.iter().map(|figure| Self::of(figure, rounds)).collect()
    }

    /// Table with a row for each figure. The header names ten columns: the figure, A, B, B/A, its interval, its bad end, A/A, its
    /// interval, B/B, and its interval.
    pub(super) fn grid(all: &[Self], header: &'static [&'static str]) -> Grid {
        let rows = all.iter().map(|comparison| {
            let Self { title, a, b, b_over_a, a_over_a, b_over_b, .. } = comparison;
            let mut row = vec![(*title).to_owned(), format!("{a:.2}"), format!("{b:.2}")];
            row.extend(b_over_a.cells());
            row.push(format!("{:.3}", comparison.bad_end()));
            row.extend(a_over_a.cells().into_iter().chain(b_over_b.cells()));
            row
        });
        Grid { header, text_columns: 1, rows: rows.collect() }
    }

    /// A chart for each of these figures: B/A and A/A in each round, which the names are of, and the goal for B/A if there is one.
    pub(super) fn charts<'a>(
        charted: impl Iterator<Item = &'a Self>,
        names: [&str; 2],
        goal: impl Fn(&Self) -> Option<f64>,
    ) -> Vec<Chart> {
        charted.map(|comparison| comparison.chart(names, goal(comparison))).collect()
    }

    /// Figures with a limit.
    pub(super) fn limited(all: &[Self]) -> impl Iterator<Item = &Self> {
        all.iter().filter(|comparison| comparison.is_limited)
    }

    fn chart(&self, [ratio, control]: [&str; 2], goal: Option<f64>) -> Chart {
        let rounds = self.b_over_a.rounds.len();
        let mut series = vec![
            Series::measured(ratio, self.b_over_a.rounds.clone()),
            Series::control(control, self.a_over_a.rounds.clone()),
        ];
        series.extend(goal.map(|goal| Series::goal(self.bound(), goal, rounds)));
        Chart {
            title: format!("{} in each round", self.title),
            axes: ["round".to_owned(), ratio.to_owned()],
            labels: (1..=rounds).map(|round| round.to_string()).collect(),
            form: Form::Line,
            series,
        }
    }

    /// Words before a limit.
    const fn bound(&self) -> &'static str {
        if self.is_more_better { "at least" } else { "at most" }
    }

    /// The end of the interval of B/A that is worse for B. A statement about B holds only if this end meets it.
    pub(super) fn bad_end(&self) -> f64 {
        let Estimate { low, high, .. } = self.b_over_a.estimate;
        if self.is_more_better { low } else { high }
    }

    /// Returns true if the figure has a limit, and the bad end of its interval is on the wrong side of it. An end that is not a
    /// number is there, too.
    pub(super) fn exceeds(&self, limit: f64) -> bool {
        let end = self.bad_end();
        let is_within = if self.is_more_better { end >= limit } else { end <= limit };
        self.is_limited && !is_within
    }

    /// Says which figures are on the wrong side of the limit. `None` if there are none. `ratio` names what is divided by what.
    pub(super) fn problem(all: &[Self], limit: f64, ratio: &str) -> Option<String> {
        let ends = all.iter().filter(|comparison| comparison.exceeds(limit)).map(|comparison| {
            format!("{} {:.3} ({} {limit})", comparison.title, comparison.bad_end(), comparison.bound())
        });
        let ends: Vec<String> = ends.collect();
        (!ends.is_empty()).then(|| format!("the bad end of {ratio} is beyond its limit: {}", ends.join(", ")))
    }

    /// Says that the bad end is above the limit of the figure, beside the interval of A/A. `None` if it is not, or if the figure has
    /// no limit.
    pub(super) fn excess(&self, ratio_max: f64) -> Option<String> {
        let Estimate { low, high, .. } = self.a_over_a.estimate;
        self.exceeds(ratio_max).then(|| {
            format!(
                "the bad end of B/A for {} is {:.3} (at most {ratio_max}, and A/A is {low:.3}–{high:.3})",
                self.title,
                self.bad_end()
            )
        })
    }
}

impl Ratios {
    fn of(rounds: Vec<f64>) -> Self {
        Self { estimate: Estimate::of(&rounds), rounds }
    }

    /// Cells of a table: the median and its interval.
    fn cells(&self) -> [String; 2] {
        let Estimate { median, low, high } = self.estimate;
        [format!("{median:.3}"), format!("{low:.3}–{high:.3}")]
    }
}

/// One value divided by another. Infinite if the other is 0: CPU time that is too short for the kernel's clock is not a proof of
/// anything, and must not be within a limit.
fn ratio(value: f64, base: f64) -> f64 {
    if base > 0.0 { value / base } else { f64::INFINITY }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_end_is_the_worse_one_for_b() {
        let figure = |is_more_better| Figure::<f64> {
            name: "figure",
            title: "figure",
            is_limited: true,
            is_more_better,
            of: |value| *value,
        };
        let rounds = [[2.0, 1.0, 1.0, 2.0], [2.0, 3.0, 3.0, 2.0]];
        let all = Comparison::all(&[figure(false), figure(true)], &rounds);
        let ends: Vec<f64> = all.iter().map(Comparison::bad_end).collect();
        assert_eq!(ends, [1.5, 0.5]);
        let exceeds = |limit| [all[0].exceeds(limit), all[1].exceeds(limit)];
        assert_eq!(
            [exceeds(0.4), exceeds(0.5), exceeds(1.5), exceeds(1.6)],
            [[true, false], [true, false], [false, true], [false, true],]
        );
        let problem = Comparison::problem(&all, 0.6, "B/A").unwrap();
        let expected = "the bad end of B/A is beyond its limit: \
                        figure 1.500 (at most 0.6), figure 0.500 (at least 0.6)";
        assert_eq!(problem, expected);
        assert_eq!(Comparison::problem(&all[..1], 1.5, "B/A"), None);
        assert_eq!(all[0].b_over_a.cells(), ["1.000", "0.500–1.500"]);
        let charts = Comparison::charts(Comparison::limited(&all), ["B/A", "A/A"], |_| Some(1.5));
        let pages: Vec<String> = charts.iter().map(Chart::to_markdown).collect();
        let caption = "figure in each round: blue is B/A, grey is A/A, red is the goal";
        assert!(pages[0].starts_with(&format!("{caption} (at most 1.5).")), "{pages:?}");
        assert!(pages[1].starts_with(&format!("{caption} (at least 1.5).")), "{pages:?}");
        assert!(pages[0].contains("line [0.500, 1.500]\n    line [1.000, 1.000]\n    line [1.500, 1.500]\n"));
        assert_eq!(all[0].excess(1.5), None);
        let excess = all[0].excess(1.49).unwrap();
        let expected = "the bad end of B/A for figure is 1.500 (at most 1.49, and A/A is 1.000–1.000)";
        assert_eq!(excess, expected);
    }
}
