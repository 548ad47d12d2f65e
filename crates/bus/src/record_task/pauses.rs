//! Pauses between the attempts at one record.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::RetryPolicy;
use crate::lane_activity::{HoldGuard, LaneActivity};
use crate::retry::Backoff;

/// Pauses between the attempts at one record, with the interval of its reports.
pub(super) struct Pauses<'a> {
    backoff: Backoff,
    alert_after: Duration,
    since: Instant,
    activity: &'a LaneActivity,
    /// Held from the first pause to the end of the record, because the lane then waits on purpose.
    holding: Option<HoldGuard<'a>>,
}

impl<'a> Pauses<'a> {
    pub(super) fn new(policy: &RetryPolicy, activity: &'a LaneActivity) -> Self {
        Self {
            backoff: policy.backoff.clone(),
            alert_after: policy.alert_after,
            since: Instant::now(),
            activity,
            holding: None,
        }
    }

    /// Returns true once per report interval.
    pub(super) fn alert_is_due(&mut self) -> bool {
        let due = self.since.elapsed() >= self.alert_after;
        if due {
            self.since = Instant::now();
        }
        due
    }

    /// Waits for the next attempt. Returns false when the record must be given back instead.
    pub(super) async fn pause(&mut self, cancellation: &CancellationToken) -> bool {
        self.holding.get_or_insert_with(|| self.activity.hold());
        let pause = self.backoff.next(rand::random());
        tokio::select! {
            biased;
            () = cancellation.cancelled() => false,
            () = tokio::time::sleep(pause) => true,
        }
    }
}
