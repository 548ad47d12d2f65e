//! `pitboss alerts`: shows the recorder's alerts, with the findings that are folded into each.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use console::Term;
use rules::{Rule, Unit};
use time::OffsetDateTime;

use crate::alerts::{Alert, Alerts, Entry, RuleState};
use crate::commands::Context;
use crate::failures::Failures;
use crate::output::{Output, borderless_table, counted, plain};
use crate::target::TargetArgs;

/// Interval between two readings.
const INTERVAL: Duration = Duration::from_secs(2);

/// Arguments of `alerts`.
#[derive(Debug, Args)]
pub struct AlertsArgs {
    /// Platform whose alerts are shown
    #[command(flatten)]
    target: TargetArgs,
    /// Show this alert with its findings
    #[arg(value_name = "ID")]
    id: Option<u64>,
    /// Show them again every two seconds, until interrupted
    #[arg(long)]
    watch: bool,
}

impl AlertsArgs {
    /// Shows the alerts. Exit code 1 if one is firing.
    ///
    /// # Errors
    /// When no platform or recorder answers (exit code 69), or there is no such alert.
    pub async fn run(&self, context: &Context) -> Result<ExitCode> {
        let target = context.target(&self.target).await?;
        let mut failures = Failures::default();
        let first = Alerts::read(&target).await?;
        self.show(&first, &context.output)?;
        if !self.watch {
            return Ok(if first.is_any_firing() { ExitCode::FAILURE } else { ExitCode::SUCCESS });
        }
        loop {
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
            }
            match Alerts::read(&target).await {
                Ok(alerts) => {
                    failures.end();
                    self.show(&alerts, &context.output)?;
                }
                Err(error) => failures.add(error, &context.output)?,
            }
        }
    }

    fn show(&self, alerts: &Alerts, output: &Output) -> Result<()> {
        let one = self.id.map(|id| {
            let found = alerts.alerts.iter().find(|alert| alert.id == id);
            found.with_context(|| format!("there is no alert {id}: ./pitboss alerts lists them"))
        });
        let one = one.transpose()?;
        if output.json {
            output.line(&match one {
                Some(alert) => serde_json::to_string(alert)?,
                None => serde_json::to_string(alerts)?,
            });
            return Ok(());
        }
        let terminal = Term::stdout();
        if self.watch && terminal.is_term() {
            drop(terminal.clear_screen());
        }
        output.line(&one.map_or_else(|| list(alerts, output), details));
        Ok(())
    }
}

/// All alerts, and the rules that fire or are about to.
fn list(alerts: &Alerts, output: &Output) -> String {
    let mut lines = Vec::new();
    if alerts.alerts.is_empty() {
        lines.push("no alert".to_owned());
    } else {
        let mut table =
            borderless_table(output.columns, &["ID", "STATE", "SEVERITY", "OPENED", "FINDINGS", "ALERT"]);
        for alert in &alerts.alerts {
            table.add_row([
                alert.id.to_string(),
                alert.state.clone(),
                alert.severity.clone(),
                clock(alert.opened_at),
                alert.count.to_string(),
                plain(&alert.name),
            ]);
        }
        lines.push(table.to_string());
    }
    for state in alerts.rules.iter().filter(|state| matches!(state.phase.as_str(), "firing" | "pending")) {
        lines.push(format!(
            "{} {} in {}: {}",
            state.phase,
            plain(&state.rule),
            plain(&state.project),
            value_of(state)
        ));
    }
    lines.push(match alerts.evaluated_at {
        Some(at) => format!("{} evaluated at {}", counted(alerts.rules.len() as u64, "rule"), clock(at)),
        None => "the rules were not evaluated yet (PITBOSS__ALERTS__ENABLED)".to_owned(),
    });
    lines.join("\n")
}

/// The measured value of a rule, and from which bound on it is bad, or the state of a monitor.
fn value_of(state: &RuleState) -> String {
    if let Some(what) = &state.what {
        return plain(what);
    }
    if state.value.is_none() && state.rule.starts_with("check-in ") {
        return "not judged since the recorder's start".to_owned();
    }
    let unit = unit_of(&state.rule);
    let value = state.value.map_or_else(|| "no data".to_owned(), |value| unit.show(value));
    match (state.above, state.below) {
        (Some(bound), _) => format!("{value} (bad above {})", unit.show(bound)),
        (None, Some(bound)) => format!("{value} (bad below {})", unit.show(bound)),
        (None, None) => value,
    }
}

/// Unit of the values of a rule. A missed check-in has none.
fn unit_of(rule: &str) -> Unit {
    rules::rule(rule).map(Rule::unit).unwrap_or_default()
}

/// One alert with its findings and the reason for which each is part of it.
///
/// Each finding has lines of its own and no row of a table, which would break its ids.
fn details(alert: &Alert) -> String {
    let folded: Vec<String> =
        alert.folded.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    let resolved = alert.resolved_at.map_or_else(|| "–".to_owned(), clock);
    let findings: Vec<String> = alert.entries.iter().map(finding).collect();
    format!(
        "alert {}: {} ({}, {})\nopened {}, last finding {}, resolved {resolved}\n{}: {}\n{}",
        alert.id,
        plain(&alert.name),
        alert.state,
        alert.severity,
        clock(alert.opened_at),
        clock(alert.last_at),
        counted(alert.count, "finding"),
        folded.join(", "),
        findings.join("\n"),
    )
}

fn finding(entry: &Entry) -> String {
    let unit = entry.origin.get("rule").map(|rule| unit_of(rule)).unwrap_or_default();
    let value = match (entry.value, entry.bound) {
        (Some(value), Some(bound)) => format!(": {} (bound {})", unit.show(value), unit.show(bound)),
        (Some(value), None) => format!(": {}", unit.show(value)),
        (None, _) => String::new(),
    };
    let ended = entry.ended_at.map(|at| format!(", ended {}", clock(at))).unwrap_or_default();
    let issue = entry.origin.get("issue").map(|id| format!("\n    issue {}", plain(id)));
    let trace = entry.traces.first().map(|id| format!("\n    trace {}", plain(id)));
    format!(
        "{}  {}  {}{value}\n    folded by {}{ended}{}{}",
        clock(entry.at),
        plain(&entry.project),
        plain(&entry.what),
        plain(&entry.folded_by),
        issue.unwrap_or_default(),
        trace.unwrap_or_default(),
    )
}

/// Date and time in UTC.
fn clock(seconds: f64) -> String {
    let Ok(at) = OffsetDateTime::from_unix_timestamp(seconds as i64) else { return "–".to_owned() };
    format!("{} {:02}:{:02}:{:02}", at.date(), at.hour(), at.minute(), at.second())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::alerts::tests::answer;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        alerts: AlertsArgs,
    }

    fn output() -> Output {
        Output { json: false, colours: false, columns: 160 }
    }

    #[test]
    fn list_shows_alerts_and_what_fires() {
        let text = list(&answer(), &output());
        for expected in [
            "firing",
            "Records are late",
            "firing lag-seconds in lagwatch: 31 s (bad above 30 s)",
            "firing check-in nightly in wire: timeout",
            "3 rules evaluated",
        ] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
        assert!(!text.contains("dead-letters"), "it does not fire: {text}");
        let mut unknown = answer();
        unknown.rules[2].what = None;
        assert!(list(&unknown, &output()).contains("nightly in wire: not judged since"), "after a restart");
        let text = list(&Alerts::default(), &output());
        assert!(text.starts_with("no alert\n") && text.contains("not evaluated yet"), "{text}");
    }

    #[test]
    fn alert_shows_why_each_finding_is_part_of_it() {
        let mut alert = answer().alerts.remove(0);
        let trace = "ab".repeat(16);
        alert.entries[0].traces = vec![trace.clone()];
        alert.entries[0].origin = [("issue".to_owned(), "cd".repeat(16))].into();
        let text = details(&alert);
        for expected in
            ["2 findings: 1 cause, 1 first", "31 s (bound 30 s)", "1970-01-01 00:01:20", "Dead letters"]
        {
            assert!(text.contains(expected), "{expected}: {text}");
        }
        for id in [format!("    trace {trace}"), format!("    issue {}", "cd".repeat(16))] {
            assert!(text.lines().any(|line| line == id), "{id}: {text}");
        }
    }

    #[test]
    fn unknown_alert_is_an_error() {
        let args = Cli::try_parse_from(["alerts", "9"]).unwrap().alerts;
        assert!(args.show(&answer(), &output()).unwrap_err().to_string().contains("there is no alert 9"));
        let args = Cli::try_parse_from(["alerts", "1", "--watch"]).unwrap().alerts;
        assert!(args.watch && args.id == Some(1));
    }
}
