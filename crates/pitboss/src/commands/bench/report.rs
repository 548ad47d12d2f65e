//! How benchmarks show their results.

use anyhow::Result;
use serde::Serialize;

use super::chart::Chart;
use super::cost::grid::Grid;
use super::order_statistics::Ends;
use super::page::PageArgs;
use crate::output::{Output, counted};

/// Result of a benchmark, which `--json` prints as it is.
pub(super) trait BenchReport: Serialize {
    /// The report for a terminal of this width.
    fn to_text(&self, columns: usize) -> String;

    /// Says what does not hold. `None` if all does.
    fn problem(&self) -> Option<String>;

    /// Prints the report.
    fn print(&self, output: &Output) -> Result<()> {
        if output.json {
            output.line(&serde_json::to_string(self)?);
        } else {
            output.text(&self.to_text(output.columns));
        }
        Ok(())
    }

    /// Prints what does not hold. Returns true if all does.
    fn holds(&self, output: &Output) -> bool {
        let problem = self.problem();
        if let Some(problem) = &problem {
            output.problem(problem, 1);
        }
        problem.is_none()
    }
}

/// A report with intervals, which can be shown as a [`Sheet`]. Its problem is a doubt about the figures, or else a missed goal.
pub(super) trait SheetReport: Serialize {
    /// The report without its medium.
    fn sheet(&self) -> Sheet;

    /// Number of values of which each interval is made.
    fn values(&self) -> usize;

    /// Says why the figures are not those of the requested measurement, whatever their number. `None` if they are.
    fn own_doubt(&self) -> Option<String>;

    /// Says which goal was missed, if the figures can be trusted. `None` if none was.
    fn missed(&self) -> Option<String>;

    /// Says why the figures decide nothing: they are not those of the requested measurement, or too few. `None` if they decide. No
    /// page shows doubtful ones.
    fn doubt(&self) -> Option<String> {
        self.own_doubt().or_else(|| too_few(self.values()))
    }

    /// The report for a page in Markdown.
    fn to_markdown(&self) -> String {
        self.sheet().to_markdown()
    }

    /// Prints the report, and concludes it.
    fn publish(&self, output: &Output, page: &PageArgs, bench: &str) -> Result<bool>
    where
        Self: Sized,
    {
        self.print(output)?;
        self.conclude(output, page, bench)
    }

    /// Writes a printed report to the page unless it is doubtful, and prints what does not hold. Returns true if all holds.
    fn conclude(&self, output: &Output, page: &PageArgs, bench: &str) -> Result<bool>
    where
        Self: Sized,
    {
        if self.doubt().is_none() {
            page.write(bench, &self.to_markdown())?;
        }
        Ok(self.holds(output))
    }
}

impl<R: SheetReport> BenchReport for R {
    fn to_text(&self, columns: usize) -> String {
        self.sheet().to_text(columns)
    }

    fn problem(&self) -> Option<String> {
        self.doubt().or_else(|| self.missed())
    }
}

/// Says that intervals of so few values decide nothing. `None` if there are enough.
fn too_few(values: usize) -> Option<String> {
    (!Ends::of(values).suffice()).then(|| {
        format!(
            "these rounds give {} of a figure, and an interval with 95 % needs at least 6, so they decide nothing: repeat this with more --rounds",
            counted(values, "value")
        )
    })
}

/// A report of lines, tables, charts and an explanation.
#[derive(Debug)]
pub(super) struct Sheet {
    /// Lines about what was measured, and about the machine.
    pub(super) circumstances: Vec<String>,
    /// The tables.
    pub(super) grids: Vec<Grid>,
    /// The charts. Only a page has them.
    pub(super) charts: Vec<Chart>,
    /// Last paragraph.
    pub(super) explanation: String,
}

impl Sheet {
    /// The report for a terminal of this width.
    pub(super) fn to_text(&self, columns: usize) -> String {
        let lines: String = self.circumstances.iter().map(|line| format!("{line}\n")).collect();
        let tables: String = self.grids.iter().map(|grid| format!("{}\n\n", grid.to_text(columns))).collect();
        format!("{lines}\n{tables}{}\n", self.explanation)
    }

    /// The report for a page in Markdown.
    pub(super) fn to_markdown(&self) -> String {
        let list: String = self.circumstances.iter().map(|line| format!("- {line}\n")).collect();
        let tables: String = self.grids.iter().map(|grid| format!("{}\n", grid.to_markdown())).collect();
        let charts = self.charts.iter().map(Chart::to_markdown).filter(|chart| !chart.is_empty());
        let charts: String = charts.map(|chart| format!("{chart}\n")).collect();
        format!("{list}\n{tables}{charts}{}\n", self.explanation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::bench::chart::{Form, Series};

    #[test]
    fn both_forms_have_lines_tables_and_explanation_and_a_page_has_charts() {
        let grid = Grid { header: &["PART"], text_columns: 1, rows: vec![vec!["game".to_owned()]] };
        let chart = |value| Chart {
            title: "CPU".to_owned(),
            axes: ["part".to_owned(), "ms".to_owned()],
            labels: vec!["game".to_owned()],
            form: Form::Bars,
            series: vec![Series::measured("CPU", vec![value])],
        };
        let sheet = Sheet {
            charts: vec![chart(2.0), chart(f64::NAN)],
            circumstances: vec!["2 rounds".to_owned()],
            grids: vec![grid],
            explanation: "The end.".to_owned(),
        };
        let drawn = chart(2.0).to_markdown();
        let expected = format!("- 2 rounds\n\n| part |\n| --- |\n| game |\n\n{drawn}\nThe end.\n");
        assert_eq!(sheet.to_markdown(), expected);
        let text = sheet.to_text(80);
        assert!(text.starts_with("2 rounds\n\n") && text.ends_with("\n\nThe end.\n"), "{text}");
        assert!(text.contains("PART") && text.contains("game") && !text.contains("mermaid"), "{text}");
    }

    #[test]
    fn five_values_decide_nothing() {
        assert_eq!(too_few(6), None);
        let problem = too_few(5).expect("a problem");
        assert!(problem.starts_with("these rounds give 5 values of a figure"), "{problem}");
        assert!(too_few(1).is_some() && too_few(0).is_some());
    }
}
