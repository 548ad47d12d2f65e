//! Check-ins of a job that runs again and again, such as a sweeper.
//!
//! Sentry counts in minutes, so a job that runs more often checks in once a minute, as a heartbeat: `ok` if any run of that minute
//! succeeded, `error` if none did. A job that runs once a minute or less often checks in at the beginning and at the end of each run.
//! A run that hangs ends both, and that is what the monitor reports.

use std::time::{Duration, Instant};

use sentry::protocol::MonitorCheckInStatus as Status;
use uuid::Uuid;

use super::Monitor;

/// Shortest interval between two runs that are reported.
const INTERVAL_MIN: Duration = Duration::from_secs(60);
/// A run is due so much earlier. Otherwise a job of every 30 s, whose timer is never exact, would report every 90 s.
const SLACK: Duration = Duration::from_millis(500);

/// A periodic job, which checks in at the monitor `job-<name>`.
#[derive(Debug)]
pub struct Job {
    monitor: Monitor,
    /// Its runs are reported one by one.
    is_seldom: bool,
    pace: Pace,
}

/// A run of a job that has begun. [`Job::end`] ends it. One that is dropped was cancelled, and is not reported.
#[must_use = "a run that is not ended is not reported"]
#[derive(Debug)]
pub struct Run {
    started: Instant,
    /// Id of the check-in at the beginning, if there was one.
    check_in: Option<Uuid>,
}

impl Job {
    /// The job of this name (`game-sweeper`), which is meant to run at this interval.
    pub fn new(name: &str, every: Duration) -> Self {
        let is_seldom = every >= INTERVAL_MIN;
        Self { monitor: Monitor::of_job(name, every), is_seldom, pace: Pace::new(Instant::now()) }
    }

    /// Does the work as one run. A run that is cancelled is not reported.
    pub async fn run<T, E>(&mut self, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let run = self.begin();
        let result = work.await;
        self.end(run, result.is_ok());
        result
    }

    /// Begins a run.
    pub fn begin(&mut self) -> Run {
        let started = Instant::now();
        let check_in = (self.is_seldom && self.pace.may_begin(started)).then(Uuid::new_v4);
        if let Some(id) = check_in {
            self.monitor.send(id, Status::InProgress, None);
        }
        Run { started, check_in }
    }

    /// Ends a run, and tells whether it succeeded.
    pub fn end(&mut self, run: Run, is_ok: bool) {
        let Run { started, check_in } = run;
        let (id, status) = match check_in {
            Some(id) => (id, if is_ok { Status::Ok } else { Status::Error }),
            None => match self.pace.ended(Instant::now(), is_ok) {
                Some(status) => (Uuid::new_v4(), status),
                None => return,
            },
        };
        self.monitor.send(id, status, Some(started.elapsed()));
    }
}

/// Decides which ends of runs are reported.
#[derive(Debug)]
struct Pace {
    /// Last report, or the beginning of the job.
    since: Instant,
    has_reported: bool,
    /// A run since then has succeeded.
    has_succeeded: bool,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self { since: now, has_reported: false, has_succeeded: false }
    }

    fn is_due(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) + SLACK >= INTERVAL_MIN
    }

    /// Returns true if the beginning of a run is reported.
    fn may_begin(&mut self, now: Instant) -> bool {
        let may = !self.has_reported || self.is_due(now);
        if may {
            self.reported(now);
        }
        may
    }

    /// Returns the status to report now. The first success is reported at once, failures only after a minute without a success.
    fn ended(&mut self, now: Instant, is_ok: bool) -> Option<Status> {
        self.has_succeeded |= is_ok;
        let is_first_success = self.has_succeeded && !self.has_reported;
        if !is_first_success && !self.is_due(now) {
            return None;
        }
        let status = if self.has_succeeded { Status::Ok } else { Status::Error };
        self.reported(now);
        Some(status)
    }

    fn reported(&mut self, now: Instant) {
        (self.since, self.has_reported, self.has_succeeded) = (now, true, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Statuses that are reported of runs at these seconds.
    fn reported(runs: &[(u64, bool)]) -> Vec<(u64, Status)> {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let at = |second: u64| start + Duration::from_secs(second);
        runs.iter().filter_map(|(second, is_ok)| Some((*second, pace.ended(at(*second), *is_ok)?))).collect()
    }

    #[test]
    fn job_of_each_second_reports_once_a_minute() {
        let runs: Vec<(u64, bool)> = (1..=300).map(|second| (second, true)).collect();
        assert_eq!(reported(&runs), [1, 61, 121, 181, 241].map(|second| (second, Status::Ok)));
    }

    #[test]
    fn minute_with_a_success_is_ok() {
        let runs: Vec<(u64, bool)> = (1..=130).map(|second| (second, second == 1 || second == 40)).collect();
        assert_eq!(reported(&runs), [(1, Status::Ok), (61, Status::Ok), (121, Status::Error)]);
    }

    #[test]
    fn failures_at_the_start_are_reported_after_a_minute() {
        let runs: Vec<(u64, bool)> = (1..=59).map(|second| (second, false)).collect();
        assert!(reported(&runs).is_empty());
        let runs: Vec<(u64, bool)> = (1..=60).map(|second| (second, false)).collect();
        assert_eq!(reported(&runs), [(60, Status::Error)]);
        assert_eq!(reported(&[(1, false), (5, true), (6, true)]), [(5, Status::Ok)], "a success at once");
    }

    #[test]
    fn inexact_timer_costs_no_report() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        // Each run is a little earlier than the timer of 30 s says.
        let runs = [0, 29_990, 59_980, 89_970, 119_960].map(|ms| start + Duration::from_millis(ms));
        let reported = runs.map(|now| pace.ended(now, true).is_some());
        assert_eq!(reported, [true, false, true, false, true]);
    }

    #[test]
    fn beginnings_are_a_minute_apart() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let begun =
            [0, 30, 60, 90, 120, 121].map(|second| pace.may_begin(start + Duration::from_secs(second)));
        assert_eq!(begun, [true, false, true, false, true, false]);
    }
}
