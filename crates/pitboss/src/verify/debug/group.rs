//! The rows of the debug endpoints as one group: one control, one request after the other, one audit.
//!
//! Evidence is read beside the requests, so that no row waits for the one before. The trace of its answer tells whose it is. What a
//! row demands of the service is checked before the next request: it answers its probe, and a bet settles.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use contracts::debug::{DebugFault, SERVICES};
use contracts::parts::Part;
use faults::{Armed, FaultId, MoneyVerdict, Scope, Values};
use reqwest::StatusCode;
use time::OffsetDateTime;
use uuid::Uuid;

use super::expectation::{Scene, dumps, is_known};
use super::places::Places;
use super::{Answer, DebugRow, cause, request};
use crate::evidence::{Observation, ReportedEvent, Window, events_since};
use crate::flag_file::FlagFile;
use crate::player::{Gateway, Player};
use crate::target::Target;
use crate::verify::money;
use crate::verify::report::{Outcome, Seconds};
use crate::verify::verdict::{Facts, judge};

const CURRENCY: &str = "EUR";
const STAKE_MINOR: i64 = 100;
/// Deposit of the player. It covers the bets of all rows.
const DEPOSIT_MINOR: i64 = 10_000_000;
/// Fault that is armed during the requests, so that the events have to name it. It is for a player who does not exist, and never acts.
const ARMED: FaultId = FaultId::UserUnauthorized;
const NOBODY: &str = "00000000-0000-4000-8000-000000000000";
/// Time after which the armed fault expires, for a run that is killed.
const ARMED_MS_MAX: i64 = 900_000;
/// Time in which every service reads a changed flag file. Services look five times a second.
const PICK_UP: Duration = Duration::from_millis(500);
/// Time for which the control is read after its requests.
const CONTROL: Duration = Duration::from_secs(3);
/// Time after the last request in which all evidence has to arrive.
const DEADLINE: Duration = Duration::from_secs(20);
/// Time after which a service has not recovered. One whose process died is started again.
const RECOVERY_MAX: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// What a run needs.
#[derive(Clone, Copy, Debug)]
pub struct Stage<'a> {
    /// The platform, whose debug endpoints are on.
    pub target: &'a Target,
    /// Its gateway.
    pub gateway: &'a Gateway,
    /// Its armed faults.
    pub flags: &'a FlagFile,
    /// Causes another fault than the row's. No row may hold then.
    pub is_sabotage: bool,
}

/// A row whose request was answered.
#[derive(Debug)]
struct Caused {
    row: DebugRow,
    answer: Answer,
    /// The answer has the status of the fault that was asked for.
    is_exposed: bool,
    answered_at: Instant,
    /// Number of minidumps of the service before the request.
    dumps_before: usize,
    /// Moment of the first reading in which all expectations held.
    seen_at: Option<Instant>,
    recovered_after: Option<Duration>,
    duration: Duration,
}

/// Result of the control.
#[derive(Debug, Default)]
struct Control {
    /// Services whose debug endpoint took a request without the operator's token.
    open: Vec<Part>,
    seen: Observation,
}

/// What arrived after the requests.
#[derive(Debug, Default)]
struct Arrived {
    seen: Observation,
    /// The events as the recorder shows them.
    reported: Vec<ReportedEvent>,
}

/// Proves rows, one after the other, and calls `phase` with what it does.
///
/// # Errors
/// When the platform does not answer, or does not work before the first request. That says nothing about the rows.
pub async fn run(stage: Stage<'_>, rows: &[DebugRow], phase: impl Fn(&str)) -> Result<Vec<Outcome>> {
    let since = OffsetDateTime::now_utc();
    phase("preparing a player");
    let player = stage.gateway.register(CURRENCY).await?;
    stage.gateway.deposit(&player, DEPOSIT_MINOR, CURRENCY).await?;
    phase("control");
    let control = control(stage, rows, &player).await?;
    arm(stage.flags)?;
    let before = Window::open(stage.target).await?.since();
    let caused = cause_all(stage, rows, &player, &phase).await;
    stage.flags.disarm(ARMED)?;
    let (caused, seen) = caused?;
    phase("audit");
    let audit_found = money::audit(stage.target, since, MoneyVerdict::Unaffected).await?;
    let reported = events_since(stage.target, before).await?;
    let arrived = Arrived { seen, reported };
    let ended = caused.iter().map(|caused| outcome(caused, &control, &player, &arrived, audit_found));
    Ok(ended.chain(not_caused(rows, caused.len())).collect())
}

/// Results of the rows behind the first `caused` ones, which were not run any more.
fn not_caused(rows: &[DebugRow], caused: usize) -> impl Iterator<Item = Outcome> {
    let error = anyhow!("the platform did not work again after an earlier row");
    rows.iter().skip(caused).map(move |row| Outcome::unfinished_debug_row(*row, &error))
}

/// Requests without the operator's token, and a bet. None of them may cause what the rows look for.
async fn control(stage: Stage<'_>, rows: &[DebugRow], player: &Player) -> Result<Control> {
    let mut window = Window::open(stage.target).await?;
    let mut control = Control::default();
    for service in SERVICES {
        let Some(row) = rows.iter().copied().find(|row| row.service == service) else { continue };
        let answer = request::without_token(stage.target, row).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            control.open.push(service);
        }
    }
    ensure!(settles(stage, player).await, "no bet settles, although nothing was caused yet");
    tokio::time::sleep(CONTROL).await;
    window.read().await?;
    control.seen = window.into_seen();
    Ok(control)
}

fn arm(flags: &FlagFile) -> Result<()> {
    let expires_at_ms = Some(faults::now_ms().saturating_add(ARMED_MS_MAX));
    let scope = Scope::Player(NOBODY.to_owned());
    flags.arm(Armed { id: ARMED, scope, values: Values::defaults(ARMED), expires_at_ms })
}

/// Causes the fault of each row, and reads what arrives. Returns the rows and everything that was received.
async fn cause_all(
    stage: Stage<'_>,
    rows: &[DebugRow],
    player: &Player,
    phase: &impl Fn(&str),
) -> Result<(Vec<Caused>, Observation)> {
    tokio::time::sleep(PICK_UP).await;
    let mut window = Window::open(stage.target).await?;
    let mut all = Vec::with_capacity(rows.len());
    for (row, number) in rows.iter().zip(1..) {
        phase(&format!("{number}/{} {}", rows.len(), row.name()));
        if row.is_deadly() && !stage.is_sabotage {
            // The process takes with it what it has not sent yet of the earlier rows
            read_until(&mut window, &mut all, player, are_all_seen_or_late).await?;
        }
        let dumps_before = dumps(window.read().await?, row.service.as_str()).count();
        all.push(Caused { dumps_before, ..cause_one(stage, *row, player).await });
        note(&mut all, player, window.read().await?);
        if row.is_deadly() && !stage.is_sabotage {
            // The next minidump must be that of the next row. An earlier row that is not seen yet may wait for the end
            read_until(&mut window, &mut all, player, is_last_seen).await?;
        }
        if all.last().is_some_and(|caused| caused.recovered_after.is_none()) {
            // Each of the other rows would wait as long, and say nothing about its fault
            break;
        }
    }
    phase("reading");
    if !stage.is_sabotage {
        read_until(&mut window, &mut all, player, are_all_seen).await?;
    }
    // What arrives late could refute a row, and must not be missing when a row has to be red
    tokio::time::sleep(CONTROL).await;
    window.read().await?;
    Ok((all, window.into_seen()))
}

/// Reads until enough has arrived, or the deadline has passed.
async fn read_until(
    window: &mut Window<'_>,
    all: &mut [Caused],
    player: &Player,
    is_enough: fn(&[Caused]) -> bool,
) -> Result<()> {
    let until = Instant::now() + DEADLINE;
    while !is_enough(all) && Instant::now() < until {
        tokio::time::sleep(POLL_INTERVAL).await;
        note(all, player, window.read().await?);
    }
    Ok(())
}

fn are_all_seen(all: &[Caused]) -> bool {
    all.iter().all(|caused| caused.seen_at.is_some())
}

/// Of a row that is late already, nothing more is expected.
fn are_all_seen_or_late(all: &[Caused]) -> bool {
    all.iter().all(|caused| caused.seen_at.is_some() || caused.answered_at.elapsed() >= DEADLINE)
}

fn is_last_seen(all: &[Caused]) -> bool {
    all.last().is_none_or(|caused| caused.seen_at.is_some())
}

/// Causes the fault of one row. A request without an answer is a row without exposure, and does not cost the other rows.
async fn cause_one(stage: Stage<'_>, row: DebugRow, player: &Player) -> Caused {
    let began = Instant::now();
    let asked = if stage.is_sabotage { row.other() } else { row };
    let answer = cause(stage.target, asked, &player.player_id).await;
    let answer = answer.unwrap_or_else(|error| Answer::missing(&error));
    let answered_at = Instant::now();
    let is_freed = asked.fault != DebugFault::MemoryLeak || frees(stage.target, asked).await;
    let recovered_after = if is_freed { recovery(stage, row, player).await } else { None };
    let is_exposed = asked.is_deadly() || answer.status == asked.fault.definition().status;
    let duration = began.elapsed();
    let (dumps_before, seen_at) = (0, None);
    Caused { row, answer, is_exposed, answered_at, dumps_before, seen_at, recovered_after, duration }
}

/// Frees what the fault leaked. Returns true if the service says that it did.
async fn frees(target: &Target, row: DebugRow) -> bool {
    request::release(target, row).await.is_ok_and(|answer| answer.status == StatusCode::OK)
}

/// Waits until the service answers its probe and a bet settles. Returns how long that took. A process that dies has ended by then,
/// because its request was answered by the end of its connection.
async fn recovery(stage: Stage<'_>, row: DebugRow, player: &Player) -> Option<Duration> {
    let began = Instant::now();
    loop {
        if is_ready(stage.target, row.service).await && settles(stage, player).await {
            return Some(began.elapsed());
        }
        if began.elapsed() >= RECOVERY_MAX {
            return None;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

async fn is_ready(target: &Target, service: Part) -> bool {
    let Some(url) = target.ops_url(service, "/readyz") else { return false };
    target.http().get(url).send().await.is_ok_and(|answer| answer.status().is_success())
}

async fn settles(stage: Stage<'_>, player: &Player) -> bool {
    let key = Uuid::new_v4().to_string();
    let answer = stage.gateway.bet(player, STAKE_MINOR, CURRENCY, &key).await;
    answer.is_ok_and(|answer| answer.result().is_ok_and(|result| result.outcome != "rejected"))
}

/// Notes the rows of which everything has arrived.
fn note(all: &mut [Caused], player: &Player, seen: &Observation) {
    let now = Instant::now();
    for caused in all.iter_mut().filter(|caused| caused.seen_at.is_none()) {
        if caused.scene(player, seen).missing().is_empty() {
            caused.seen_at = Some(now);
        }
    }
}

impl Caused {
    fn scene<'a>(&'a self, player: &'a Player, seen: &'a Observation) -> Scene<'a> {
        let (answer, player_id) = (&self.answer, player.player_id.as_str());
        let Self { row, dumps_before, .. } = *self;
        Scene { row, answer, player_id, armed: ARMED.as_str(), dumps_before, seen }
    }
}

fn outcome(
    caused: &Caused,
    control: &Control,
    player: &Player,
    arrived: &Arrived,
    audit_found: bool,
) -> Outcome {
    let Caused { row, answer, is_exposed, .. } = caused;
    let missing = caused.scene(player, &arrived.seen).missing();
    let places = Places::of(*row, answer.text("trace_id"), &arrived.reported);
    let is_seen = missing.is_empty() && !matches!(places, Places::Missing(_));
    let is_open = control.open.contains(&row.service);
    let facts = Facts {
        units: u64::from(*is_exposed),
        units_min: 1,
        applied: 1,
        applied_min: 1,
        control_held: is_known(*row, &control.seen),
        control_alarmed: false,
        control_acted: is_open,
        seen: is_seen,
        alerted: true,
        ended: caused.recovered_after.is_some(),
        witnesses_agree: true,
        audit_found,
        money: MoneyVerdict::Unaffected,
    };
    let why = if !*is_exposed {
        format!("the answer had the status {}: {}", answer.status, answer.text("detail").unwrap_or_default())
    } else if is_open {
        "the request was taken without the operator's token".to_owned()
    } else if facts.control_held {
        "its event was there without the request".to_owned()
    } else if let (true, Places::Missing(reason)) = (missing.is_empty(), &places) {
        reason.clone()
    } else if missing.is_empty() {
        String::new()
    } else {
        let texts: Vec<String> = missing.iter().map(ToString::to_string).collect();
        format!("missing: {}", texts.join(", "))
    };
    let after = caused.seen_at.map(|at| at.saturating_duration_since(caused.answered_at).as_secs_f64());
    let times = Seconds {
        time_to_signal_s: after,
        time_to_evidence_s: after,
        time_to_alert_s: None,
        recovery_s: caused.recovered_after.map(|took| took.as_secs_f64()),
    };
    Outcome {
        times,
        first_seen_in: is_seen
            .then(|| format!("an answer of {} and its trace{}", row.service, places.text())),
        trace_id: answer.text("trace_id").map(str::to_owned),
        control: if facts.control_held || is_open { "not clean" } else { "clean, shared" }.to_owned(),
        duration_s: caused.duration.as_secs_f64(),
        ..Outcome::of_debug_row(*row, judge(&facts), &facts, why)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{PLAYER, answer, event, observation, row};
    use super::*;
    use crate::verify::verdict::Verdict;

    fn caused(fault: DebugFault) -> Caused {
        Caused {
            row: row(fault),
            answer: answer(),
            is_exposed: true,
            answered_at: Instant::now(),
            dumps_before: 0,
            seen_at: None,
            recovered_after: Some(Duration::ZERO),
            duration: Duration::ZERO,
        }
    }

    fn player() -> Player {
        Player { player_id: PLAYER.to_owned(), token: String::new() }
    }

    fn seen(row: DebugRow) -> Observation {
        observation(row, vec![event(row)])
    }

    fn judged(caused: &Caused, control: &Control, seen: Observation, audit_found: bool) -> Outcome {
        outcome(caused, control, &player(), &Arrived { seen, reported: Vec::new() }, audit_found)
    }

    #[test]
    fn each_verdict_has_its_reason() {
        let (row, clean) = (row(DebugFault::Crash), Control::default());
        let of =
            |caused: Caused, control: &Control, audit_found| judged(&caused, control, seen(row), audit_found);
        let usual = || caused(DebugFault::Crash);
        let proven = of(usual(), &clean, false);
        assert_eq!((proven.result, proven.seen, proven.why.as_str()), (Verdict::Proven, true, ""));
        assert_eq!(proven.id, format!("debug.{}.crash", row.service));
        let refused = of(Caused { is_exposed: false, ..usual() }, &clean, false);
        assert_eq!(refused.result, Verdict::NotExposed);
        assert!(refused.why.contains("the status 500"), "{}", refused.why);
        let silent = Answer::missing(&anyhow::anyhow!("the gateway does not answer"));
        let unanswered = of(Caused { answer: silent, is_exposed: false, ..usual() }, &clean, false);
        assert_eq!((unanswered.result, unanswered.seen), (Verdict::NotExposed, false));
        assert!(unanswered.why.contains("does not answer"), "{}", unanswered.why);
        let open = Control { open: vec![row.service], ..Control::default() };
        assert_eq!(of(usual(), &open, false).result, Verdict::Noisy);
        let noisy = Control { seen: seen(row), ..Control::default() };
        assert_eq!(of(usual(), &noisy, false).result, Verdict::Noisy);
        let stuck = Caused { recovered_after: None, ..usual() };
        assert_eq!(of(stuck, &clean, false).result, Verdict::DidNotEnd);
        let wrong = of(usual(), &clean, true);
        assert_eq!((wrong.result, wrong.money), (Verdict::MoneyWrong, "findings"));
        let nothing = judged(&usual(), &clean, Observation::default(), false);
        assert_eq!((nothing.result, nothing.seen), (Verdict::NotVisible, false));
        assert!(nothing.why.starts_with("missing: transactions of gateway and service"), "{}", nothing.why);
    }

    /// As `--sabotage` does it: the row has to be red, and for the right reason.
    #[test]
    fn event_of_another_fault_is_not_visible() {
        let caused = caused(DebugFault::ErrorCustom);
        let other = observation(caused.row, vec![event(caused.row.other())]);
        let red = judged(&caused, &Control::default(), other, false);
        assert_eq!((red.result, red.seen, red.units), (Verdict::NotVisible, false, 1));
        assert!(red.why.contains("debug, sum-mismatch"), "{}", red.why);
    }

    #[test]
    fn rows_behind_one_that_did_not_end_are_not_finished() {
        let rows = [DebugFault::Crash, DebugFault::ErrorParse, DebugFault::ErrorUtf8].map(row);
        let left: Vec<Outcome> = not_caused(&rows, 1).collect();
        let ids: Vec<&str> = left.iter().map(|outcome| outcome.id.as_str()).collect();
        assert_eq!(ids, [rows[1].name(), rows[2].name()]);
        assert!(left.iter().all(|outcome| outcome.result == Verdict::Invalid && !outcome.seen));
        assert_eq!(not_caused(&rows, rows.len()).count(), 0);
    }

    #[test]
    fn row_is_seen_once_everything_is_there() {
        let mut all = [caused(DebugFault::Crash), caused(DebugFault::ErrorParse)];
        note(&mut all, &player(), &Observation::default());
        assert!(all.iter().all(|caused| caused.seen_at.is_none()));
        let crash = seen(all[0].row);
        note(&mut all, &player(), &crash);
        let first = all[0].seen_at;
        assert!(first.is_some() && all[1].seen_at.is_none());
        assert!(is_last_seen(&all[..1]) && !is_last_seen(&all) && !are_all_seen(&all));
        note(&mut all, &player(), &crash);
        assert_eq!(all[0].seen_at, first, "the first reading counts");
    }
}
