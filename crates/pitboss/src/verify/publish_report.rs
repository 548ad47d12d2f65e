//! Sends the results of all runs to the recorder, which stores them and shows them at `/scorecard`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use contracts::scorecard::{self, Figures, LIST_MAX, Row, Run, Scorecard, Skipped, Spread, VERSION};

use super::report::{Outcome, Report};
use super::verdict::Verdict;
use crate::target::{Target, silent_recorder};

/// Sends the scorecard of these runs. Returns the address of its page.
///
/// # Errors
/// When this checkout does not have the operator's token of the platform, or the recorder does not answer (exit code 69), or does
/// not take the scorecard.
pub async fn publish(target: &Target, runs: &[Report]) -> Result<String> {
    let Some(token) = &target.operator_token else {
        bail!("this checkout does not have the operator's token of the platform");
    };
    let url = format!("{}/api/v1/scorecard", target.recorder_url);
    let card = scorecard_of(runs);
    let request = target.http().put(&url).header("x-operator-token", token).json(&card);
    let answer = request.send().await.map_err(|error| silent_recorder(&target.recorder_url, error))?;
    let status = answer.status();
    if !status.is_success() {
        let reason = answer.text().await.unwrap_or_default();
        bail!("the recorder answered {status} to PUT {url}: {}", scorecard::text(&reason));
    }
    Ok(format!("{}/scorecard", target.recorder_url))
}

/// The results of these runs in the recorder's form, ordered by the name of the fault.
#[must_use]
pub fn scorecard_of(runs: &[Report]) -> Scorecard {
    let mut outcomes: BTreeMap<String, Vec<&Outcome>> = BTreeMap::new();
    for outcome in runs.iter().flat_map(|run| &run.rows) {
        outcomes.entry(outcome.id.to_string()).or_default().push(outcome);
    }
    let skipped: BTreeMap<String, String> = runs
        .iter()
        .flat_map(|run| &run.skipped)
        .map(|skipped| (skipped.id.to_string(), scorecard::text(skipped.why)))
        .collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Scorecard {
        version: VERSION,
        finished_at: now.as_secs_f64(),
        runs: runs.iter().map(|run| Run { seed: run.seed, duration_s: run.duration_s }).collect(),
        rows: outcomes.iter().map(|(fault, outcomes)| row(fault, outcomes)).collect(),
        skipped: skipped.into_iter().map(|(fault, why)| Skipped { fault, why }).collect(),
    }
}

/// The results of one fault, in the order of the runs.
fn row(fault: &str, outcomes: &[&Outcome]) -> Row {
    let spread = |time: fn(&Outcome) -> Option<f64>| {
        Spread::of(outcomes.iter().filter_map(|outcome| time(outcome)).collect())
    };
    let proven = outcomes.iter().filter(|outcome| outcome.result == Verdict::Proven).count();
    let other = outcomes.iter().copied().find(|outcome| outcome.result != Verdict::Proven);
    let judged = other.or(outcomes.last().copied());
    let seen = outcomes.iter().copied().rev().find(|outcome| outcome.first_seen_in.is_some());
    let alarms: BTreeSet<String> = outcomes
        .iter()
        .flat_map(|outcome| &outcome.false_alarms)
        .map(|alarm| scorecard::text(alarm))
        .collect();
    Row {
        fault: fault.to_owned(),
        verdict: other.map_or(Verdict::Proven, |outcome| outcome.result).as_str().to_owned(),
        proven: proven as u64,
        runs: outcomes.len() as u64,
        signal_s: spread(|outcome| outcome.times.time_to_signal_s),
        alert_s: spread(|outcome| outcome.times.time_to_alert_s),
        recovery_s: spread(|outcome| outcome.times.recovery_s),
        first_seen_in: seen.and_then(|outcome| outcome.first_seen_in.as_deref()).map(scorecard::text),
        trace_id: seen.and_then(|outcome| outcome.trace_id.clone()).filter(|id| scorecard::is_trace_id(id)),
        culprit: judged.map(|outcome| scorecard::text(outcome.culprit)).unwrap_or_default(),
        blind: always_blind(outcomes),
        false_alarms: alarms.into_iter().take(LIST_MAX).collect(),
        money: judged.map(|outcome| scorecard::text(outcome.money)).unwrap_or_default(),
        baseline: medians(outcomes.iter().filter_map(|outcome| outcome.baseline).collect()),
        under_fault: medians(outcomes.iter().filter_map(|outcome| outcome.under_fault).collect()),
        why: other.map(|outcome| scorecard::text(&outcome.why)).unwrap_or_default(),
    }
}

/// Signals that showed nothing in any run.
fn always_blind(outcomes: &[&Outcome]) -> Vec<String> {
    let Some(first) = outcomes.first() else { return Vec::new() };
    let names = first.blind.iter().filter(|name| outcomes.iter().all(|outcome| outcome.blind.contains(name)));
    names.take(LIST_MAX).map(|name| scorecard::text(name)).collect()
}

/// Each figure as the median over the runs.
fn medians(measured: Vec<super::Figures>) -> Option<Figures> {
    let median = |figure: fn(&super::Figures) -> Option<f64>| {
        Spread::of(measured.iter().filter_map(figure).collect()).map(|spread| spread.median)
    };
    Some(Figures {
        p50_ms: median(|figures| Some(figures.p50_ms))?,
        p95_ms: median(|figures| Some(figures.p95_ms))?,
        failed_percent: median(|figures| Some(figures.failed_percent))?,
        cpu_percent: median(|figures| figures.cpu_percent),
        memory_mib: median(|figures| figures.memory_mib),
    })
}

#[cfg(test)]
mod tests {
    use faults::FaultId;

    use super::*;
    use crate::verify::report::Seconds;

    fn outcome(signal_s: f64, blind: &[&'static str]) -> Outcome {
        let figures = |p95_ms| Some(crate::verify::Figures { p95_ms, ..crate::verify::Figures::default() });
        Outcome {
            result: Verdict::Proven,
            times: Seconds { time_to_signal_s: Some(signal_s), ..Seconds::default() },
            first_seen_in: Some(format!("signal after {signal_s} s")),
            trace_id: Some("ab".repeat(16)),
            blind: blind.to_vec(),
            baseline: figures(signal_s),
            under_fault: figures(400.0),
            why: String::new(),
            ..Outcome::unfinished(&crate::verify::row(FaultId::ConsumerSlow), &anyhow::anyhow!("no answer"))
        }
    }

    fn run(outcome: Outcome) -> Report {
        Report { seed: 7, rows: vec![outcome], skipped: Vec::new(), duration_s: 61.0 }
    }

    #[test]
    fn runs_become_one_row_of_the_scorecard() {
        let mut failed = outcome(1.0, &["issue"]);
        failed.result = Verdict::NotVisible;
        failed.why = "x".repeat(10_000);
        failed.trace_id = Some("not a trace".to_owned());
        let runs = [run(outcome(3.0, &["issue", "lag"])), run(outcome(2.0, &["issue", "lag"])), run(failed)];
        let card = scorecard_of(&runs);
        assert_eq!(card.check(), Ok(()));
        let row = &card.rows[0];
        assert_eq!((card.rows.len(), card.runs.len(), row.proven, row.runs), (1, 3, 2, 3));
        assert_eq!((row.fault.as_str(), row.verdict.as_str()), ("consumer.slow", "NOT VISIBLE"));
        assert_eq!(row.signal_s, Some(Spread { min: 1.0, median: 2.0, max: 3.0 }));
        assert_eq!(row.first_seen_in.as_deref(), Some("signal after 1 s"), "of the newest run");
        assert_eq!((&row.trace_id, &row.blind), (&None, &vec!["issue".to_owned()]));
        assert_eq!(row.baseline.map(|figures| figures.p95_ms), Some(2.0));
        assert_eq!(row.why.len(), scorecard::TEXT_CHARACTERS_MAX);
    }

    #[test]
    fn proven_row_has_no_reason() {
        let card = scorecard_of(&[run(outcome(2.0, &[]))]);
        let row = &card.rows[0];
        assert_eq!((row.verdict.as_str(), row.why.as_str()), ("PROVEN", ""));
        assert_eq!(row.trace_id, Some("ab".repeat(16)));
    }
}
