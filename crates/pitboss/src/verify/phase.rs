//! One phase of a row: does the work once, and reads the recorder during it.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::figures::Usage;
use super::receipts::Receipts;
use super::watch::{Seen, Watch};
use super::{Figures, Means, Progress, Row};
use crate::evidence::{Load, Observation, Window};
use crate::player::Player;

/// Interval at which the recorder is read.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Time after which work is not begun again for a fault that was not applied.
const WORK_MAX: Duration = Duration::from_secs(60);

/// Time after the work for which evidence has to keep holding that later records could refute, such as a second effect.
const SETTLED_AFTER: Duration = Duration::from_secs(2);
/// A unit is slow if it takes this much longer than twice the p95 of the control.
const SLOW_SLACK_MS: f64 = 250.0;

/// End of a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// The evidence and the alert conditions hold and the work is done, or their deadlines have passed.
    Seen,
    /// The work is done, and its telemetry has arrived.
    Quiet,
    /// The same, or it is certain that the phase is not clean.
    Clean,
    /// The work is done.
    Worked,
}

/// A phase that runs.
#[derive(Debug)]
pub(super) struct Session<'a> {
    means: Means<'a>,
    row: &'a Row,
    window: Window<'a>,
    progress: Progress,
    watch: Watch<'a>,
    /// Figures of the control.
    control: Option<Figures>,
    /// Receipts before the fault, if the work is done again until it was applied.
    unapplied: Option<Receipts>,
    usage_before: Option<Usage>,
    began: Instant,
}

/// Observations of a phase.
#[derive(Clone, Debug)]
pub(super) struct Phase {
    pub(super) units: u64,
    pub(super) failed: u64,
    pub(super) figures: Figures,
    pub(super) first_ended: Option<Instant>,
    pub(super) observation: Observation,
    pub(super) seen: Seen,
}

impl Phase {
    /// Returns true if at least half of the units were answered with success, as without a fault.
    pub(super) fn is_served(&self) -> bool {
        self.failed.saturating_mul(2) <= self.units
    }
}

impl<'a> Session<'a> {
    /// Begins a phase: what reaches the recorder from now on counts.
    pub(super) async fn open(means: Means<'a>, row: &'a Row, control: Option<&Figures>) -> Result<Self> {
        let window = Window::open(means.target).await?.for_evidence(&row.evidence);
        Ok(Self {
            means,
            row,
            window,
            progress: Progress::default(),
            watch: Watch::new(row),
            control: control.copied(),
            unapplied: None,
            usage_before: means.target.layout().map(Usage::read),
            began: Instant::now(),
        })
    }

    /// Does the work again until the fault was applied as often as the row demands since `before`.
    pub(super) fn repeat_until_applied(&mut self, before: Receipts) {
        self.unapplied = Some(before);
    }

    /// Does the work, and reads the recorder until the phase is over.
    pub(super) async fn run(&mut self, players: &[Player], seed: u64, until: Until) -> Result<Figures> {
        let Self { means, row, window, progress, watch, control, unapplied, .. } = self;
        let (means, row, progress, unapplied) = (*means, *row, &*progress, unapplied.as_ref());
        let work = async {
            let began = Instant::now();
            loop {
                row.workload.run(means, players, seed, progress).await;
                let Some(before) = unapplied else { break };
                if began.elapsed() >= WORK_MAX || is_applied(means, row, before).await {
                    break;
                }
            }
            progress.finish();
            (Instant::now(), means.target.layout().map(Usage::read))
        };
        let reading = read(window, watch, progress, row, control.as_ref(), until);
        let ((worked_at, usage_after), read) = tokio::join!(work, reading);
        read?;
        let usage = self.usage_before.as_ref().zip(usage_after.as_ref());
        Ok(Figures::of(&self.progress, usage, worked_at.saturating_duration_since(self.began)))
    }

    /// Reads on after the work, until the evidence holds or the row's deadline has passed.
    pub(super) async fn follow(&mut self) -> Result<()> {
        let until = Instant::now() + self.row.deadline;
        loop {
            let now = Instant::now();
            self.watch.note(self.window.read().await?, now);
            if self.watch.holds() || now >= until {
                return Ok(());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Ends the phase.
    pub(super) fn close(self, figures: Figures) -> Phase {
        Phase {
            units: self.progress.units(),
            failed: self.progress.failed(),
            figures,
            first_ended: self.progress.first_ended(),
            observation: self.window.into_seen(),
            seen: self.watch.into_seen(),
        }
    }
}

/// Returns true if the receipts say that the fault was applied as often as the row demands.
async fn is_applied(means: Means<'_>, row: &Row, before: &Receipts) -> bool {
    let receipts = Receipts::read(means.target, row.fault).await;
    receipts.is_ok_and(|receipts| receipts.since(before) >= row.applied_min)
}

/// Reads the recorder until the phase is over.
async fn read(
    window: &mut Window<'_>,
    watch: &mut Watch<'_>,
    progress: &Progress,
    row: &Row,
    control: Option<&Figures>,
    until: Until,
) -> Result<()> {
    loop {
        // Before the reading, so that the last reading covers the whole phase.
        let now = Instant::now();
        let has_ended = progress.all_ended().is_some();
        let is_quiet = progress.all_ended().is_some_and(|at| now >= at + row.quiet());
        let times = Times::of(row, progress, now);
        window.set_load(load(progress, control));
        watch.note(window.read().await?, Instant::now());
        let is_over = match until {
            Until::Seen => times.is_decided(watch.holds(), watch.is_alerted()),
            Until::Quiet => is_quiet,
            Until::Clean => is_quiet || (has_ended && watch.is_spoilt()),
            Until::Worked => has_ended,
        };
        if is_over {
            return Ok(());
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Progress of the phase of a fault.
#[derive(Clone, Copy, Debug)]
struct Times {
    /// The work ended without a unit.
    is_empty: bool,
    /// The work ended, so long ago that evidence is not refuted any more.
    is_settled: bool,
    /// The deadline of the evidence has passed.
    is_late: bool,
    /// The deadline of the alert conditions has passed.
    is_alert_late: bool,
}

impl Times {
    fn of(row: &Row, progress: &Progress, now: Instant) -> Self {
        let settled_after = if row.evidence.can_be_refuted() { SETTLED_AFTER } else { Duration::ZERO };
        let is_after = |at: Option<Instant>, time: Duration| at.is_some_and(|at| now >= at + time);
        Self {
            is_empty: progress.all_ended().is_some() && progress.units() == 0,
            is_settled: is_after(progress.all_ended(), settled_after),
            is_late: is_after(progress.first_ended(), row.deadline),
            is_alert_late: is_after(progress.first_ended(), row.alert_deadline()),
        }
    }

    /// Returns true if nothing that arrives later changes the verdict. Evidence that holds in time waits for the alerts.
    fn is_decided(self, holds: bool, is_alerted: bool) -> bool {
        let is_over = match (holds, is_alerted) {
            (false, _) => self.is_late,
            (true, true) => self.is_late || self.is_settled,
            (true, false) => self.is_alert_late,
        };
        is_over || self.is_empty
    }
}

fn load(progress: &Progress, control: Option<&Figures>) -> Load {
    let Figures { units, p50_ms, .. } = Figures::of(progress, None, Duration::ZERO);
    let slow_ms = control.map_or(f64::INFINITY, |control| control.p95_ms * 2.0 + SLOW_SLACK_MS);
    let slow = progress.times_ms().iter().filter(|ms| **ms > slow_ms).count() as u64;
    let control_p50_ms = control.map(|control| control.p50_ms);
    Load { units, failed: progress.failed(), slow, p50_ms, control_p50_ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EARLY: Times = Times { is_empty: false, is_settled: false, is_late: false, is_alert_late: false };

    #[test]
    fn missing_evidence_ends_phase_at_deadline() {
        assert!(!EARLY.is_decided(false, false) && !EARLY.is_decided(false, true));
        assert!(!Times { is_settled: true, ..EARLY }.is_decided(false, true), "it may still arrive");
        assert!(Times { is_late: true, ..EARLY }.is_decided(false, true));
        assert!(Times { is_empty: true, ..EARLY }.is_decided(false, false), "nothing will arrive");
    }

    #[test]
    fn evidence_waits_for_the_alerts() {
        let worked = Times { is_settled: true, ..EARLY };
        assert!(!EARLY.is_decided(true, true) && worked.is_decided(true, true));
        assert!(!worked.is_decided(true, false));
        let late = Times { is_late: true, ..worked };
        assert!(!late.is_decided(true, false) && late.is_decided(true, true));
        assert!(Times { is_alert_late: true, ..late }.is_decided(true, false));
    }
}
