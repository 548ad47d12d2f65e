//! Interface of a drill to the platform.

use std::fmt;

use anyhow::Result;
use faults::Values;
use serde::Serialize;

use super::{Break, LetterAction, Until};
use crate::evidence::Evidence;
use crate::verify::debug::DebugRow;
use crate::verify::{Figures, Workload};

/// The platform on which a drill runs.
pub(crate) trait Stage {
    /// Does the work once while nothing is armed.
    async fn load(&mut self, workload: Workload) -> Result<Normal>;

    /// Arms a fault, and returns the values of its parameters. What reaches the recorder from then on counts.
    async fn arm(&mut self, broken: &Break) -> Result<Values>;

    /// Repeats the work of the armed fault until `until`, and calls `live` with each reading.
    async fn watch(&mut self, broken: &Break, until: Until, live: &mut dyn FnMut(&Moment))
    -> Result<Watched>;

    /// Returns true if what arrived since the fault was armed shows this evidence.
    async fn shows(&mut self, evidence: &Evidence) -> Result<bool>;

    /// Disarms the fault. Returns the seconds after which its work showed nothing any more, or `None` if it still does.
    async fn heal(&mut self, broken: &Break) -> Result<Option<f64>>;

    /// Waits until an alert rule does not fire any more. Returns the seconds that it took, or `None` if it still fires.
    async fn resolved(&mut self, rule: &'static str, within_s: u32) -> Result<Option<f64>>;

    /// Audits the records of this run.
    async fn audit(&mut self) -> Result<Audited>;

    /// Causes an error several times, and waits for its issue.
    async fn cause(&mut self, row: DebugRow) -> Result<CausedErrors>;

    /// Voids the bets whose payouts the audit found wrong.
    async fn compensate(&mut self) -> Result<Compensated>;

    /// Acts on the dead letters of this run.
    async fn letters(&mut self, action: LetterAction) -> Result<LettersDone>;

    /// Addresses of a trace: in the recorder, and in Sentry if copies are sent there.
    fn trace_addresses(&self, trace_id: &str) -> Vec<String>;

    /// Address of a page of the recorder.
    fn page_address(&self, path: &str) -> String;
}

/// Work without a fault.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Normal {
    pub(crate) figures: Figures,
    /// A trace of it.
    pub(crate) trace_id: Option<String>,
}

/// State of a watch.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Moment {
    pub(crate) seconds: f64,
    pub(crate) units: u64,
    pub(crate) failed: u64,
    pub(crate) lag: Option<Lag>,
    /// The evidence holds.
    pub(crate) is_seen: bool,
}

/// Lag of the group that is furthest behind, without retry topics.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Lag {
    /// The group.
    pub group: String,
    /// Its unread records.
    pub messages: i64,
    /// Age of the oldest of them in seconds, if it is known.
    pub age_s: Option<f64>,
    /// Its members.
    pub members: usize,
}

/// Result of a watch.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Watched {
    /// The evidence, if it was seen.
    pub(crate) seen: Option<Seen>,
    pub(crate) figures: Figures,
    /// The greatest lag.
    pub(crate) lag: Option<Lag>,
    /// Name of the last signature of the group that was watched.
    pub(crate) signature: Option<&'static str>,
    /// Number of times that the fault was applied, by the counters of services and supervisor.
    pub(crate) applied: Option<u64>,
}

/// Evidence that was seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Seen {
    pub(crate) after_s: f64,
    pub(crate) place: String,
    pub(crate) trace_id: Option<String>,
    /// An issue of that trace, by its id in the recorder.
    pub(crate) issue_id: Option<String>,
}

/// Errors that were caused at a service.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct CausedErrors {
    /// Number of requests.
    pub(crate) requests: usize,
    /// Seconds from the last answer until everything was seen.
    pub(crate) seen_after_s: Option<f64>,
    /// What was not seen.
    pub(crate) missing: Vec<String>,
    /// Trace of the last request.
    pub(crate) trace_id: Option<String>,
    /// The issue, by its id in the recorder.
    pub(crate) issue_id: Option<String>,
    /// Seconds after which all parts were ready.
    pub(crate) recovery_s: Option<f64>,
}

/// Result of the audit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Audited {
    /// Nothing was found, and nothing was left unchecked.
    pub is_clean: bool,
    /// Number of records that were checked, summed over the checks.
    pub checked: u64,
    /// Number of findings.
    pub violations: u64,
    /// The first findings, each with its check.
    pub first: Vec<String>,
}

/// Result of the compensating entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Compensated {
    /// Number of bets that were voided, which are all that the audit found.
    pub bets: usize,
    /// Balance of their players before, in minor units.
    pub balance_before_minor: i64,
    /// Balance of their players after, in minor units.
    pub balance_after_minor: i64,
    /// Number of voids that the audit checked.
    pub voids_checked: u64,
    /// Number of voids that do not reverse what their bets moved.
    pub violations: u64,
}

/// Result of an action on dead letters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LettersDone {
    /// The action, as in `./pitboss dlq`.
    pub action: &'static str,
    /// The letters, each with its reason.
    pub letters: Vec<String>,
    /// Letters on which the action was refused.
    pub refused: Vec<String>,
    /// Replayed letters whose group handled the record.
    pub handled: usize,
    /// Letters that came back after a replay.
    pub came_back: usize,
    /// The cause was repaired, so every replayed record has to be handled.
    pub has_to_heal: bool,
    /// Traces of the letters, or of their replays.
    pub trace_ids: Vec<String>,
}

impl Compensated {
    /// Returns true if each bet has its void, and each void is right.
    #[must_use]
    pub fn holds(&self) -> bool {
        let voids = usize::try_from(self.voids_checked).unwrap_or(usize::MAX);
        self.bets > 0 && voids >= self.bets && self.violations == 0
    }
}

impl LettersDone {
    /// Returns true if the action did what it had to do.
    #[must_use]
    pub fn holds(&self) -> bool {
        let Self { letters, refused, handled, has_to_heal, .. } = self;
        !has_to_heal || (*handled > 0 && *handled == letters.len() && refused.is_empty())
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seconds, units, failed, lag, is_seen } = self;
        let error_rate = *failed as f64 * 100.0 / (*units).max(1) as f64;
        write!(f, "{seconds:.0} s, {units} units, {failed} failed ({error_rate:.1} %), lag ")?;
        match lag {
            None => f.write_str("unknown")?,
            Some(lag) => write!(f, "{lag}")?,
        }
        f.write_str(if *is_seen { ", the evidence holds" } else { "" })
    }
}

impl fmt::Display for Compensated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bets, balance_before_minor, balance_after_minor, voids_checked, violations } = self;
        write!(
            f,
            "{bets} bets voided, balance of their players {balance_before_minor} → {balance_after_minor} minor \
             units, {voids_checked} voids checked, {violations} violations"
        )
    }
}

impl fmt::Display for Lag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, messages, age_s, .. } = self;
        write!(f, "{messages} records of {group}")?;
        age_s.map_or(Ok(()), |age_s| write!(f, ", the oldest {age_s:.0} s old"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moment_shows_error_rate_and_lag() {
        let moment = Moment { seconds: 7.2, units: 40, failed: 2, ..Moment::default() };
        assert_eq!(moment.to_string(), "7 s, 40 units, 2 failed (5.0 %), lag unknown");
        let lag = Lag { group: "notification".to_owned(), messages: 12, age_s: Some(4.4), members: 1 };
        let moment = Moment { lag: Some(lag), is_seen: true, ..moment };
        assert_eq!(
            moment.to_string(),
            "7 s, 40 units, 2 failed (5.0 %), lag 12 records of notification, the oldest 4 s old, the evidence holds"
        );
    }
}
