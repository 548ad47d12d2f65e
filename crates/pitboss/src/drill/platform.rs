//! The running platform as the stage of a drill.

mod compensation;
mod errors;
mod letters;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use contracts::Group;
use faults::{Armed, Values};
use time::OffsetDateTime;

use self::letters::Caused;
use super::addresses::Addresses;
use super::stage::{Audited, CausedErrors, Compensated, LettersDone, Moment, Normal, Stage, Watched};
use super::watcher::Watcher;
use super::{Break, LetterAction, Until};
use crate::alerts::Alerts;
use crate::audit;
use crate::commands::Context;
use crate::dlq::desk::Clerk;
use crate::evidence::{Evidence, Observation, Window};
use crate::flag_file::FlagFile;
use crate::lag::source::Source;
use crate::player::{Gateway, Player};
use crate::target::Target;
use crate::trace::{Trace, recorder};
use crate::verify::debug::DebugRow;
use crate::verify::receipts::Receipts;
use crate::verify::run::{RECOVERY_MAX, applied, ready};
use crate::verify::{Begins, Figures, Means, Progress, Row, Usage, Workload};

/// Time in which every service reads a changed flag file.
const PICK_UP: Duration = Duration::from_millis(500);
/// Time after work in which its telemetry arrives. Services send metrics every 5 s.
const ARRIVAL: Duration = Duration::from_secs(6);
/// Interval at which the recorder is read.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Pause between two repetitions of the work.
const REPEAT_AFTER: Duration = Duration::from_millis(100);
/// Time beyond a row's deadline for which its evidence is waited for. A person has no hurry.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time after which an armed fault expires, for a drill that is killed.
const ARMED_MS_MAX: i64 = 1_800_000;

/// A running platform.
pub(crate) struct Platform<'a> {
    context: &'a Context,
    means: Means<'a>,
    flags: &'a FlagFile,
    addresses: Addresses,
    seed: u64,
    began: OffsetDateTime,
    /// Players of each kind of work.
    players: Vec<(Workload, Vec<Player>)>,
    /// Observation of the last load without a fault.
    normal: Option<Observation>,
    armed: Option<ArmedFault<'a>>,
    /// Dead letters that this drill caused.
    caused: Caused,
    /// Client for dead letters, after the first action. The telemetry of a process starts only once.
    clerk: Option<Clerk>,
}

/// State of the armed fault.
struct ArmedFault<'a> {
    window: Window<'a>,
    receipts: Receipts,
    at: Instant,
}

impl<'a> Platform<'a> {
    /// The platform of `target`. `settings` are those of `.env` and of the terminal.
    pub(crate) fn new(
        context: &'a Context,
        (target, gateway): (&'a Target, &'a Gateway),
        flags: &'a FlagFile,
        settings: &BTreeMap<String, String>,
        seed: u64,
    ) -> Self {
        Self {
            context,
            means: Means { gateway, target },
            flags,
            addresses: Addresses::new(&target.recorder_url, settings),
            seed,
            began: OffsetDateTime::now_utc(),
            players: Vec::new(),
            normal: None,
            armed: None,
            caused: Caused::default(),
            clerk: None,
        }
    }

    /// Counts the dead letters of this group whose handler panicked among those that the drill caused.
    pub(crate) fn expect_panics(&mut self, group: Group) {
        self.caused.add_panics(group);
    }

    /// Sends what is pending of the traces of actions on dead letters.
    pub(crate) async fn close(self) {
        if let Some(clerk) = self.clerk {
            // Without its telemetry the traces are missing, and the actions still count.
            let _is_sent = clerk.close().await;
        }
    }

    /// Registers the players of this work, unless that was done before.
    async fn prepare(&mut self, workload: Workload) -> Result<()> {
        if !self.players.iter().any(|(known, _)| *known == workload) {
            let players = workload.prepare(self.means.gateway).await?;
            self.players.push((workload, players));
        }
        Ok(())
    }

    /// Values of the parameters. The partition of a fault is the one on which the load was before.
    fn values(&self, row: &Row) -> Result<Values> {
        let mut params = row.params.to_vec();
        if let Some(service) = row.partition_of {
            let partition = self.normal.as_ref().and_then(|normal| normal.busiest_partition(service));
            params.push(("partition", partition.context("the load reached no known partition")?));
        }
        Ok(Values::new(row.fault, params)?)
    }
}

impl Stage for Platform<'_> {
    async fn load(&mut self, workload: Workload) -> Result<Normal> {
        self.prepare(workload).await?;
        let (means, players) = (self.means, players_of(&self.players, workload)?);
        let mut window = Window::open(means.target).await?;
        let (progress, before, began) = (Progress::default(), usage(means.target), Instant::now());
        workload.run(means, players, self.seed, &progress).await;
        let figures = figures(&progress, before.as_ref(), means.target, began);
        arrive(&mut window).await?;
        let observation = window.into_seen();
        let trace_id = trace_of(&observation);
        self.normal = Some(observation);
        Ok(Normal { figures, trace_id })
    }

    async fn arm(&mut self, broken: &Break) -> Result<Values> {
        let (row, target) = (&broken.row, self.means.target);
        self.prepare(row.workload).await?;
        let values = self.values(row)?;
        let receipts = Receipts::read(target, row.fault).await?;
        let early = match row.begins {
            Begins::Injected => Some(Window::open(target).await?),
            Begins::Armed | Begins::Applied => None,
        };
        let at = Instant::now();
        let expires_at_ms = Some(faults::now_ms().saturating_add(ARMED_MS_MAX));
        let scope = broken.scope.clone();
        self.caused.add(row.fault);
        self.flags.arm(Armed { id: row.fault, scope, values: values.clone(), expires_at_ms })?;
        tokio::time::sleep(PICK_UP).await;
        match row.begins {
            Begins::Armed => {}
            Begins::Applied => applied(target, row, &receipts, 1).await?,
            Begins::Injected => applied(target, row, &receipts, row.applied_min).await?,
        }
        let window = match early {
            Some(window) => window,
            None => Window::open(target).await?,
        };
        let window = window.for_evidence(&row.evidence);
        self.armed = Some(ArmedFault { window, receipts, at });
        Ok(values)
    }

    async fn watch(
        &mut self,
        broken: &Break,
        until: Until,
        live: &mut dyn FnMut(&Moment),
    ) -> Result<Watched> {
        let row = &broken.row;
        let (means, seed) = (self.means, self.seed);
        let players = players_of(&self.players, row.workload)?;
        let armed = self.armed.as_mut().context("no fault was armed")?;
        // Lag is shown where lagwatch can be reached.
        let mut lag = Source::lagwatch(means.target).ok();
        let evidence_max = row.deadline + if row.is_slow { PATIENCE * 3 } else { PATIENCE };
        let target = means.target;
        let watcher = Watcher { evidence: &row.evidence, until, armed_at: armed.at, evidence_max, target };
        let (progress, before, began) = (Progress::default(), usage(means.target), Instant::now());
        let watched = tokio::select! {
            watched = watcher.watch(&mut armed.window, &mut lag, &progress, live) => watched?,
            () = work(means, row.workload, players, seed, &progress) => bail!("the load ended early"),
        };
        let figures = figures(&progress, before.as_ref(), means.target, began);
        let receipts = Receipts::read(means.target, row.fault).await.ok();
        let applied = receipts.map(|receipts| receipts.since(&armed.receipts));
        let mut watched = Watched { figures, applied, ..watched };
        if let Some(seen) = &mut watched.seen
            && let Some(trace_id) = &seen.trace_id
        {
            let trace = recorder::fetch(target.http(), &target.recorder_url, trace_id).await;
            seen.issue_id = trace.ok().flatten().as_ref().and_then(issue_of);
        }
        Ok(watched)
    }

    async fn shows(&mut self, evidence: &Evidence) -> Result<bool> {
        let armed = self.armed.as_mut().context("no fault was armed")?;
        Ok(evidence.find(armed.window.read().await?).is_some())
    }

    async fn heal(&mut self, broken: &Break) -> Result<Option<f64>> {
        let (row, means) = (&broken.row, self.means);
        self.flags.disarm(row.fault)?;
        self.armed = None;
        let off_at = Instant::now();
        tokio::time::sleep(PICK_UP).await;
        let players = players_of(&self.players, row.workload)?;
        while off_at.elapsed() < RECOVERY_MAX {
            ready(means.target, off_at).await?;
            let took = off_at.elapsed();
            let mut window = Window::open(means.target).await?.for_evidence(&row.evidence);
            row.workload.run(means, players, self.seed, &Progress::default()).await;
            if row.evidence.find(arrive(&mut window).await?).is_none() {
                return Ok(Some(took.as_secs_f64()));
            }
        }
        Ok(None)
    }

    async fn resolved(&mut self, rule: &'static str, within_s: u32) -> Result<Option<f64>> {
        let began = Instant::now();
        while began.elapsed().as_secs() < u64::from(within_s) {
            if Alerts::read(self.means.target).await?.firing(rule).is_none() {
                return Ok(Some(began.elapsed().as_secs_f64()));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(None)
    }

    async fn audit(&mut self) -> Result<Audited> {
        let report = compensation::audited(self.means.target, self.began).await?;
        let mut first = Vec::new();
        for check in &report.checks {
            let findings = check.findings.iter().take(audit::FINDINGS_SHOWN);
            first.extend(findings.map(|finding| format!("{}: {}", check.name, finding.what)));
        }
        first.truncate(audit::FINDINGS_SHOWN);
        Ok(Audited {
            is_clean: report.is_clean(),
            checked: report.checks.iter().map(|check| check.checked).sum(),
            violations: report.checks.iter().map(audit::Check::violations).sum(),
            first,
        })
    }

    async fn cause(&mut self, row: DebugRow) -> Result<CausedErrors> {
        errors::cause(self.means, row).await
    }

    async fn compensate(&mut self) -> Result<Compensated> {
        let players: Vec<&Player> = self.players.iter().flat_map(|(_, players)| players).collect();
        compensation::compensate(self.means, &players, self.began).await
    }

    async fn letters(&mut self, action: LetterAction) -> Result<LettersDone> {
        let window = Window::open(self.means.target).await?;
        let of_drill = (&mut self.clerk, &mut self.caused);
        letters::act(self.context, (self.began, window), of_drill, action).await
    }

    fn trace_addresses(&self, trace_id: &str) -> Vec<String> {
        self.addresses.trace(trace_id)
    }

    fn page_address(&self, path: &str) -> String {
        self.addresses.page(path)
    }
}

/// Repeats the work until the future is dropped.
async fn work(means: Means<'_>, workload: Workload, players: &[Player], seed: u64, progress: &Progress) {
    loop {
        workload.run(means, players, seed, progress).await;
        tokio::time::sleep(REPEAT_AFTER).await;
    }
}

fn players_of(players: &[(Workload, Vec<Player>)], workload: Workload) -> Result<&[Player]> {
    let found = players.iter().find(|(known, _)| *known == workload);
    found.map(|(_, players)| players.as_slice()).context("no player was registered for this work")
}

/// Reads until the telemetry of work that has ended has arrived.
async fn arrive<'w>(window: &'w mut Window<'_>) -> Result<&'w Observation> {
    let until = Instant::now() + ARRIVAL;
    while Instant::now() < until {
        window.read().await?;
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    window.read().await
}

fn usage(target: &Target) -> Option<Usage> {
    target.layout().map(Usage::read)
}

fn figures(progress: &Progress, before: Option<&Usage>, target: &Target, began: Instant) -> Figures {
    let after = usage(target);
    Figures::of(progress, before.zip(after.as_ref()), began.elapsed())
}

/// The issue of the first error in a trace.
fn issue_of(trace: &Trace) -> Option<String> {
    trace.errors.iter().find_map(|error| error["issue_id"].as_str().map(str::to_owned))
}

/// A request of a player, which is the root of the trace.
fn trace_of(seen: &Observation) -> Option<String> {
    let is_request = |transaction: &&crate::evidence::Transaction| {
        let segment = transaction.spans.first();
        transaction.service == "gateway" && segment.is_some_and(|segment| segment.op == "http.server")
    };
    seen.transactions.iter().rev().find(is_request).map(|transaction| transaction.trace_id.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::evidence::Transaction;

    fn transaction(service: &str, trace_id: &str, op: &str) -> Transaction {
        let trace = json!({ "trace_id": trace_id, "span_id": "1", "op": op });
        Transaction::read(service, &json!({ "contexts": { "trace": trace }, "spans": [] })).unwrap()
    }

    #[test]
    fn trace_begins_at_the_gateway() {
        let transactions = vec![
            transaction("gateway", "a", "http.server"),
            transaction("gateway", "b", "queue.process"),
            transaction("user", "c", "http.server"),
        ];
        let seen = Observation { transactions, ..Observation::default() };
        assert_eq!(trace_of(&seen).as_deref(), Some("a"));
        assert_eq!(trace_of(&Observation::default()), None);
    }

    #[test]
    fn issue_is_that_of_the_trace() {
        let read = |errors: serde_json::Value| -> Trace {
            serde_json::from_value(json!({ "trace_id": "ab", "errors": errors })).unwrap()
        };
        assert_eq!(issue_of(&read(json!([{ "issue_id": "cd" }, {}]))).as_deref(), Some("cd"));
        assert_eq!(issue_of(&read(json!([]))), None);
    }

    #[test]
    fn players_belong_to_their_work() {
        let player = Player { player_id: "p".to_owned(), token: "t".to_owned() };
        let (bets, deposits) =
            (Workload::Bets { count: 1, earlier_bets: 0 }, Workload::Deposits { count: 1 });
        let players = [(bets, vec![player])];
        assert_eq!(players_of(&players, bets).unwrap().len(), 1);
        assert!(players_of(&players, deposits).is_err());
    }
}
