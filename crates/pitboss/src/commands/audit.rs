//! `pitboss audit`: checks the money of the running platform, from what the services stored and what the card provider states.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use comfy_table::{Cell, CellAlignment, Color, ContentArrangement, Table, presets};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::audit::{Check, FINDINGS_SHOWN, IN_FLIGHT_DEFAULT, Options, Report, Sources, run_with};
use crate::commands::Context;
use crate::output::Output;
use crate::target::TargetArgs;

/// Arguments of `audit`.
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// Platform that is audited
    #[command(flatten)]
    pub target: TargetArgs,
    /// Check only records of this time or later, such as the mark of the last audit [default: all records]
    #[arg(long, value_name = "RFC3339", value_parser = parse_time)]
    since: Option<OffsetDateTime>,
    /// Age in seconds up to which a record may be without its counterpart, because that is on its way
    #[arg(long, value_name = "SECONDS", default_value_t = IN_FLIGHT_DEFAULT.as_secs(),
        value_parser = clap::value_parser!(u64).range(0..=86_400))]
    in_flight_s: u64,
}

fn parse_time(text: &str) -> Result<OffsetDateTime, String> {
    OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|_| "expected a time such as 2026-11-28T18:00:00Z".to_owned())
}

impl AuditArgs {
    /// Audits the platform. Exit code 0 only if every check is clean.
    ///
    /// # Errors
    /// When the platform cannot be read.
    pub async fn run(&self, context: &Context) -> Result<ExitCode> {
        let (target, output) = (context.target(&self.target).await?, &context.output);
        let options = Options { since: self.since, in_flight: Duration::from_secs(self.in_flight_s) };
        let live = output.spinner("auditing");
        let report = run_with(&Sources::of(&target)?, &options).await;
        live.finish_and_clear();
        let report = report?;
        if output.json {
            output.line(&report.to_json().to_string());
        } else {
            print(&report, output);
        }
        Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn print(report: &Report, output: &Output) {
    output.line(&table(report, output).to_string());
    for check in &report.checks {
        for finding in check.findings.iter().take(FINDINGS_SHOWN) {
            output.line(&format!("\n{}: {}", check.name, finding.what));
            finding.pointers.iter().for_each(|pointer| output.line(&format!("  {pointer}")));
        }
        let shown = u64::try_from(FINDINGS_SHOWN).unwrap_or(u64::MAX);
        if check.violations() > shown {
            output.line(&format!("  and {} more", check.violations() - shown));
        }
    }
    output.line(&format!("\nto continue from here: ./pitboss audit --since {}", report.mark));
}

/// The checks as a table.
#[must_use]
pub fn table(report: &Report, output: &Output) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(output.columns).unwrap_or(u16::MAX));
    table.set_header(["CHECK", "CHECKED", "IN FLIGHT", "FINDINGS", "RESULT", "PROMISE"]);
    for check in &report.checks {
        let (text, colour) = result(check);
        let result = Cell::new(text);
        table.add_row(vec![
            Cell::new(check.name),
            Cell::new(check.checked),
            Cell::new(check.in_flight),
            Cell::new(check.violations()),
            if output.colours { result.fg(colour) } else { result },
            Cell::new(check.promise),
        ]);
    }
    for column in [1, 2, 3] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn result(check: &Check) -> (&'static str, Color) {
    if check.violations() > 0 {
        ("VIOLATED", Color::Red)
    } else if !check.has_evidence() {
        ("NOTHING CHECKED", Color::Red)
    } else if check.empty {
        ("no data", Color::Blue)
    } else {
        ("holds", Color::Green)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Finding;

    fn check(name: &'static str, checked: u64, empty: bool, findings: usize) -> Check {
        let finding =
            Finding { what: "wrong".to_owned(), pointers: vec!["payment.ledger _id=p/1".to_owned()] };
        let findings = vec![finding; findings];
        Check { name, promise: "I1", checked, in_flight: 0, empty, findings, unexamined: 0 }
    }

    fn report(checks: Vec<Check>) -> Report {
        Report { checks, mark: "2026-11-28T18:00:00Z".to_owned() }
    }

    #[test]
    fn nothing_checked_is_a_failure_unless_there_is_no_data() {
        assert!(report(vec![check("a", 7, false, 0), check("b", 0, true, 0)]).is_clean());
        assert!(!report(vec![check("a", 0, false, 0)]).is_clean());
        assert!(!report(vec![check("a", 7, false, 1)]).is_clean());
        assert!(!report(Vec::new()).is_clean());
    }

    #[test]
    fn table_says_how_much_was_checked_and_what_holds() {
        let checks = vec![check("a", 7, false, 0), check("b", 9, false, 2), check("c", 0, false, 0)];
        let output = Output { json: false, colours: false, columns: 200 };
        let text = table(&report(checks), &output).to_string();
        let rows: Vec<Vec<&str>> = text.lines().skip(1).map(|row| row.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["a", "7", "0", "0", "holds", "I1"]);
        assert_eq!(rows[1], ["b", "9", "0", "2", "VIOLATED", "I1"]);
        assert_eq!(rows[2], ["c", "0", "0", "0", "NOTHING", "CHECKED", "I1"]);
    }

    #[test]
    fn json_has_the_documented_fields() {
        let json = report(vec![check("a", 7, false, 7)]).to_json();
        assert_eq!((&json["clean"], &json["mark"]), (&false.into(), &"2026-11-28T18:00:00Z".into()));
        let check = &json["checks"][0];
        assert_eq!(
            (&check["id"], &check["checked"], &check["violations"]),
            (&"a".into(), &7.into(), &7.into())
        );
        assert_eq!(check["first"].as_array().map(Vec::len), Some(FINDINGS_SHOWN));
        assert_eq!(check["first"][0]["pointers"][0], "payment.ledger _id=p/1");
    }

    #[test]
    fn time_must_be_rfc_3339() {
        assert!(parse_time("2026-11-28T18:00:00.5+01:00").is_ok());
        assert!(parse_time("yesterday").is_err());
    }
}
