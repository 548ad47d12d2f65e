//! Several measurements of one benchmark, each on two new platforms of this build that differ in their telemetry.

use std::path::Path;

use anyhow::{Context as _, Result};
use runtime::Layout;

use super::page::PageArgs;
use super::platform::{self, Platform, Variant};
use super::report::{BenchReport as _, SheetReport};
use crate::interrupts::Interrupts;
use crate::output::Output;

/// Measurements so far.
#[derive(Debug)]
pub(super) struct Trials<'a> {
    own: &'a Layout,
    output: &'a Output,
    interrupts: Interrupts,
    pages: Vec<String>,
    is_doubtful: bool,
    holds: bool,
}

impl<'a> Trials<'a> {
    /// Begins without a measurement. The platforms will run the last build of `own`.
    pub(super) fn begin(own: &'a Layout, output: &'a Output) -> Result<Self> {
        let interrupts = Interrupts::listen()?;
        Ok(Self { own, output, interrupts, pages: Vec::new(), is_doubtful: false, holds: true })
    }

    /// Starts the variants A and B, measures them, stops them and prints the report.
    ///
    /// # Errors
    /// When this checkout has not been built (exit code 69), when a platform cannot be started or stopped, when the measurement
    /// fails, and on Ctrl-C or SIGTERM. Both platforms are stopped in any case.
    pub(super) async fn add<R: SheetReport>(
        &mut self,
        variants: [Variant; 2],
        measure: impl AsyncFnOnce(&[Platform; 2], &Path) -> Result<R>,
    ) -> Result<()> {
        let folder = tempfile::tempdir().context("cannot create a folder for the two platforms")?;
        let platforms = platform::both_variants(self.own, folder.path(), variants)?;
        let measurement = measure(&platforms, folder.path());
        let (report, stopped) = platform::run(&platforms, &mut self.interrupts, measurement).await;
        self.count(&report?)?;
        stopped
    }

    /// Prints a report, and keeps it for the page.
    fn count(&mut self, report: &impl SheetReport) -> Result<()> {
        report.print(self.output)?;
        self.holds &= report.holds(self.output);
        self.is_doubtful |= report.doubt().is_some();
        self.pages.push(report.to_markdown());
        Ok(())
    }

    /// Writes the page, unless a report is doubtful. Returns true if all reports hold.
    pub(super) fn end(self, page: &PageArgs, bench: &str) -> Result<bool> {
        if !self.is_doubtful {
            page.write(bench, &self.pages.join("\n"))?;
        }
        Ok(self.holds)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser as _;
    use serde::Serialize;

    use super::*;
    use crate::commands::bench::report::Sheet;

    #[derive(Serialize)]
    struct Fake {
        values: usize,
        doubt: Option<String>,
        problem: Option<String>,
    }

    impl SheetReport for Fake {
        fn sheet(&self) -> Sheet {
            Sheet {
                circumstances: Vec::new(),
                grids: Vec::new(),
                charts: Vec::new(),
                explanation: String::new(),
            }
        }

        fn values(&self) -> usize {
            self.values
        }

        fn own_doubt(&self) -> Option<String> {
            self.doubt.clone()
        }

        fn missed(&self) -> Option<String> {
            self.problem.clone()
        }

        fn to_markdown(&self) -> String {
            format!("{:?}\n", self.problem)
        }
    }

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        page: PageArgs,
    }

    fn fake(doubt: Option<&str>, problem: Option<&str>) -> Fake {
        Fake { values: 6, doubt: doubt.map(str::to_owned), problem: problem.map(str::to_owned) }
    }

    /// Counts the reports. Returns whether they hold, and the page if it was written.
    fn counted(reports: &[Fake]) -> (bool, Option<String>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.md");
        let args = ["page", "--report", path.to_str().unwrap()];
        let (own, output) = (Layout::new(folder.path(), None, None), Output::new(true));
        let mut trials = Trials::begin(&own, &output).unwrap();
        for report in reports {
            trials.count(report).unwrap();
        }
        let holds = trials.end(&Cli::try_parse_from(args).unwrap().page, "fake").unwrap();
        (holds, fs::read_to_string(path).ok())
    }

    #[tokio::test]
    async fn missed_goal_is_written_and_a_doubt_is_not() {
        let (holds, page) = counted(&[fake(None, None), fake(None, Some("slow"))]);
        let page = page.expect("a page");
        assert!(!holds && page.contains("None\n\nSome(\"slow\")\n"), "{page}");
        assert_eq!(counted(&[fake(Some("late bets"), None), fake(None, None)]), (false, None));
        assert_eq!(counted(&[Fake { values: 5, ..fake(None, None) }]), (false, None));
        assert!(counted(&[fake(None, None)]).0);
    }
}
