//! One phase of a row: does the work once, and reads the recorder meanwhile.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::figures::Usage;
use super::watch::{Seen, Watch};
use super::{Figures, Means, Progress, Row, Workload};
use crate::evidence::{Load, Observation, Window};
use crate::player::Player;

/// Interval at which the recorder is read.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Longest time after the work for which a phase without a fault is read. Longer deadlines are for faults that need time to act,
/// while telemetry arrives within this time.
const QUIET_MAX: Duration = Duration::from_secs(10);

/// Time after the work for which evidence has to go on holding that later records could refute, such as a second effect.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// Time after the work for which a phase without a fault is read.
pub(super) fn quiet(row: &Row) -> Duration {
    row.deadline.min(QUIET_MAX)
}

/// End of a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// The evidence holds and the work is done, or the row's deadline has passed.
    Seen,
    /// The work is done, and its telemetry has arrived.
    Quiet,
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
    /// 95th percentile of the control.
    control_p95_ms: Option<f64>,
    usage_before: Option<Usage>,
    began: Instant,
}

/// What a phase saw.
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
            control_p95_ms: control.map(|figures| figures.p95_ms),
            usage_before: means.target.layout().map(Usage::read),
            began: Instant::now(),
        })
    }

    /// Does the work, and reads the recorder until the phase is over.
    pub(super) async fn run(
        &mut self,
        workload: Workload,
        players: &[Player],
        seed: u64,
        until: Until,
    ) -> Result<Figures> {
        let Self { means, row, window, progress, watch, control_p95_ms, .. } = self;
        let (means, progress) = (*means, &*progress);
        let work = async {
            workload.run(means, players, seed, progress).await;
            (Instant::now(), means.target.layout().map(Usage::read))
        };
        let reading = read(window, watch, progress, row, *control_p95_ms, until);
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

/// Reads the recorder until the phase is over.
async fn read(
    window: &mut Window<'_>,
    watch: &mut Watch<'_>,
    progress: &Progress,
    row: &Row,
    control_p95_ms: Option<f64>,
    until: Until,
) -> Result<()> {
    loop {
        // Before the reading, so that the last reading covers the whole phase.
        let now = Instant::now();
        let is_late = progress.first_ended().is_some_and(|at| now >= at + row.deadline);
        let is_quiet = progress.all_ended().is_some_and(|at| now >= at + quiet(row));
        let has_ended = progress.all_ended().is_some();
        let is_settled = !row.evidence.can_be_refuted()
            || progress.all_ended().is_some_and(|at| now >= at + SETTLED_AFTER);
        window.set_load(load(progress, control_p95_ms));
        watch.note(window.read().await?, Instant::now());
        let is_over = match until {
            Until::Seen => is_late || (has_ended && ((watch.holds() && is_settled) || progress.units() == 0)),
            Until::Quiet => is_quiet,
            Until::Worked => has_ended,
        };
        if is_over {
            return Ok(());
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

fn load(progress: &Progress, control_p95_ms: Option<f64>) -> Load {
    let Figures { units, p95_ms, .. } = Figures::of(progress, None, Duration::ZERO);
    Load { units, failed: progress.failed(), p95_ms, control_p95_ms }
}
