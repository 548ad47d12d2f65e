//! The place for the tables of a benchmark in a page, between two lines that mark it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::steps::print_line;

/// Page that `--report` writes unless it names another one.
const DEFAULT: &str = "docs/benchmarks.md";

/// The page to write.
#[derive(Args, Debug)]
pub(super) struct PageArgs {
    /// Write the tables and charts to their place in a page [default file: docs/benchmarks.md]
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = DEFAULT)]
    report: Option<PathBuf>,
}

impl PageArgs {
    /// Checks that the page has a place for the tables, before they are measured. Without a page there is nothing to check.
    ///
    /// # Errors
    /// When the page cannot be read, or has no place. A file that does not exist is a place, too.
    pub(super) fn check(&self, bench: &str) -> Result<()> {
        self.report.as_deref().map_or(Ok(()), |path| check(path, bench))
    }

    /// Replaces the tables in the page, if there is one.
    ///
    /// # Errors
    /// Those of [`Self::check`], and when the page cannot be written.
    pub(super) fn write(&self, bench: &str, tables: &str) -> Result<()> {
        let Some(path) = &self.report else { return Ok(()) };
        write(path, bench, tables)?;
        print_line(&format!("wrote {}", path.display()));
        Ok(())
    }
}

/// The lines before and after the tables of a benchmark.
fn marks(bench: &str) -> [String; 2] {
    ["begin", "end"].map(|place| format!("<!-- bench {bench}: {place} -->"))
}

fn check(path: &Path, bench: &str) -> Result<()> {
    around(path, &marks(bench)).map(drop)
}

/// Replaces what is between the marks.
fn write(path: &Path, bench: &str, tables: &str) -> Result<()> {
    let marks = marks(bench);
    let (before, after) = around(path, &marks)?;
    let [begin, end] = marks;
    let page = format!("{before}{begin}\n\n{}\n\n{end}{after}", tables.trim_end());
    fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))
}

/// The text before the first mark and after the second.
fn around(path: &Path, [begin, end]: &[String; 2]) -> Result<(String, String)> {
    let page = match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => format!("{begin}\n{end}\n"),
        page => page.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let parts = page
        .split_once(begin.as_str())
        .and_then(|(before, rest)| Some((before, rest.split_once(end.as_str())?.1)));
    let (before, after) = parts.with_context(|| {
        format!("{} has no place for the tables: add the lines `{begin}` and `{end}`", path.display())
    })?;
    Ok((before.to_owned(), after.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        page: PageArgs,
    }

    #[test]
    fn report_without_a_file_is_the_usual_page() {
        let report = |args: &[&str]| Cli::try_parse_from(["page"].iter().chain(args)).unwrap().page.report;
        assert_eq!(report(&[]), None);
        assert_eq!(report(&["--report"]), Some(PathBuf::from(DEFAULT)));
        assert_eq!(report(&["--report", "a.md"]), Some(PathBuf::from("a.md")));
    }

    #[test]
    fn only_the_marked_place_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.md");
        let page = |tables: &str| {
            let [begin, end] = marks("cost");
            format!("# Page\n\n{begin}\n\n{tables}\n\n{end}\n\nMore.\n")
        };
        fs::write(&path, page("old")).unwrap();
        for tables in ["new", "newer\n"] {
            write(&path, "cost", tables).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), page(tables.trim_end()));
        }
    }

    #[test]
    fn each_benchmark_has_its_own_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.md");
        let [[cost_begin, cost_end], [chain_begin, chain_end]] = ["cost", "chain"].map(marks);
        fs::write(&path, format!("{cost_begin}\n{cost_end}\n{chain_begin}\n{chain_end}\n")).unwrap();
        write(&path, "chain", "new").unwrap();
        let expected = format!("{cost_begin}\n{cost_end}\n{chain_begin}\n\nnew\n\n{chain_end}\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    }

    /// The benchmarks that have `--report`.
    const WITH_A_PAGE: [&str; 12] = [
        "cost",
        "chain",
        "chain saturate",
        "telemetry",
        "profiles",
        "sentry-down",
        "flood",
        "rates",
        "drain payment",
        "drain game",
        "recovery",
        "memory",
    ];

    #[test]
    fn usual_page_has_one_place_for_each_benchmark() {
        let page = include_str!("../../../../../docs/benchmarks.md");
        for mark in WITH_A_PAGE.iter().flat_map(|bench| marks(bench)) {
            assert_eq!(page.matches(&mark).count(), 1, "{mark}");
        }
        assert_eq!(page.matches("<!-- bench ").count(), 2 * WITH_A_PAGE.len(), "a place of no benchmark");
    }

    #[test]
    fn page_without_a_place_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.md");
        assert!(check(&path, "cost").is_ok(), "a new page can be written");
        let [begin, end] = marks("cost");
        for page in ["# Page\n".to_owned(), format!("{end}\n{begin}\n")] {
            fs::write(&path, &page).unwrap();
            assert!(check(&path, "cost").is_err() && write(&path, "cost", "new").is_err());
            assert_eq!(fs::read_to_string(&path).unwrap(), page);
        }
    }
}
