//! How benchmarks show their results.

use anyhow::Result;
use serde::Serialize;

use super::cost::grid::Grid;
use super::page::PageArgs;
use crate::output::Output;

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

/// A report that can be shown as a [`Sheet`]. Its problem is a doubt about the figures, or else a missed goal.
pub(super) trait SheetReport: Serialize {
    /// The report without its medium.
    fn sheet(&self) -> Sheet;

    /// Says why the figures are not those of the requested measurement. `None` if they are. No page shows doubtful ones.
    fn doubt(&self) -> Option<String>;

    /// Says which goal was missed, if the figures can be trusted. `None` if none was.
    fn missed(&self) -> Option<String>;

    /// The report for a page in Markdown.
    fn to_markdown(&self) -> String {
        self.sheet().to_markdown()
    }

    /// Prints the report, and writes it to the page unless it is doubtful. Returns true if all holds.
    fn publish(&self, output: &Output, page: &PageArgs, bench: &str) -> Result<bool>
    where
        Self: Sized,
    {
        self.print(output)?;
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

/// A report of lines, tables and an explanation.
#[derive(Debug)]
pub(super) struct Sheet {
    /// Lines about what was measured, and about the machine.
    pub(super) circumstances: Vec<String>,
    /// The tables.
    pub(super) grids: Vec<Grid>,
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
        format!("{list}\n{tables}{}\n", self.explanation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_have_lines_tables_and_explanation() {
        let grid = Grid { header: &["PART"], text_columns: 1, rows: vec![vec!["game".to_owned()]] };
        let sheet = Sheet {
            circumstances: vec!["2 rounds".to_owned()],
            grids: vec![grid],
            explanation: "The end.".to_owned(),
        };
        assert_eq!(sheet.to_markdown(), "- 2 rounds\n\n| part |\n| --- |\n| game |\n\nThe end.\n");
        let text = sheet.to_text(80);
        assert!(text.starts_with("2 rounds\n\n") && text.ends_with("\n\nThe end.\n"), "{text}");
        assert!(text.contains("PART") && text.contains("game"), "{text}");
    }
}
