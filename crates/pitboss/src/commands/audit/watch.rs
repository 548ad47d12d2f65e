//! Audit in rounds, with figures for Sentry and Prometheus.

use std::convert::Infallible;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use contracts::parts::{CLI_PROJECT, Part};
use runtime::secrets::Secrets;
use telemetry::Telemetry;
use telemetry::metric::{self, Metric};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{metrics_port, print_findings};
use crate::audit::{Mark, Report, Sources, run_from};
use crate::checkout::Checkout;
use crate::commands::Context;
use crate::output::Output;
use crate::target::Target;

/// Number of failed rounds in a row after which the command ends.
const FAILURES_MAX: u32 = 60;
/// Time limit for the last telemetry.
const TELEMETRY_DEADLINE_MS: u64 = 5_000;

/// An audit that continues in rounds. A round that fails is repeated from the same mark.
pub(super) struct Watch<'a> {
    pub(super) sources: &'a Sources,
    pub(super) in_flight: Duration,
    /// Time between the beginnings of two rounds.
    pub(super) interval: Duration,
    /// File that is replaced after each round.
    pub(super) mark: Option<&'a Path>,
    pub(super) output: &'a Output,
}

impl Watch<'_> {
    /// Audits until interrupted, and serves the figures. Returns true if every round was clean.
    ///
    /// # Errors
    /// When the port is not free, the first round fails, or many in a row do.
    pub(super) async fn serve(
        &self,
        begin: Mark,
        metrics_port: Option<u16>,
        telemetry: Option<Telemetry>,
    ) -> Result<bool> {
        let listener = match metrics_port {
            Some(port) => Some(metrics_port::open(port).await?),
            None => None,
        };
        let served = async {
            match listener {
                Some(listener) => metrics_port::serve(listener).await,
                None => std::future::pending::<Infallible>().await,
            }
        };
        let is_clean = tokio::select! {
            is_clean = self.rounds(begin) => is_clean,
            never = served => match never {},
        };
        if let Some(telemetry) = telemetry
            && !telemetry.shutdown(TELEMETRY_DEADLINE_MS).await
        {
            self.output.problem("the last figures did not reach the recorder", 0);
        }
        is_clean
    }

    async fn rounds(&self, begin: Mark) -> Result<bool> {
        let (mut from, mut is_clean) = (begin, true);
        let (mut has_read, mut failures) = (false, 0_u32);
        loop {
            let began = Instant::now();
            let round = tokio::select! {
                round = run_from(self.sources, &from, self.in_flight) => round,
                _ = tokio::signal::ctrl_c() => return Ok(is_clean && has_read && failures == 0),
            };
            match round {
                Ok((report, next)) => {
                    (has_read, failures) = (true, 0);
                    is_clean &= report.is_clean();
                    publish(&report);
                    self.show(&report);
                    if let Some(path) = self.mark {
                        next.write(path)?;
                    }
                    from = next;
                }
                Err(error) if !has_read || failures >= FAILURES_MAX => return Err(error),
                Err(error) => {
                    failures += 1;
                    metric::count(Metric::AuditRounds, 1, &[("outcome", "failed")]);
                    self.output
                        .problem(&format!("this round read nothing, the next one repeats it: {error:#}"), 0);
                }
            }
            tokio::select! {
                () = tokio::time::sleep(self.interval.saturating_sub(began.elapsed())) => {}
                _ = tokio::signal::ctrl_c() => return Ok(is_clean && failures == 0),
            }
        }
    }

    fn show(&self, report: &Report) {
        if self.output.json {
            self.output.line(&report.to_json().to_string());
            return;
        }
        let now = OffsetDateTime::now_utc();
        let now = now.replace_nanosecond(0).unwrap_or(now).format(&Rfc3339).unwrap_or_default();
        self.output.line(&format!("{now} {}", summary(report)));
        print_findings(report, self.output);
    }
}

/// Says in one line how much a round checked, and what it found.
fn summary(report: &Report) -> String {
    let checked: u64 = report.checks.iter().map(|check| check.checked).sum();
    let in_flight: u64 = report.checks.iter().map(|check| check.in_flight).sum();
    let findings: u64 = report.checks.iter().map(|check| check.violations()).sum();
    let unproven: Vec<&str> =
        report.checks.iter().filter(|check| !check.has_evidence()).map(|check| check.name).collect();
    let unexamined: u64 = report.checks.iter().map(|check| check.unexamined).sum();
    let mut text =
        format!("{}: {checked} checked, {in_flight} in flight, {findings} findings", outcome(report));
    if !unproven.is_empty() {
        text.push_str(&format!(", nothing checked: {}", unproven.join(", ")));
    }
    if unexamined > 0 {
        text.push_str(&format!(", {unexamined} suspects not examined"));
    }
    if report.open.is_none() {
        text.push_str(", too many open records: the next round begins where this one did");
    }
    text
}

/// Outcome of a round, as a label.
fn outcome(report: &Report) -> &'static str {
    if report.is_clean() {
        "clean"
    } else if report.checks.iter().any(|check| check.violations() > 0) {
        "violated"
    } else {
        "unproven"
    }
}

/// Publishes a round: how much each check found beside how much it checked.
fn publish(report: &Report) {
    for check in &report.checks {
        let labels = [("check", check.name)];
        let findings = f64::from(u32::try_from(check.violations()).unwrap_or(u32::MAX));
        metric::gauge(Metric::AuditFindings, findings, &labels);
        metric::count(Metric::AuditChecked, check.checked, &labels);
    }
    metric::count(Metric::AuditRounds, 1, &[("outcome", outcome(report))]);
}

/// Starts telemetry of this process. `None` if it does not start: the figures then stay in this process.
pub(super) fn start_telemetry(context: &Context, target: &Target) -> Option<Telemetry> {
    let mut config = telemetry::Config::silent(CLI_PROJECT.0);
    // Standard output is for results
    "off".clone_into(&mut config.log_filter);
    // The reads of an audit are no traces that anybody looks at.
    config.traces_sample_rate = 0.0;
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(environment) = variable("SENTRY_ENVIRONMENT") {
        config.environment = environment;
    }
    let checkout = context.checkout().ok().filter(|checkout| runs_at(checkout, target));
    if let Some(running) = checkout.as_ref().and_then(Checkout::running) {
        config.release = running.release;
    }
    // The recorder of this checkout has no data of another platform
    config.dsn = match &checkout {
        Some(checkout) => dsn(checkout),
        None => variable("SENTRY_DSN"),
    };
    telemetry::init(config).ok()
}

/// Returns true if the target is the platform at this checkout's ports.
fn runs_at(checkout: &Checkout, target: &Target) -> bool {
    let gateway = checkout.ports().map(|ports| format!("http://127.0.0.1:{}", ports.http(Part::Gateway)));
    gateway.is_ok_and(|gateway| gateway == target.gateway_url)
}

/// DSN of the command line at this platform's recorder. `None` if the platform was started by an older `up`.
fn dsn(checkout: &Checkout) -> Option<String> {
    let (project, id) = CLI_PROJECT;
    let ports = checkout.ports().ok()?;
    let secrets = Secrets::load(&checkout.layout).filter(|secrets| secrets.dsn_keys.contains_key(project))?;
    Some(secrets.dsn(project, id, ports.http(Part::Recorder)))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, report};
    use super::*;
    use crate::audit::Check;

    #[test]
    fn summary_says_what_was_checked_and_found() {
        let clean = report(vec![check("a", 7, false, 0), check("b", 0, true, 0)]);
        assert_eq!(summary(&clean), "clean: 7 checked, 0 in flight, 0 findings");
        let violated = report(vec![check("a", 7, false, 2), check("b", 0, false, 0)]);
        assert_eq!(summary(&violated), "violated: 7 checked, 0 in flight, 2 findings, nothing checked: b");
        let unproven = Report { open: None, ..report(vec![check("b", 0, false, 0)]) };
        let text = summary(&unproven);
        assert!(
            text.starts_with("unproven: 0 checked") && text.contains("begins where this one did"),
            "{text}"
        );
        let unexamined = Check { unexamined: 4, ..check("a", 7, false, 0) };
        let text = summary(&report(vec![unexamined]));
        assert_eq!(text, "unproven: 7 checked, 0 in flight, 0 findings, 4 suspects not examined");
    }

    #[test]
    fn figures_are_findings_beside_checked_records() {
        publish(&report(vec![check("fig-a", 7, false, 0), check("fig-b", 9, false, 2)]));
        publish(&report(vec![check("fig-a", 1, false, 0), check("fig-b", 0, false, 0)]));
        let text = metric::render_prometheus();
        for line in [
            r#"pitboss_audit_findings{check="fig-a"} 0"#,
            r#"pitboss_audit_checked_total{check="fig-a"} 8"#,
            r#"pitboss_audit_findings{check="fig-b"} 0"#,
            r#"pitboss_audit_checked_total{check="fig-b"} 9"#,
            r#"pitboss_audit_rounds_total{outcome="violated"} 1"#,
            r#"pitboss_audit_rounds_total{outcome="unproven"} 1"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }
}
