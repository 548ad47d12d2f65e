//! Errors that a drill causes at a service.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::Result;

use super::{PATIENCE, POLL_INTERVAL, issue_of};
use crate::drill::stage::CausedErrors;
use crate::evidence::{Issue, Observation, Window};
use crate::trace::recorder;
use crate::verify::Means;
use crate::verify::debug::expectation::Scene;
use crate::verify::debug::{self, Answer, DebugRow, Expectation};
use crate::verify::run::{RECOVERY_MAX, ready};

/// Number of requests. One event would be one issue in any case.
const REQUESTS: usize = 3;
const CURRENCY: &str = "EUR";

/// Causes the error several times for a new player, and reads until its events and its one issue are there.
pub(super) async fn cause(means: Means<'_>, row: DebugRow) -> Result<CausedErrors> {
    let Means { target, gateway } = means;
    let player = gateway.register(CURRENCY).await?;
    let mut window = Window::open(target).await?;
    let mut answers = Vec::with_capacity(REQUESTS);
    for _ in 0..REQUESTS {
        answers.push(debug::cause(target, row, &player.player_id).await?);
    }
    let answered_at = Instant::now();
    let is_ready = ready(target, answered_at).await?;
    let recovered_after = answered_at.elapsed();
    let is_recovered = is_ready && recovered_after < RECOVERY_MAX;
    let missing = loop {
        let missing = missing(row, &answers, &player.player_id, window.read().await?);
        if missing.is_empty() || answered_at.elapsed() >= PATIENCE {
            break missing;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    };
    let seen_after_s = missing.is_empty().then(|| answered_at.elapsed().as_secs_f64());
    let trace_id = answers.last().and_then(|answer| answer.text("trace_id")).map(str::to_owned);
    let trace = match &trace_id {
        Some(id) => recorder::fetch(target.http(), &target.recorder_url, id).await.ok().flatten(),
        None => None,
    };
    Ok(CausedErrors {
        requests: answers.len(),
        seen_after_s,
        missing,
        issue_id: trace.as_ref().and_then(issue_of),
        trace_id,
        recovery_s: is_recovered.then_some(recovered_after.as_secs_f64()),
    })
}

/// What is not there yet, each thing once.
fn missing(row: DebugRow, answers: &[Answer], player_id: &str, seen: &Observation) -> Vec<String> {
    let mut texts = BTreeSet::new();
    for answer in answers {
        let scene = Scene { row, answer, player_id, armed: "", dumps_before: 0, seen };
        // No fault is armed in this step
        let missing = scene.missing().into_iter().filter(|one| *one != Expectation::ArmedFault);
        texts.extend(missing.map(|expectation| expectation.to_string()));
    }
    if !is_one_issue(row, answers, &seen.issues) {
        texts.insert(format!("{} new events in one issue of {}", answers.len(), row.service));
    }
    texts.into_iter().collect()
}

/// Returns true if all requests are in one issue. An issue is theirs if its last event is in the trace of one of them.
fn is_one_issue(row: DebugRow, answers: &[Answer], issues: &[Issue]) -> bool {
    let is_theirs = |issue: &&Issue| {
        let trace_id = issue.last_trace_id.as_deref();
        issue.project == row.service.as_str()
            && trace_id.is_some()
            && answers.iter().any(|answer| answer.text("trace_id") == trace_id)
    };
    let theirs: Vec<&Issue> = issues.iter().filter(is_theirs).collect();
    let [one] = theirs.as_slice() else { return false };
    usize::try_from(one.count_since).is_ok_and(|count| count >= answers.len())
}

#[cfg(test)]
mod tests {
    use contracts::debug::DebugFault;
    use contracts::parts::Part;
    use serde_json::json;

    use super::*;

    const ROW: DebugRow = DebugRow { service: Part::Payment, fault: DebugFault::ErrorParse };

    fn answers() -> Vec<Answer> {
        ["a", "b", "c"].map(|id| Answer { status: 500, body: json!({ "trace_id": id }) }).to_vec()
    }

    fn issue(project: &str, count_since: u64, trace_id: Option<&str>) -> Issue {
        let (project, last_trace_id) = (project.to_owned(), trace_id.map(str::to_owned));
        Issue { project, count_since, last_trace_id, ..Issue::default() }
    }

    #[test]
    fn all_events_are_one_issue() {
        let holds = |issues: &[Issue]| is_one_issue(ROW, &answers(), issues);
        let others = [issue("payment", 9, None), issue("game", 3, Some("c")), issue("payment", 3, Some("x"))];
        assert!(holds(&[issue("payment", 3, Some("c"))]));
        assert!(holds(&[[issue("payment", 3, Some("c"))].as_slice(), others.as_slice()].concat()));
        assert!(!holds(&others) && !holds(&[]));
        assert!(!holds(&[issue("payment", 1, Some("b")), issue("payment", 2, Some("c"))]), "two groups");
        assert!(!holds(&[issue("payment", 2, Some("c"))]), "one event is missing");
    }

    #[test]
    fn what_is_missing_is_named_once() {
        let missing = missing(ROW, &answers(), "p-7", &Observation::default());
        assert!(missing.iter().any(|text| text == "3 new events in one issue of payment"), "{missing:?}");
        assert_eq!(missing.iter().filter(|text| text.contains("breadcrumbs")).count(), 1, "{missing:?}");
        assert!(!missing.iter().any(|text| text.contains("armed")), "{missing:?}");
    }
}
