//! `pitboss alerts`: shows the recorder's alerts, with the findings that are folded into each.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use console::Term;
use time::OffsetDateTime;

use crate::alerts::{Alert, Alerts, Entry};
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
        output.line(&one.map_or_else(|| list(alerts, output), |alert| details(alert, output)));
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
        let (rule, project, text) = (plain(&state.rule), plain(&state.project), plain(&state.text()));
        lines.push(format!("{} {rule} in {project}: {text}", state.phase));
    }
    lines.push(match alerts.evaluated_at {
        Some(at) => format!("{} evaluated at {}", counted(alerts.rules.len() as u64, "rule"), clock(at)),
        None => "the rules were not evaluated yet (PITBOSS__ALERTS__ENABLED)".to_owned(),
    });
    lines.join("\n")
}

/// One alert with its findings and the reason for which each is part of it.
fn details(alert: &Alert, output: &Output) -> String {
    let folded: Vec<String> =
        alert.folded.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    let resolved = alert.resolved_at.map_or_else(|| "–".to_owned(), clock);
    let mut table = borderless_table(
        output.columns,
        &["AT", "SERVICE", "FINDING", "VALUE", "FOLDED BY", "ENDED", "TRACE"],
    );
    for entry in &alert.entries {
        table.add_row(row(entry));
    }
    format!(
        "alert {}: {} ({}, {})\nopened {}, last finding {}, resolved {resolved}\n{}: {}\n{table}",
        alert.id,
        plain(&alert.name),
        alert.state,
        alert.severity,
        clock(alert.opened_at),
        clock(alert.last_at),
        counted(alert.count, "finding"),
        folded.join(", "),
    )
}

fn row(entry: &Entry) -> [String; 7] {
    let value = match (entry.value, entry.bound) {
        (Some(value), Some(bound)) => format!("{value:.3} (bound {bound})"),
        (Some(value), None) => format!("{value:.3}"),
        (None, _) => "–".to_owned(),
    };
    [
        clock(entry.at),
        plain(&entry.project),
        plain(&entry.what),
        value,
        entry.folded_by.clone(),
        entry.ended_at.map_or_else(|| "–".to_owned(), clock),
        plain(entry.traces.first().map_or("–", String::as_str)),
    ]
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
            "Records are late",
            "firing lag-seconds in lagwatch: 31.000",
            "firing check-in nightly in wire: timeout",
            "3 rules evaluated",
        ] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
        assert!(!text.contains("dead-letters"), "it does not fire: {text}");
        let text = list(&Alerts::default(), &output());
        assert!(text.starts_with("no alert\n") && text.contains("not evaluated yet"), "{text}");
    }

    #[test]
    fn alert_shows_why_each_finding_is_part_of_it() {
        let text = details(&answer().alerts[0], &output());
        for expected in
            ["2 findings: 1 cause, 1 first", "31.000 (bound 30)", "1970-01-01 00:01:20", "Dead letters"]
        {
            assert!(text.contains(expected), "{expected}: {text}");
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
