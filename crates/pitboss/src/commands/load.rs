//! `pitboss load`: sends bets at a given rate, with a live line. Reports percentiles, errors by kind, memory, and whether every
//! settled bet became a complete trace.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use futures::stream::{self, StreamExt};
use tokio::sync::mpsc;

use crate::commands::Context;
use crate::load_generator::driver;
use crate::load_generator::load_report::{Outcome, Tally, Traces};
use crate::load_generator::losses::Losses;
use crate::load_generator::plan::{Plan, prepare};
use crate::output::Output;
use crate::player::{Gateway, Player};
use crate::target::{Target, TargetArgs};
use crate::trace::edges;
use crate::trace::recorder::fetch_complete_bet;

/// Interval at which the live line is drawn.
const LIVE_INTERVAL: Duration = Duration::from_millis(500);
/// Capacity of the queue of outcomes that are not counted yet.
const OUTCOMES_MAX: usize = 8_192;
/// Time limit after the load for all traces together to be complete.
const TRACE_DEADLINE: Duration = Duration::from_secs(30);
/// Number of traces that are fetched at the same time.
const TRACES_AT_ONCE: usize = 4;
/// Number of defects that are shown.
const DEFECTS_SHOWN: usize = 5;

/// Arguments of `load`.
#[derive(Debug, Args)]
pub struct LoadArgs {
    /// Platform that the load is sent to
    #[command(flatten)]
    pub target: TargetArgs,
    /// Bets a second, sent at fixed times (open loop). `max` lets each player send one bet after the other
    #[arg(long, default_value = "100", value_parser = parse_rate)]
    rate: Rate,
    /// Time for which bets are sent, in seconds
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    duration_s: u64,
    /// Warm-up in seconds. Its latencies are reported separately because a fresh broker is still compiling, its errors and
    /// traces count
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    warm_up_s: u64,
    /// Number of players that share the bets
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    players: u16,
    /// Stake of each bet, in minor units
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    stake_minor: i64,
    /// The players' currency
    #[arg(long, default_value = "EUR")]
    currency: String,
    /// File of the players and their session tokens: read if it exists, written otherwise
    #[arg(long, value_name = "FILE")]
    players_file: Option<PathBuf>,
    /// Do not check in the recorder that every settled bet produced a complete trace
    #[arg(long)]
    no_traces: bool,
}

/// A rate in bets a second, or as fast as possible.
#[derive(Clone, Copy, Debug)]
pub struct Rate(Option<f64>);

fn parse_rate(text: &str) -> Result<Rate, String> {
    if text == "max" {
        return Ok(Rate(None));
    }
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= 100_000.0 => Ok(Rate(Some(rate))),
        _ => Err("expected a number of bets a second, or `max`".to_owned()),
    }
}

impl LoadArgs {
    /// Runs the load. Exit code 0 only if no bet failed, every settled bet has a complete trace, and no telemetry was lost.
    pub async fn run(&self, context: &Context) -> Result<ExitCode> {
        let (target, output) = (context.target(&self.target).await?, &context.output);
        let warm_up = Duration::from_secs(self.warm_up_s);
        let plan = Plan {
            rate_per_s: self.rate.0,
            duration: Duration::from_secs(self.duration_s),
            players: usize::from(self.players),
            stake_minor: self.stake_minor,
            currency: self.currency.clone(),
        };
        let with_warm_up = Plan { duration: warm_up + plan.duration, ..plan.clone() };
        let gateway = Gateway::new(&target.gateway_url, target.operator_token.clone())?;
        let players = players(&gateway, &with_warm_up, self.players_file.as_deref(), output).await?;

        let lost_before = if self.no_traces { None } else { Some(Losses::read(&target).await?) };
        let mut warmed = None;
        if !warm_up.is_zero() {
            let plan = Plan { duration: warm_up, ..plan.clone() };
            warmed = Some(send(&gateway, &players, &plan, output).await);
        }
        let started = Instant::now();
        let tally = send(&gateway, &players, &plan, output).await;

        let mut report = tally.report(plan.rate_per_s, started.elapsed());
        report.warm_up = warmed.as_ref().map(|warmed| warmed.report(plan.rate_per_s, warm_up).into());
        report.memory_bytes = target.memory_bytes()?;
        if let Some(lost_before) = lost_before {
            let warmed_ids = warmed.into_iter().flat_map(|warmed| warmed.trace_ids);
            let trace_ids: Vec<String> = warmed_ids.chain(tally.trace_ids).collect();
            let mut traces = check_traces(&target, output, &trace_ids).await?;
            traces.losses = Losses::read(&target).await?.since(&lost_before);
            report.traces = Some(traces);
        }
        if output.json {
            output.line(&serde_json::to_string(&report)?);
        } else {
            output.text(&report.to_string());
        }
        Ok(if report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Sends the plan's bets with a live line, and counts the outcomes. Returns when the last bet has ended.
async fn send(gateway: &Gateway, players: &[Player], plan: &Plan, output: &Output) -> Tally {
    send_each(gateway, players, plan, output, |_| {}).await
}

/// Like [`send`], and calls `on_outcome` for each outcome as it comes.
pub(super) async fn send_each(
    gateway: &Gateway,
    players: &[Player],
    plan: &Plan,
    output: &Output,
    mut on_outcome: impl FnMut(&Outcome),
) -> Tally {
    let live = output.spinner("first bets");
    let (sender, mut outcomes) = mpsc::channel::<Outcome>(OUTCOMES_MAX);
    let mut tally = Tally::default();
    let count = async {
        let mut drawn = Instant::now();
        while let Some(outcome) = outcomes.recv().await {
            on_outcome(&outcome);
            tally.add(outcome);
            if drawn.elapsed() >= LIVE_INTERVAL {
                live.set_message(tally.live_line());
                drawn = Instant::now();
            }
        }
    };
    tokio::join!(driver::run(gateway, players, plan, sender), count);
    live.finish_and_clear();
    tally
}

/// Reads the players from the file if it exists. Otherwise registers new ones and writes them to the file for the next run.
async fn players(
    gateway: &Gateway,
    plan: &Plan,
    file: Option<&Path>,
    output: &Output,
) -> Result<Vec<Player>> {
    if let Some(file) = file.filter(|f| f.exists()) {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let players: Vec<Player> = serde_json::from_str(&text)
            .with_context(|| format!("{} is not a file of players", file.display()))?;
        let count = players.len();
        if count != plan.players {
            bail!("{} has {count} players: use --players {count}, or name another file", file.display());
        }
        for player in &players {
            // The stakes of all bets of a player are half of its deposit.
            if gateway.balance(player, &plan.currency).await.unwrap_or(0) < plan.deposit_minor() / 2 {
                gateway.deposit(player, plan.deposit_minor(), &plan.currency).await?;
            }
        }
        return Ok(players);
    }
    let players = register(gateway, plan, output).await?;
    if let Some(file) = file {
        std::fs::write(file, serde_json::to_string(&players)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(players)
}

/// Registers players with enough money for all bets of the plan, with a bar of progress.
pub(super) async fn register(gateway: &Gateway, plan: &Plan, output: &Output) -> Result<Vec<Player>> {
    let bar = output.progress(plan.players as u64, "registering players");
    let players = prepare(gateway, plan, || bar.inc(1)).await.context("cannot register the players")?;
    bar.finish_and_clear();
    Ok(players)
}

/// Looks in the recorder for the trace of each settled bet, and waits for [`TRACE_DEADLINE`] until all are complete.
pub(super) async fn check_traces(target: &Target, output: &Output, trace_ids: &[String]) -> Result<Traces> {
    let bar = output.progress(trace_ids.len() as u64, "checking the traces");
    let mut traces = Traces { answered: trace_ids.len(), ..Traces::default() };
    // A trace that is incomplete at the deadline is fetched once more, without waiting.
    let until = Instant::now() + TRACE_DEADLINE;
    let mut checks = stream::iter(trace_ids)
        .map(|id| async move {
            let found = fetch_complete_bet(
                target.http(),
                &target.recorder_url,
                id,
                until.saturating_duration_since(Instant::now()),
            )
            .await;
            let defects = match found {
                Ok(trace) => edges::findings(&trace),
                Err(error) => vec![error.to_string()],
            };
            (id, defects)
        })
        .buffer_unordered(TRACES_AT_ONCE);
    while let Some((id, defects)) = checks.next().await {
        bar.inc(1);
        match defects.first() {
            None => traces.complete += 1,
            Some(first) if traces.first_defects.len() < DEFECTS_SHOWN => {
                traces.first_defects.push(format!("{id}: {first}"))
            }
            Some(_) => {}
        }
    }
    bar.finish_and_clear();
    Ok(traces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_is_a_positive_number_or_max() {
        assert!(matches!(parse_rate("max"), Ok(Rate(None))));
        assert!(matches!(parse_rate("12.5"), Ok(Rate(Some(r))) if (r - 12.5).abs() < f64::EPSILON));
        for invalid in ["0", "-1", "fast", "", "1e9", "nan"] {
            assert!(parse_rate(invalid).is_err(), "{invalid}");
        }
    }
}
