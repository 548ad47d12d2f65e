//! The phases of one row: rest, control, fault, recovery, audit.

mod control;
pub mod flow;
pub mod names;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use contracts::parts::Part;
use faults::{Acts, Armed, Scope, Values};
use runtime::control::Client;
use serde_json::Value;
use time::OffsetDateTime;

use super::money;
use super::phase::{Phase, Session, Until};
use super::receipts::Receipts;
use super::report::{Outcome, Seconds};
use super::verdict::{Facts, judge};
use super::{Arrives, Begins, Means, Reach, Row, Workload};
use crate::flag_file::FlagFile;
use crate::player::{Gateway, Player};
use crate::second_witness::{SecondWitness, Testimony};
use crate::target::{Target, silent_recorder};

use control::Control;
use flow::Flow;
use names::{Coverage, Sent};

/// Time in which every service reads a changed flag file. Services look five times a second.
const PICK_UP: Duration = Duration::from_millis(500);
/// Interval at which a condition of the platform is checked.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Longest wait for the supervisor to apply a fault. Tools of the broker need seconds.
const APPLY_MAX: Duration = Duration::from_secs(60);
/// Time after which a fault has not ended.
pub(crate) const RECOVERY_MAX: Duration = Duration::from_secs(90);
/// Time after which an armed fault expires, for a run that is killed.
const ARMED_MS_MAX: i64 = 300_000;

/// State that all rows of a run share.
#[derive(Debug)]
pub struct Runner<'a> {
    means: Means<'a>,
    flags: &'a FlagFile,
    seed: u64,
    /// The last phase without a fault. Nothing was armed since then.
    quiet: Option<Quiet>,
    /// Names that arrived since the run began.
    names: Sent,
    /// Last envelope of the row before, if every record of it is accounted for.
    accounted_to: Option<u64>,
    /// Time after which a fault has not ended.
    recovery_max: Duration,
    /// Witness that is asked for the traces of each row, too.
    second_witness: Option<&'a SecondWitness>,
}

/// A phase that showed no evidence of its row while nothing was armed.
#[derive(Debug)]
struct Quiet {
    workload: Workload,
    players: Vec<Player>,
    /// Time for which the recorder was read after the work.
    waited: Duration,
    /// The monitors of check-ins were read, too.
    read_monitors: bool,
    phase: Phase,
}

/// The fault's phase.
struct Fault {
    phase: Phase,
    applied: u64,
    off_at: Instant,
    /// Moment from which the time to a signal counts.
    from: Option<Instant>,
}

impl<'a> Runner<'a> {
    /// Begins a run: disarms all faults, and waits until no service has one.
    ///
    /// # Errors
    /// When the flag file cannot be written, or the recorder does not answer.
    pub async fn new(
        target: &'a Target,
        gateway: &'a Gateway,
        flags: &'a FlagFile,
        seed: u64,
    ) -> Result<Self> {
        if !flags.disarm_all()?.is_empty() {
            tokio::time::sleep(PICK_UP).await;
        }
        let means = Means { gateway, target };
        ready(target, Instant::now()).await?;
        let names = Sent::since(last_envelope(target).await?);
        Ok(Self {
            means,
            flags,
            seed,
            quiet: None,
            names,
            accounted_to: None,
            recovery_max: RECOVERY_MAX,
            second_witness: None,
        })
    }

    /// Asks a second witness for the traces that the evidence of each further row cites.
    pub fn ask_too(&mut self, second_witness: &'a SecondWitness) {
        self.second_witness = Some(second_witness);
    }

    /// Shortens the time after which a fault of further rows has not ended, for a test of one that does not end.
    pub fn shorten_recovery(&mut self, recovery_max: Duration) {
        self.recovery_max = recovery_max;
    }

    /// Puts a row through its phases, and calls `phase` with the name of each. Disarms the fault in any case.
    ///
    /// # Errors
    /// When the platform does not answer, which says nothing about the fault.
    pub async fn run(&mut self, row: &Row, phase: impl Fn(&str)) -> Result<Outcome> {
        let (began, since) = (Instant::now(), OffsetDateTime::now_utc());
        let records_since = self.records_since(row).await;
        let control = self.control(row, &phase).await?;

        phase("fault");
        let fault = self.fault(row, &control).await;
        self.flags.disarm(row.fault)?;
        let fault = fault?;

        phase("recovery");
        let (recovered, last) = self.recovery(row, &control.players, fault.off_at).await?;

        phase("audit");
        let verdict = row.fault.definition().money;
        let audit_found = money::audit(self.means.target, since, verdict).await?;
        let second_witness = match self.second_witness {
            Some(witness) => Some(witness.testify(&cited(&fault, &control)).await?),
            None => None,
        };
        let seen_after = fault
            .phase
            .seen
            .held
            .as_ref()
            .zip(fault.from)
            .map(|((_, at), from)| at.saturating_duration_since(from));
        let facts = Facts {
            units: control.phase.units.min(fault.phase.units).min(last.units),
            units_min: row.workload.units_min(),
            applied: fault.applied,
            applied_min: row.applied_min,
            control_held: control.seen.held.is_some(),
            control_alarmed: !control.seen.alarms(row).is_empty(),
            control_acted: control.acted > 0,
            seen: seen_after.is_some_and(|took| took <= row.deadline),
            alerted: fault.phase.seen.missing_alerts(row, fault.from).is_empty(),
            ended: recovered.is_some(),
            audit_found,
            money: verdict,
            witnesses_agree: second_witness.as_ref().is_none_or(Testimony::agrees),
        };
        let outcome = outcome(row, &facts, &control, &fault, recovered);
        let mut outcome = outcome.with_testimony(second_witness);
        if recovered.is_some() {
            self.quiet = Some(Quiet {
                workload: row.workload,
                players: control.players,
                waited: row.quiet(),
                read_monitors: row.evidence.reads_monitors(),
                phase: last,
            });
        }
        outcome.flow = self.flow(row, records_since).await;
        outcome.duration_s = began.elapsed().as_secs_f64();
        Ok(outcome)
    }

    /// Reads the names that arrived since the last call. What it cannot read is left for the next call.
    pub async fn read_names(&mut self) {
        self.names.read(self.means.target).await.ok();
    }

    /// Compares the names of all rows with the declared ones.
    pub async fn coverage(&mut self) -> Coverage {
        self.names.coverage(self.means.target).await
    }

    /// The last envelope before the records of a row. `None` if their flow cannot be proven.
    async fn records_since(&mut self, row: &Row) -> Option<u64> {
        let before = self.accounted_to.take();
        if flow::exempt(row.fault).is_some() || before.is_some() {
            return before;
        }
        last_envelope(self.means.target).await.ok()
    }

    /// The flow of a row's records. `None` if the recorder does not answer, because the verdict does not need it.
    async fn flow(&mut self, row: &Row, since: Option<u64>) -> Option<Flow> {
        if let Some(reason) = flow::exempt(row.fault) {
            return Some(Flow::without_proof(reason));
        }
        let (flow, accounted_to) = flow::read(self.means.target, since?).await.ok()?;
        self.accounted_to = accounted_to;
        Some(flow)
    }

    /// Arms the fault, does the work, and disarms it.
    async fn fault(&self, row: &Row, control: &Control) -> Result<Fault> {
        let Means { target, .. } = self.means;
        let before = Receipts::read(target, row.fault).await?;
        let early = match row.begins {
            Begins::Injected => Some(self.session(row, control).await?),
            Begins::Armed | Begins::Applied => None,
        };
        self.arm(row, control).await?;
        tokio::time::sleep(PICK_UP).await;
        match row.begins {
            Begins::Armed => {}
            Begins::Applied => applied(target, row, &before, 1).await?,
            Begins::Injected => applied(target, row, &before, row.applied_min).await?,
        }
        let began = Instant::now();
        let mut session = match early {
            Some(session) => session,
            None => self.session(row, control).await?,
        };
        if row.lasts_until_applied {
            session.repeat_until_applied(before.clone());
        }
        let until = if row.arrives == Arrives::WhileArmed { Until::Seen } else { Until::Worked };
        let figures = session.run(&control.players, self.seed, until).await?;
        if row.fault.definition().acts == Acts::Supervisor {
            // An action that takes its time, such as the restart of the broker, is not cut short.
            applied(target, row, &before, row.applied_min).await?;
        }
        // Read first, because a service that restarts when the fault ends begins to count again.
        let while_armed = Receipts::read(target, row.fault).await?.since(&before);
        self.flags.disarm(row.fault)?;
        let off_at = Instant::now();
        if row.arrives == Arrives::AfterTheEnd {
            session.follow().await?;
        }
        let phase = session.close(figures);
        let after = Receipts::read(target, row.fault).await?.since(&before);
        let told = Receipts::told(&phase.observation, row.fault);
        let from = match (row.arrives, row.begins) {
            (Arrives::AfterTheEnd, _) => Some(off_at),
            (Arrives::WhileArmed, Begins::Injected) => Some(began),
            (Arrives::WhileArmed, Begins::Armed | Begins::Applied) => phase.first_ended,
        };
        Ok(Fault { phase, applied: while_armed.max(after).max(told), off_at, from })
    }

    async fn session<'s>(&'s self, row: &'s Row, control: &Control) -> Result<Session<'s>> {
        Session::open(self.means, row, Some(&control.phase.figures)).await
    }

    async fn arm(&self, row: &Row, control: &Control) -> Result<()> {
        let mut params = row.params.to_vec();
        if let Some(service) = row.partition_of {
            let partition = control.phase.observation.busiest_partition(service);
            params.push((
                "partition",
                partition.context("the control handled no record of a known partition")?,
            ));
        }
        let scope = match row.reach {
            Reach::Usual => row.scope(),
            Reach::Share(percent) => Scope::SharePercent(percent),
            Reach::Player => {
                let player = control.players.first().context("the work of the row has no player")?;
                Scope::Player(player.player_id.clone())
            }
            Reach::Release => Scope::Release(release_of(self.means.target, row).await?),
        };
        self.arm_for(row, scope, Values::new(row.fault, params)?)
    }

    fn arm_for(&self, row: &Row, scope: Scope, values: Values) -> Result<()> {
        let expires_at_ms = Some(faults::now_ms().saturating_add(ARMED_MS_MAX));
        self.flags.arm_without(Armed { id: row.fault, scope, values, expires_at_ms }, row.ineffective)
    }

    /// Repeats the work until all parts are ready, most units succeed, and nothing is shown or raised. Returns the time from
    /// disarming to the first such repetition, and the last one.
    async fn recovery(
        &self,
        row: &Row,
        players: &[Player],
        off_at: Instant,
    ) -> Result<(Option<Duration>, Phase)> {
        tokio::time::sleep(PICK_UP).await;
        loop {
            let is_ready = ready(self.means.target, off_at).await?;
            let took = off_at.elapsed();
            let mut session = Session::open(self.means, row, None).await?;
            let figures = session.run(players, self.seed, Until::Clean).await?;
            let phase = session.close(figures);
            let is_clean = phase.seen.held.is_none() && phase.seen.alarms(row).is_empty();
            if is_ready && phase.is_served() && is_clean {
                return Ok((Some(took), phase));
            }
            if off_at.elapsed() >= self.recovery_max {
                return Ok((None, phase));
            }
        }
    }
}

/// Traces that the evidence of a row cites: of each of its signals that the control did not show, and of the evidence as a whole.
fn cited(fault: &Fault, control: &Control) -> Vec<String> {
    let is_quiet = |place: usize| control.seen.parts.get(place).is_none_or(Option::is_none);
    let seen = &fault.phase.seen;
    let parts = seen.parts.iter().enumerate().filter(|(place, _)| is_quiet(*place));
    let sightings = parts.filter_map(|(_, part)| part.as_ref()).chain(&seen.held);
    let ids: BTreeSet<String> = sightings.filter_map(|(sighting, _)| sighting.trace_id.clone()).collect();
    ids.into_iter().collect()
}

/// An answer of the recorder. One that does not answer is a missing resource (exit code 69).
async fn recorder(target: &Target, path: &str) -> Result<Value> {
    let url = format!("{}/api/v1/{path}", target.recorder_url);
    let answer = target.http().get(&url).send().await;
    let answer = answer.map_err(|error| silent_recorder(&target.recorder_url, error))?;
    Ok(answer.error_for_status()?.json().await?)
}

/// The last envelope that the recorder has.
async fn last_envelope(target: &Target) -> Result<u64> {
    let status = recorder(target, "status").await?;
    status["durable_seq"].as_u64().context("the recorder does not say its last envelope")
}

/// The release of the service that applies the fault.
async fn release_of(target: &Target, row: &Row) -> Result<String> {
    let services = row.fault.definition().services;
    let part = Part::SERVICES.iter().find(|part| services.contains(&part.as_str()));
    let url = part.and_then(|part| target.ops_url(*part, "/version"));
    let url =
        url.with_context(|| format!("the address of no service that applies {} is known", row.fault))?;
    let answer = target.http().get(url).send().await?.error_for_status()?;
    let version: Value = answer.json().await?;
    let release = version.get("release").and_then(Value::as_str);
    Ok(release.context("the service does not say its release")?.to_owned())
}

/// Waits until the fault was applied so many times. After [`APPLY_MAX`] the receipts decide.
pub(crate) async fn applied(target: &Target, row: &Row, before: &Receipts, times: u64) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < APPLY_MAX && Receipts::read(target, row.fault).await?.since(before) < times {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    Ok(())
}

/// Waits until all parts of the local platform are ready, at most until [`RECOVERY_MAX`] after a moment. Returns whether they are.
pub(crate) async fn ready(target: &Target, since: Instant) -> Result<bool> {
    let Some(layout) = target.layout() else { return Ok(true) };
    let client = Client::new(layout);
    loop {
        let is_ready = client.status().await?.all_ready();
        if is_ready || since.elapsed() >= RECOVERY_MAX {
            return Ok(is_ready);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

fn outcome(
    row: &Row,
    facts: &Facts,
    control: &Control,
    fault: &Fault,
    recovered: Option<Duration>,
) -> Outcome {
    let after = |at: &Instant| fault.from.map(|from| at.saturating_duration_since(from).as_secs_f64());
    let alert_at = row.expected_alerts().filter_map(|id| fault.phase.seen.alert_at(id));
    let (time_to_signal_s, first_seen_in, trace_id) = match fault.phase.seen.first_signal(&control.seen) {
        Some((sighting, at)) => (after(at), Some(sighting.place.clone()), sighting.trace_id.clone()),
        None => (None, None, None),
    };
    let held = fault.phase.seen.held.as_ref();
    let missing_alerts = fault.phase.seen.missing_alerts(row, fault.from);
    Outcome {
        control: control.text(),
        times: Seconds {
            time_to_signal_s,
            time_to_evidence_s: held.and_then(|(_, at)| after(at)),
            time_to_alert_s: alert_at.min().and_then(|at| after(&at)),
            recovery_s: recovered.map(|took| took.as_secs_f64()),
        },
        first_seen_in,
        trace_id: trace_id.or_else(|| held.and_then(|(sighting, _)| sighting.trace_id.clone())),
        shown: fault.phase.seen.kinds.clone(),
        blind: super::alerts::signals()
            .into_iter()
            .map(|signal| signal.name)
            .filter(|name| !fault.phase.seen.kinds.contains(name))
            .collect(),
        false_alarms: control.false_alarms.clone(),
        baseline: Some(control.phase.figures),
        under_fault: Some(fault.phase.figures),
        ..Outcome::judged(row, judge(facts), facts, missing_alerts)
    }
}
