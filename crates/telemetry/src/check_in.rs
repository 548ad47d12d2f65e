//! Check-ins: signs of life of work that must not stop, for Sentry's cron monitors.
//!
//! A check-in brings the settings of its monitor, so nobody has to create the monitor before. Its envelope goes before spans,
//! logs and metrics. A process that is gone sends nothing, and that is what its monitor reports.

mod job;

use std::time::Duration;

use sentry::protocol::{
    MonitorCheckIn, MonitorCheckInStatus, MonitorConfig, MonitorIntervalUnit, MonitorSchedule,
};
use sentry::{Envelope, Hub};
use uuid::Uuid;

pub use job::{Job, Run};

/// Minutes after which a check-in that is due counts as missed. Sentry cuts the time at which it is due to the minute, so a margin
/// of one minute would leave only seconds for a late one.
const MARGIN_MINUTES: u64 = 2;
/// Minutes that one run may last. A check-in of ours has no duration.
const RUNTIME_MINUTES_MAX: u64 = 1;
/// Minutes that one run of a job may last.
const JOB_RUNTIME_MINUTES_MAX: u64 = 5;
/// Number of failed check-ins in a row after which Sentry raises an issue about a job. A minute in which a store was away is none.
pub const JOB_FAILURES: u64 = 2;
/// Number of good check-ins in a row that close it.
pub const JOB_RECOVERIES: u64 = 1;

/// Name of the monitor of a consumer group in Sentry.
pub fn consumer_slug(group: &str) -> String {
    format!("consumer-{group}")
}

/// Name of the monitor of a periodic job in Sentry.
pub fn job_slug(name: &str) -> String {
    format!("job-{name}")
}

/// Schedule of the monitor of a consumer group or a job, in minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// Interval of the check-ins.
    pub interval_min: u64,
    /// Time after which a check-in that is due counts as missed.
    pub margin_min: u64,
    /// Longest time of one run.
    pub runtime_min_max: u64,
}

impl Schedule {
    /// The schedule of a group whose members check in at this interval. Sentry counts in minutes, so it is rounded up to whole ones.
    pub fn of_consumer(interval: Duration) -> Self {
        Self::new(interval, RUNTIME_MINUTES_MAX)
    }

    /// The schedule of a job that runs at this interval, rounded up in the same way.
    pub fn of_job(every: Duration) -> Self {
        Self::new(every, JOB_RUNTIME_MINUTES_MAX)
    }

    fn new(interval: Duration, runtime_min_max: u64) -> Self {
        Self {
            interval_min: interval.as_secs().div_ceil(60).max(1),
            margin_min: MARGIN_MINUTES,
            runtime_min_max,
        }
    }
}

/// A monitor to check in at.
#[derive(Debug, Clone)]
pub struct Monitor {
    slug: String,
    config: MonitorConfig,
}

impl Monitor {
    /// The monitor of a consumer group, whose members check in at this interval.
    pub fn of_consumer(group: &str, interval: Duration) -> Self {
        Self { slug: consumer_slug(group), config: config(Schedule::of_consumer(interval)) }
    }

    /// The monitor of a job that runs at this interval.
    fn of_job(name: &str, every: Duration) -> Self {
        let config = MonitorConfig {
            failure_issue_threshold: Some(JOB_FAILURES),
            recovery_threshold: Some(JOB_RECOVERIES),
            ..config(Schedule::of_job(every))
        };
        Self { slug: job_slug(name), config }
    }

    /// Name of the monitor in Sentry.
    pub fn slug(&self) -> &str {
        &self.slug
    }

    /// Tells Sentry that the work goes on. It never waits, and does nothing in a process that sends no telemetry.
    pub fn check_in(&self) {
        self.send(Uuid::new_v4(), MonitorCheckInStatus::Ok, None);
    }

    fn send(&self, id: Uuid, status: MonitorCheckInStatus, took: Option<Duration>) {
        let Some(client) = Hub::current().client() else { return };
        let check_in = MonitorCheckIn {
            check_in_id: id,
            monitor_slug: self.slug.clone(),
            status,
            environment: client.options().environment.as_deref().map(str::to_owned),
            duration: took.map(|took| took.as_secs_f64()),
            monitor_config: Some(self.config.clone()),
        };
        client.send_envelope(Envelope::from(check_in));
    }
}

/// Settings of a monitor. Sentry counts in minutes.
fn config(schedule: Schedule) -> MonitorConfig {
    let Schedule { interval_min, margin_min, runtime_min_max } = schedule;
    MonitorConfig {
        schedule: MonitorSchedule::Interval { value: interval_min, unit: MonitorIntervalUnit::Minute },
        checkin_margin: Some(margin_min),
        max_runtime: Some(runtime_min_max),
        timezone: None,
        failure_issue_threshold: None,
        recovery_threshold: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_is_rounded_up_to_minutes() {
        let minutes =
            |seconds| match Monitor::of_consumer("game", Duration::from_secs(seconds)).config.schedule {
                MonitorSchedule::Interval { value, unit: MonitorIntervalUnit::Minute } => value,
                other => panic!("{other:?}"),
            };
        assert_eq!([10, 60, 61, 3_600].map(minutes), [1, 1, 2, 60]);
    }
}
