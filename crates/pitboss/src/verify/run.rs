//! The phases of one row: rest, control, fault, recovery, audit.

use std::time::{Duration, Instant};

use anyhow::Result;
use faults::{Armed, MoneyVerdict, Scope, Values};
use time::OffsetDateTime;

use super::receipts::Receipts;
use super::report::Outcome;
use super::verdict::{Facts, Verdict, judge};
use super::{Progress, Row, Workload};
use crate::audit;
use crate::evidence::{Sighting, Window};
use crate::flag_file::FlagFile;
use crate::player::{Gateway, Player};
use crate::target::Target;

/// Time in which every service reads a changed flag file. Services look five times a second.
const PICK_UP: Duration = Duration::from_millis(500);
/// Interval at which the recorder is read.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Time without evidence that counts as rest, and the longest wait for it.
const REST: Duration = Duration::from_secs(2);
const REST_MAX: Duration = Duration::from_secs(30);
/// Time after which a fault has not ended.
const RECOVERY_MAX: Duration = Duration::from_secs(60);
/// Time after which an armed fault ends by itself, for a run that is killed.
const ARMED_MS_MAX: i64 = 300_000;

/// What all rows of a run share.
#[derive(Debug)]
pub struct Runner<'a> {
    target: &'a Target,
    gateway: &'a Gateway,
    flags: &'a FlagFile,
    seed: u64,
}

/// End of a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// The evidence holds and the work is done, or the row's deadline has passed.
    Seen,
    /// The work is done, and as much time has passed as the fault has to become visible.
    Quiet,
}

/// What one phase saw.
#[derive(Debug)]
struct Phase {
    units: u64,
    failed: u64,
    sighting: Option<Sighting>,
    /// Time from the end of the first unit to the evidence.
    seen_after: Duration,
}

impl<'a> Runner<'a> {
    /// Begins a run: disarms all faults, and waits until no service has one.
    ///
    /// # Errors
    /// When the flag file cannot be written.
    pub async fn new(
        target: &'a Target,
        gateway: &'a Gateway,
        flags: &'a FlagFile,
        seed: u64,
    ) -> Result<Self> {
        if !flags.disarm_all()?.is_empty() {
            tokio::time::sleep(PICK_UP).await;
        }
        Ok(Self { target, gateway, flags, seed })
    }

    /// Puts a row through its phases, and calls `phase` with the name of each. Disarms the fault in any case.
    ///
    /// # Errors
    /// When the platform does not answer, which says nothing about the fault.
    pub async fn run(&self, row: &Row, phase: impl Fn(&str)) -> Result<Outcome> {
        let began = Instant::now();
        let mut outcome = match row.workload {
            Some(workload) => self.phases(row, workload, phase).await?,
            None => Outcome::not_covered(row.fault),
        };
        outcome.duration_s = began.elapsed().as_secs_f64();
        Ok(outcome)
    }

    async fn phases(&self, row: &Row, workload: Workload, phase: impl Fn(&str)) -> Result<Outcome> {
        let since = OffsetDateTime::now_utc();
        phase("preparing players");
        let players = workload.prepare(self.gateway).await?;
        phase("resting");
        self.rest(row).await?;
        phase("control");
        let control = self.work(row, workload, &players, Until::Quiet).await?;

        phase("fault");
        let before = Receipts::read(self.target, row.fault).await?;
        let armed = self.armed_phase(row, workload, &players).await;
        self.flags.disarm(row.fault)?;
        let off_at = Instant::now();
        let armed = armed?;
        let applied = Receipts::read(self.target, row.fault).await?.since(&before);

        phase("recovery");
        tokio::time::sleep(PICK_UP).await;
        let (recovery, recovered_units) = self.recovery(row, workload, &players, off_at).await?;

        phase("audit");
        let money = row.fault.definition().money;
        let audit_found = self.audit(since, money).await?;
        let facts = Facts {
            units: control.units.min(armed.units).min(recovered_units),
            units_min: workload.units_min(),
            applied,
            control_held: control.sighting.is_some(),
            seen: armed.sighting.is_some() && armed.seen_after <= row.deadline,
            ended: recovery.is_some(),
            audit_found,
            money,
        };
        Ok(outcome(row, &facts, control, armed, recovery))
    }

    /// Waits until nothing of the row's evidence arrives any more. After [`REST_MAX`] the control decides.
    async fn rest(&self, row: &Row) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < REST_MAX {
            let mut window = Window::open(self.target).await?;
            tokio::time::sleep(REST).await;
            if row.evidence.find(window.read().await?).is_none() {
                break;
            }
        }
        Ok(())
    }

    /// Audits the records since the row began, because earlier findings say nothing about this fault. Returns true if the money is
    /// wrong. An audit with nothing to check is no proof that it is right.
    async fn audit(&self, since: OffsetDateTime, money: MoneyVerdict) -> Result<bool> {
        let options = audit::Options { since: Some(since), ..audit::Options::default() };
        let report = audit::run_with(&audit::Sources::of(self.target)?, &options).await?;
        Ok(match money {
            MoneyVerdict::Unaffected => !report.is_clean(),
            MoneyVerdict::Found => report.findings().next().is_some(),
        })
    }

    async fn armed_phase(&self, row: &Row, workload: Workload, players: &[Player]) -> Result<Phase> {
        let values = Values::new(row.fault, row.params.iter().copied())?;
        let expires_at_ms = Some(faults::now_ms().saturating_add(ARMED_MS_MAX));
        self.flags.arm(Armed { id: row.fault, scope: Scope::All, values, expires_at_ms })?;
        tokio::time::sleep(PICK_UP).await;
        self.work(row, workload, players, Until::Seen).await
    }

    /// Repeats the work until it shows nothing. Returns the time from disarming to the first such repetition, and its units.
    async fn recovery(
        &self,
        row: &Row,
        workload: Workload,
        players: &[Player],
        off_at: Instant,
    ) -> Result<(Option<Duration>, u64)> {
        loop {
            let took = off_at.elapsed();
            let phase = self.work(row, workload, players, Until::Quiet).await?;
            if phase.sighting.is_none() {
                return Ok((Some(took), phase.units));
            }
            if off_at.elapsed() >= RECOVERY_MAX {
                return Ok((None, phase.units));
            }
        }
    }

    /// Does the work once, and reads the recorder meanwhile.
    async fn work(&self, row: &Row, workload: Workload, players: &[Player], until: Until) -> Result<Phase> {
        let mut window = Window::open(self.target).await?;
        let progress = Progress::default();
        let work = workload.run(self.gateway, players, self.seed, &progress);
        let ((), seen) = tokio::join!(work, watch(&mut window, row, &progress, until));
        let (sighting, seen_at) = seen?.unzip();
        let since_first = seen_at.zip(progress.first_ended());
        let seen_after =
            since_first.map_or(Duration::ZERO, |(seen, first)| seen.saturating_duration_since(first));
        Ok(Phase { units: progress.units(), failed: progress.failed(), sighting, seen_after })
    }
}

/// Reads the recorder until the phase is over. Returns the evidence that holds then, and since when it does.
async fn watch(
    window: &mut Window<'_>,
    row: &Row,
    progress: &Progress,
    until: Until,
) -> Result<Option<(Sighting, Instant)>> {
    let mut seen: Option<(Sighting, Instant)> = None;
    loop {
        // Before the reading, so that the last reading covers the whole phase.
        let now = Instant::now();
        let has_passed = |since: Option<Instant>| since.is_some_and(|at| now >= at + row.deadline);
        let is_late = has_passed(progress.first_ended());
        let is_quiet = has_passed(progress.all_ended());
        let has_ended = progress.all_ended().is_some();
        seen = match (row.evidence.find(window.read().await?), seen) {
            (None, _) => None,
            (Some(_), Some(first)) => Some(first),
            (Some(sighting), None) => Some((sighting, Instant::now())),
        };
        let is_over = match until {
            Until::Seen => is_late || (has_ended && (seen.is_some() || progress.units() == 0)),
            Until::Quiet => is_quiet,
        };
        if is_over {
            return Ok(seen);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

fn outcome(row: &Row, facts: &Facts, control: Phase, armed: Phase, recovery: Option<Duration>) -> Outcome {
    let result = judge(facts);
    let control_text = match &control.sighting {
        Some(sighting) => sighting.place.clone(),
        None => format!("clean in {} units, {} not answered with 200", control.units, control.failed),
    };
    let money = match (facts.audit_found, facts.money) {
        (false, MoneyVerdict::Unaffected) => "nothing found",
        (true, MoneyVerdict::Found) => "found, as it has to be",
        (true, MoneyVerdict::Unaffected) => "findings",
        (false, MoneyVerdict::Found) => "missed",
    };
    let time_to_signal_s = armed.sighting.as_ref().map(|_| armed.seen_after.as_secs_f64());
    let (first_seen_in, trace_id) =
        armed.sighting.map_or((None, None), |sighting| (Some(sighting.place), sighting.trace_id));
    Outcome {
        id: row.fault.as_str(),
        result,
        time_to_signal_s,
        first_seen_in,
        trace_id,
        units: facts.units,
        applied: facts.applied,
        control: control_text,
        recovery_s: recovery.map(|took| took.as_secs_f64()),
        money: money.to_owned(),
        why: why(result, row, facts),
        duration_s: 0.0,
    }
}

/// Reason of the verdict, and what to do about it. Empty for a proven row.
fn why(result: Verdict, row: &Row, facts: &Facts) -> String {
    let Facts { units, units_min, applied, .. } = facts;
    match result {
        Verdict::Proven => String::new(),
        Verdict::NotVisible => {
            format!("applied {applied} times, but not within {} s: {}", row.deadline.as_secs(), row.evidence)
        }
        Verdict::Noisy => "the evidence held without the fault, so it proves nothing".to_owned(),
        Verdict::DidNotEnd => format!("the evidence still held {} s after disarming", RECOVERY_MAX.as_secs()),
        Verdict::MoneyWrong => {
            "the money audit differs from what this fault may do: ./pitboss audit".to_owned()
        }
        Verdict::NotExposed => format!("only {units} of {units_min} units of work ended in a phase"),
        Verdict::Invalid => {
            "no service counted the fault as applied: see its log and ./pitboss fault status".to_owned()
        }
    }
}
