//! Check-ins: signs of life of work that must not stop, for Sentry's cron monitors.
//!
//! A check-in brings the settings of its monitor, so nobody has to create the monitor before. Its envelope goes before spans,
//! logs and metrics. A process that is gone sends nothing, and that is what its monitor reports.

use std::time::Duration;

use sentry::protocol::{
    MonitorCheckIn, MonitorCheckInStatus, MonitorConfig, MonitorIntervalUnit, MonitorSchedule,
};
use sentry::{Envelope, Hub};

/// Minutes after which a check-in that is due counts as missed. Sentry cuts the time at which it is due to the minute, so a margin
/// of one minute would leave only seconds for a late one.
const MARGIN_MINUTES: u64 = 2;
/// Minutes that one run may last. A check-in of ours has no duration.
const RUNTIME_MINUTES_MAX: u64 = 1;

/// A monitor to check in at.
#[derive(Debug, Clone)]
pub struct Monitor {
    slug: String,
    config: MonitorConfig,
}

impl Monitor {
    /// The monitor of a consumer group, whose members check in at this interval.
    ///
    /// Sentry counts in minutes, so the interval of the monitor is rounded up to whole minutes.
    pub fn of_consumer(group: &str, interval: Duration) -> Self {
        let minutes = interval.as_secs().div_ceil(60).max(1);
        let config = MonitorConfig {
            schedule: MonitorSchedule::Interval { value: minutes, unit: MonitorIntervalUnit::Minute },
            checkin_margin: Some(MARGIN_MINUTES),
            max_runtime: Some(RUNTIME_MINUTES_MAX),
            timezone: None,
            failure_issue_threshold: None,
            recovery_threshold: None,
        };
        Self { slug: format!("consumer-{group}"), config }
    }

    /// Name of the monitor in Sentry.
    pub fn slug(&self) -> &str {
        &self.slug
    }

    /// Tells Sentry that the work goes on. It never waits, and does nothing in a process that sends no telemetry.
    pub fn check_in(&self) {
        let Some(client) = Hub::current().client() else { return };
        let check_in = MonitorCheckIn {
            check_in_id: uuid::Uuid::new_v4(),
            monitor_slug: self.slug.clone(),
            status: MonitorCheckInStatus::Ok,
            environment: client.options().environment.as_deref().map(str::to_owned),
            duration: None,
            monitor_config: Some(self.config.clone()),
        };
        client.send_envelope(Envelope::from(check_in));
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
