//! The control of a row: the same work without the fault, after a rest.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use faults::{Scope, Values};

use super::super::phase::{Phase, Session, Until};
use super::super::receipts::Receipts;
use super::super::watch::Seen;
use super::super::{Means, Reach, Row, Workload};
use super::{PICK_UP, Quiet, Runner, ready};
use crate::evidence::{Evidence, Window};
use crate::player::Player;

/// Time without evidence that counts as rest, and the longest wait for it.
const REST: Duration = Duration::from_secs(2);
const REST_MAX: Duration = Duration::from_secs(30);
/// Rest before a row whose evidence is lag, which lagwatch reads every 3 s and sends every 5 s.
const LAG_REST: Duration = Duration::from_secs(6);
/// Rest before a row whose evidence is a report of losses, which a sender sends up to 9 s after the receiver answers again.
const REPORT_REST: Duration = Duration::from_secs(10);
/// Controls of a row. What the row before left behind may last into the first one.
const CONTROLS_MAX: u32 = 2;
/// Pause before players are prepared again, or a control is repeated.
const AGAIN_AFTER: Duration = Duration::from_secs(3);
/// A player and a release that do not exist.
const NOBODY: &str = "00000000-0000-4000-8000-000000000000";
const NO_RELEASE: &str = "pitboss@0.0.0+none";

/// The players of a row and the control that they played.
pub(super) struct Control {
    pub(super) players: Vec<Player>,
    pub(super) phase: Phase,
    /// Signals of this row in the control.
    pub(super) seen: Seen,
    /// Alert conditions that this control met, or an earlier one that was repeated.
    pub(super) false_alarms: Vec<&'static str>,
    /// Number of times that the fault was applied in this control, in which it may be armed for traffic that does not exist.
    pub(super) acted: u64,
    is_shared: bool,
}

impl Control {
    /// Describes the result of the control.
    pub(super) fn text(&self) -> String {
        match &self.seen.held {
            Some((sighting, _)) => sighting.place.clone(),
            None if self.acted > 0 => format!("the fault was applied {} times", self.acted),
            None => {
                let Phase { units, failed, .. } = self.phase;
                let shared = if self.is_shared { ", the recovery of the row before" } else { "" };
                format!("clean in {units} units, {failed} not answered with 200{shared}")
            }
        }
    }
}

impl Runner<'_> {
    /// The control: the work without the fault. The last phase of the row before is used, if it did the same work for at least
    /// as long and shows nothing of this row.
    pub(super) async fn control(&mut self, row: &Row, phase: &impl Fn(&str)) -> Result<Control> {
        if let Some(last) = self.quiet.take()
            && last.serves(row)
        {
            let seen = Seen::in_observation(row, &last.phase.observation);
            if seen.held.is_none() && seen.alarms(row).is_empty() {
                let false_alarms = seen.alerts.iter().map(|(id, _)| *id).collect();
                let (players, phase) = (last.players, last.phase);
                return Ok(Control { players, phase, seen, false_alarms, acted: 0, is_shared: true });
            }
        }
        phase("preparing players");
        let players = self.prepare(row.workload).await?;
        let (mut false_alarms, mut number): (Vec<&'static str>, u32) = (Vec::new(), 0);
        loop {
            number += 1;
            phase("resting");
            self.rest(row).await?;
            phase("control");
            let (found, acted) = self.without_fault(row, &players).await?;
            let alarms = found.seen.alerts.iter().map(|(id, _)| *id);
            false_alarms.extend(alarms.filter(|id| !false_alarms.contains(id)).collect::<Vec<_>>());
            let is_fit = found.is_served() && found.seen.alarms(row).is_empty();
            // Evidence that holds without the fault is noise, however often the control is repeated. So is a fault that acts on
            // traffic outside its scope, also if that fails most of the work.
            let is_noise = found.seen.held.is_some() || acted > 0;
            if is_fit || is_noise || number >= CONTROLS_MAX {
                let seen = found.seen.clone();
                let Phase { units, failed, .. } = found;
                let is_usable = is_noise || found.is_served();
                ensure!(is_usable, "without the fault {failed} of {units} units failed");
                return Ok(Control { players, phase: found, seen, false_alarms, acted, is_shared: false });
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    /// The players of the work. The platform gets a second chance, as the row before may have restarted a part.
    async fn prepare(&self, workload: Workload) -> Result<Vec<Player>> {
        let Means { target, gateway } = self.means;
        ready(target, Instant::now()).await?;
        match workload.prepare(gateway).await {
            Ok(players) => Ok(players),
            Err(_) => {
                tokio::time::sleep(AGAIN_AFTER).await;
                ready(target, Instant::now()).await?;
                workload.prepare(gateway).await
            }
        }
    }

    /// Does the work without the fault. A fault for one player or release is armed for another one, and must not act. Returns how
    /// often it did, too.
    async fn without_fault(&self, row: &Row, players: &[Player]) -> Result<(Phase, u64)> {
        let Some(scope) = decoy(row) else {
            return Ok((self.quiet_phase(row, players).await?, 0));
        };
        let Means { target, .. } = self.means;
        let before = Receipts::read(target, row.fault).await?;
        let values = Values::new(row.fault, row.params.iter().copied())?;
        self.arm_for(row, scope, values)?;
        tokio::time::sleep(PICK_UP).await;
        let phase = self.quiet_phase(row, players).await;
        self.flags.disarm(row.fault)?;
        let acted = Receipts::read(target, row.fault).await?.since(&before);
        Ok((phase?, acted))
    }

    async fn quiet_phase(&self, row: &Row, players: &[Player]) -> Result<Phase> {
        let mut session = Session::open(self.means, row, None).await?;
        let figures = session.run(players, self.seed, Until::Quiet).await?;
        Ok(session.close(figures))
    }

    /// Waits until nothing of the row's evidence and alerts arrives any more. After [`REST_MAX`] the control decides.
    async fn rest(&self, row: &Row) -> Result<()> {
        let rest = row.evidence.signals().into_iter().map(rest_for).max().unwrap_or(REST);
        let began = Instant::now();
        while began.elapsed() < REST_MAX {
            let mut window = Window::open(self.means.target).await?.for_evidence(&row.evidence);
            tokio::time::sleep(rest).await;
            let seen = Seen::in_observation(row, window.read().await?);
            if seen.held.is_none() && seen.alarms(row).is_empty() {
                break;
            }
        }
        Ok(())
    }
}

impl Quiet {
    /// Returns true if the phase can be the control of a row: it did the same work, and read for as long and as much as its control
    /// would.
    fn serves(&self, row: &Row) -> bool {
        let read_all = self.read_monitors || !row.evidence.reads_monitors();
        self.workload == row.workload && self.waited >= row.quiet() && read_all && decoy(row).is_none()
    }
}

/// Traffic that does not exist, for a fault that has to act on one player or release alone.
fn decoy(row: &Row) -> Option<Scope> {
    match row.reach {
        Reach::Usual | Reach::Share(_) => None,
        Reach::Player => Some(Scope::Player(NOBODY.to_owned())),
        Reach::Release => Some(Scope::Release(NO_RELEASE.to_owned())),
    }
}

/// Time without a signal after which nothing of it is on its way any more.
fn rest_for(signal: &Evidence) -> Duration {
    match signal {
        Evidence::Lag { .. } => LAG_REST,
        Evidence::ClientReport { .. } => REPORT_REST,
        _ => REST,
    }
}

#[cfg(test)]
mod tests {
    use faults::FaultId;

    use super::*;
    use crate::evidence::Observation;
    use crate::verify::{Figures, row, rows};

    fn quiet(waited_s: u64, read_monitors: bool) -> Quiet {
        let phase = Phase {
            units: 10,
            failed: 0,
            figures: Figures::default(),
            first_ended: None,
            observation: Observation::default(),
            seen: Seen::default(),
        };
        let workload = row(FaultId::ConsumerStuck).workload;
        Quiet { workload, players: Vec::new(), waited: Duration::from_secs(waited_s), read_monitors, phase }
    }

    /// Otherwise a control could be clean only because it did not read what the row is about, or not for long enough.
    #[test]
    fn shared_control_has_read_what_the_row_reads() {
        let stuck = row(FaultId::ConsumerStuck);
        let missed = rows().into_iter().find(|row| row.evidence.reads_monitors()).unwrap();
        assert_eq!(missed.workload, stuck.workload, "they share their work");
        assert!(quiet(20, false).serves(&stuck) && quiet(20, true).serves(&missed));
        assert!(!quiet(20, false).serves(&missed), "the monitors were not read");
        assert!(!quiet(10, false).serves(&stuck), "lag had no time to show");
        assert!(!quiet(20, true).serves(&Row { workload: Workload::Summaries { count: 1 }, ..stuck }));
    }

    #[test]
    fn rest_is_as_long_as_a_late_signal_needs() {
        let rest = |fault| row(fault).evidence.signals().into_iter().map(rest_for).max();
        assert_eq!(rest(FaultId::UserUnauthorized), Some(REST));
        assert_eq!(rest(FaultId::ConsumerStuck), Some(LAG_REST));
        assert_eq!(rest(FaultId::SentryDown), Some(REPORT_REST));
    }

    #[test]
    fn fault_for_one_has_a_decoy() {
        let with_decoy: Vec<String> =
            rows().iter().filter(|row| decoy(row).is_some()).map(Row::name).collect();
        assert_eq!(with_decoy, ["user.unauthorized@player", "user.unauthorized@release"]);
        for row in rows() {
            if let Some(scope) = decoy(&row) {
                row.fault.definition().check_scope(&scope).unwrap();
            }
        }
        assert!(decoy(&row(FaultId::UserUnauthorized)).is_none());
    }
}
