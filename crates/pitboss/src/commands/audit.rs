//! `pitboss audit`: checks the money of the running platform, from what the services stored and published and what the card
//! provider states.

mod metrics_port;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use comfy_table::{Cell, CellAlignment, Color, Table};
use indicatif::ProgressBar;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use self::watch::Watch;
use crate::audit::{Check, FINDINGS_SHOWN, IN_FLIGHT_DEFAULT, Mark, Report, Sources, run_from};
use crate::commands::Context;
use crate::output::{Output, borderless_table};
use crate::target::TargetArgs;

/// Time between the beginnings of two rounds, unless the options say otherwise.
const INTERVAL_S_DEFAULT: u64 = 60;
/// Interval at which the progress is shown.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

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
    /// Continue from the mark in this file, and replace it afterwards. Without the file, `--since` applies
    #[arg(long, value_name = "FILE")]
    mark: Option<PathBuf>,
    /// Audit again and again until interrupted, each time from where the last round ended
    #[arg(long)]
    watch: bool,
    /// Time between the beginnings of two rounds of `--watch`, in seconds [default: 60]
    #[arg(long, value_name = "SECONDS", requires = "watch",
        value_parser = clap::value_parser!(u64).range(1..=86_400))]
    interval_s: Option<u64>,
    /// Serve the figures of `--watch` to Prometheus at http://127.0.0.1:PORT/metrics
    #[arg(long, value_name = "PORT", requires = "watch", value_parser = clap::value_parser!(u16).range(1..))]
    metrics_port: Option<u16>,
}

fn parse_time(text: &str) -> Result<OffsetDateTime, String> {
    OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|_| "expected a time such as 2026-11-28T18:00:00Z".to_owned())
}

impl AuditArgs {
    /// Audits the platform. Exit code 0 only if every check is clean, with `--watch` in every round.
    ///
    /// # Errors
    /// When the platform cannot be read.
    pub async fn run(&self, context: &Context) -> Result<ExitCode> {
        let (target, output) = (context.target(&self.target).await?, &context.output);
        let sources = Sources::of(&target)?;
        let begin = self.begin()?;
        let in_flight = Duration::from_secs(self.in_flight_s);
        let is_clean = if self.watch {
            let interval = Duration::from_secs(self.interval_s.unwrap_or(INTERVAL_S_DEFAULT));
            let watch = Watch { sources: &sources, in_flight, interval, mark: self.mark.as_deref(), output };
            watch.serve(begin, self.metrics_port, watch::start_telemetry(context, &target)).await?
        } else {
            let live = output.spinner("auditing");
            let audited = shown(&live, &sources, run_from(&sources, &begin, in_flight)).await;
            live.finish_and_clear();
            let (report, next) = audited?;
            self.print(&report, output);
            if let Some(path) = &self.mark {
                next.write(path)?;
            }
            report.is_clean()
        };
        Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Returns the mark from which the audit begins.
    fn begin(&self) -> Result<Mark> {
        let stored = self.mark.as_deref().map(Mark::read).transpose()?.flatten();
        Ok(stored.unwrap_or_else(|| Mark::at(self.since)))
    }

    fn print(&self, report: &Report, output: &Output) {
        if output.json {
            output.line(&report.to_json().to_string());
            return;
        }
        output.line(&table(report, output).to_string());
        print_findings(report, output);
        output.line(&format!("\n{}", continuation(report, self.mark.is_some())));
    }
}

/// Waits for an audit, and shows how many records of topics it has read.
async fn shown<T>(live: &ProgressBar, sources: &Sources, audit: impl Future<Output = T>) -> T {
    let mut audit = std::pin::pin!(audit);
    let mut interval = tokio::time::interval(PROGRESS_INTERVAL);
    loop {
        tokio::select! {
            audited = &mut audit => return audited,
            _ = interval.tick() => {
                let count = sources.records_read.load(Ordering::Relaxed);
                live.set_message(format!("auditing, {count} records of topics read"));
            }
        }
    }
}

/// Says how the next audit can continue.
fn continuation(report: &Report, has_file: bool) -> String {
    match (has_file, report.open) {
        (false, _) => format!("to continue from here: ./pitboss audit --since {}", report.mark),
        (true, Some(open)) => {
            let mark = &report.mark;
            format!("with this mark the next audit continues at {mark} and reads {open} open records again")
        }
        (true, None) => {
            "too many records are open, so the mark stays where it was: the next audit reads them again"
                .to_owned()
        }
    }
}

fn print_findings(report: &Report, output: &Output) {
    report.held.iter().for_each(|(topic, count)| output.line(&held_note(topic, *count)));
    for check in &report.checks {
        for note in [deleted_note(check), parked_note(check), unexamined_note(check)].into_iter().flatten() {
            output.line(&note);
        }
        for finding in check.findings.iter().take(FINDINGS_SHOWN) {
            output.line(&format!("\n{}: {}", check.name, finding.what));
            finding.pointers.iter().for_each(|pointer| output.line(&format!("  {pointer}")));
        }
        let shown = u64::try_from(FINDINGS_SHOWN).unwrap_or(u64::MAX);
        if check.violations() > shown {
            output.line(&format!("  and {} more", check.violations() - shown));
        }
    }
}

/// Says how many records of a topic cannot be read yet.
fn held_note(topic: &str, count: u64) -> String {
    format!(
        "{topic}: {count} held by an open transaction of another producer, so what may be among them is in flight"
    )
}

/// Says how many records a check could not compare, if there are any.
fn deleted_note(check: &Check) -> Option<String> {
    let Check { name, deleted, .. } = check;
    (*deleted > 0)
        .then(|| format!("{name}: {deleted} not checkable, because the broker may have deleted their events"))
}

/// Says how many records lack their counterpart because of a dead letter, if there are any.
fn parked_note(check: &Check) -> Option<String> {
    let Check { name, parked, .. } = check;
    (*parked > 0).then(|| {
        format!("{name}: {parked} missing until their open dead letters are replayed (./pitboss dlq list)")
    })
}

/// Says how many suspects a check could not examine again, if they are not counted as violations.
fn unexamined_note(check: &Check) -> Option<String> {
    let Check { name, unexamined, .. } = check;
    (*unexamined > 0 && check.violations() == 0).then(|| {
        format!("{name}: {unexamined} suspects were too many to be examined again, so nothing is proved")
    })
}

/// The checks as a table.
#[must_use]
pub fn table(report: &Report, output: &Output) -> Table {
    let header = ["CHECK", "CHECKED", "IN FLIGHT", "FINDINGS", "RESULT", "PROMISE"];
    let mut table = borderless_table(output.columns, &header);
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
    } else if check.unexamined > 0 {
        ("NOT EXAMINED", Color::Red)
    } else if !check.has_evidence() {
        ("NOTHING CHECKED", Color::Red)
    } else if check.empty {
        ("no data", Color::Blue)
    } else if check.checked + check.in_flight > 0 {
        ("holds", Color::Green)
    } else if check.parked > 0 {
        ("parked", Color::Blue)
    } else {
        ("deleted", Color::Blue)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use clap::error::ErrorKind;
    use serde_json::json;

    use super::*;
    use crate::audit::{Amount, Finding};

    pub(super) fn check(name: &'static str, checked: u64, empty: bool, findings: usize) -> Check {
        let finding = Finding {
            what: "wrong".to_owned(),
            amounts: vec![Amount::new("stake", 250_i64, "EUR")],
            pointers: vec!["payment.ledger _id=p/1".to_owned()],
        };
        let findings = vec![finding; findings];
        Check {
            name,
            promise: "I1",
            checked,
            in_flight: 0,
            deleted: 0,
            parked: 0,
            empty,
            findings,
            unexamined: 0,
        }
    }

    pub(super) fn report(checks: Vec<Check>) -> Report {
        let mark = "2026-11-28T18:00:00Z".to_owned();
        Report { checks, mark, carried: 0, open: Some(3), held: Default::default() }
    }

    #[test]
    fn nothing_checked_fails_unless_there_is_no_data() {
        assert!(report(vec![check("a", 7, false, 0), check("b", 0, true, 0)]).is_clean());
        assert!(!report(vec![check("a", 0, false, 0)]).is_clean());
        assert!(!report(vec![check("a", 7, false, 1)]).is_clean());
        assert!(!report(Vec::new()).is_clean());
    }

    #[test]
    fn table_says_what_was_checked_and_holds() {
        let checks = vec![check("a", 7, false, 0), check("b", 9, false, 2), check("c", 0, false, 0)];
        let output = Output { json: false, colours: false, columns: 200 };
        let text = table(&report(checks), &output).to_string();
        let rows: Vec<Vec<&str>> = text.lines().skip(1).map(|row| row.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["a", "7", "0", "0", "holds", "I1"]);
        assert_eq!(rows[1], ["b", "9", "0", "2", "VIOLATED", "I1"]);
        assert_eq!(rows[2], ["c", "0", "0", "0", "NOTHING", "CHECKED", "I1"]);
    }

    #[test]
    fn deleted_records_are_named_and_no_failure() {
        let deleted = Check { deleted: 4, ..check("a", 0, false, 0) };
        assert_eq!(
            deleted_note(&deleted).unwrap(),
            "a: 4 not checkable, because the broker may have deleted their events"
        );
        assert_eq!(result(&deleted).0, "deleted");
        assert_eq!(deleted_note(&check("a", 7, false, 0)), None);
        assert!(report(vec![deleted]).is_clean());
    }

    #[test]
    fn parked_records_are_named_and_no_failure() {
        let parked = Check { parked: 3, ..check("facts", 0, false, 0) };
        assert!(parked_note(&parked).unwrap().starts_with("facts: 3 missing until their open dead letters"));
        assert_eq!(result(&parked).0, "parked");
        assert_eq!(result(&Check { checked: 7, ..parked.clone() }).0, "holds");
        assert_eq!(parked_note(&check("facts", 7, false, 0)), None);
        let report = report(vec![parked]);
        assert!(report.is_clean());
        assert_eq!(report.to_json()["checks"][0]["parked"], 3);
    }

    #[test]
    fn held_records_are_named_and_no_failure() {
        let held = std::collections::BTreeMap::from([("casino.bets.events.v1".to_owned(), 12)]);
        let report = Report { held, ..report(vec![check("a", 7, false, 0)]) };
        assert_eq!(report.to_json()["held"], json!({ "casino.bets.events.v1": 12 }));
        assert!(report.is_clean());
        assert!(held_note("bets", 12).starts_with("bets: 12 held by an open transaction"));
    }

    #[test]
    fn suspects_that_were_not_examined_are_no_success() {
        let unexamined = Check { unexamined: 7, ..check("a", 2_000, false, 0) };
        assert_eq!(result(&unexamined).0, "NOT EXAMINED");
        assert!(unexamined_note(&unexamined).unwrap().starts_with("a: 7 suspects were too many"));
        let violated = Check { unexamined: 7, ..check("a", 2_000, false, 1) };
        assert_eq!((result(&violated).0, unexamined_note(&violated)), ("VIOLATED", None));
        let report = report(vec![unexamined]);
        assert!(!report.is_clean());
        assert_eq!(report.to_json()["checks"][0]["unexamined"], 7);
    }

    #[test]
    fn json_has_the_documented_fields() {
        let json = report(vec![check("a", 7, false, 7)]).to_json();
        assert_eq!((&json["clean"], &json["mark"]), (&false.into(), &"2026-11-28T18:00:00Z".into()));
        assert_eq!((&json["carried"], &json["open"]), (&0.into(), &3.into()));
        let check = &json["checks"][0];
        assert_eq!(
            (&check["id"], &check["checked"], &check["deleted"], &check["violations"]),
            (&"a".into(), &7.into(), &0.into(), &7.into())
        );
        assert_eq!(check["first"].as_array().map(Vec::len), Some(FINDINGS_SHOWN));
        assert_eq!(check["first"][0]["pointers"][0], "payment.ledger _id=p/1");
        let amount = json!({ "name": "stake", "minor": 250, "major": "2.50", "currency": "EUR" });
        assert_eq!(check["first"][0]["amounts"], json!([amount]));
    }

    #[test]
    fn time_must_be_rfc_3339() {
        assert!(parse_time("2026-11-28T18:00:00.5+01:00").is_ok());
        assert!(parse_time("yesterday").is_err());
    }

    #[test]
    fn continuation_says_when_the_mark_stays() {
        let mut report = report(vec![check("a", 7, false, 0)]);
        assert!(continuation(&report, false).contains("--since 2026-11-28T18:00:00Z"));
        assert!(continuation(&report, true).contains("reads 3 open records again"));
        report.open = None;
        assert!(continuation(&report, true).contains("stays where it was"));
    }

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        audit: AuditArgs,
    }

    #[test]
    fn options_of_a_watch_need_it() {
        let parse = |args: &[&str]| Cli::try_parse_from(args.iter().copied());
        let args = parse(&["audit", "--watch", "--interval-s", "1", "--metrics-port", "8199"]).unwrap().audit;
        assert_eq!((args.watch, args.interval_s, args.metrics_port), (true, Some(1), Some(8_199)));
        let kind = |args: &[&str]| parse(args).unwrap_err().kind();
        assert_eq!(kind(&["audit", "--interval-s", "5"]), ErrorKind::MissingRequiredArgument);
        assert_eq!(kind(&["audit", "--metrics-port", "8199"]), ErrorKind::MissingRequiredArgument);
        assert_eq!(kind(&["audit", "--watch", "--interval-s", "0"]), ErrorKind::ValueValidation);
    }

    #[test]
    fn mark_of_the_file_comes_before_the_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mark.json");
        let text = path.to_str().unwrap();
        let args = ["audit", "--mark", text, "--since", "2026-11-28T18:00:00Z"];
        let args = Cli::try_parse_from(args).unwrap().audit;
        assert_eq!(args.begin().unwrap(), Mark::at(args.since));
        Mark::at(None).write(&path).unwrap();
        assert_eq!(args.begin().unwrap(), Mark::at(None));
        std::fs::write(&path, "{").unwrap();
        assert!(args.begin().is_err());
    }
}
