//! `pitboss bet`: plays bets over HTTP and, on request, shows the trace of the last one.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;
use uuid::Uuid;

use crate::output::Output;
use crate::player::Gateway;
use crate::target::{Target, TargetArgs};
use crate::trace;

/// Time limit for the trace of one bet to be complete in the recorder.
pub const TRACE_DEADLINE: Duration = Duration::from_secs(15);

/// Registers a player, deposits, and plays one bet after the other.
#[derive(Debug, Args)]
pub struct BetArgs {
    /// Which platform
    #[command(flatten)]
    pub target: TargetArgs,
    /// What each bet stakes, in minor units (100 is 1.00 EUR)
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    stake_minor: i64,
    /// The player's currency
    #[arg(long, default_value = "EUR")]
    currency: String,
    /// How many bets
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    count: u32,
    /// Show the trace of the last bet
    #[arg(long)]
    trace: bool,
}

/// Plays the bets. Exit code 0 only if each was settled or rejected in time.
///
/// # Errors
/// When the platform is not up, or an answer is not a valid one.
pub async fn run(args: &BetArgs, target: &Target, output: &Output) -> Result<ExitCode> {
    let gateway = Gateway::new(&target.gateway_url, target.operator_token.clone())?;
    let player = gateway.register(&args.currency).await?;
    let deposit_minor = args.stake_minor.saturating_mul(i64::from(args.count)).saturating_mul(2);
    gateway.deposit(&player, deposit_minor, &args.currency).await?;

    let mut last_trace = None;
    for _ in 0..args.count {
        let started = std::time::Instant::now();
        let answer =
            gateway.bet(&player, args.stake_minor, &args.currency, &Uuid::new_v4().to_string()).await?;
        let took_ms = started.elapsed().as_secs_f64() * 1000.0;
        let result = answer.result()?;
        if output.json {
            let line = json!({ "bet": result, "player_id": player.player_id, "trace_id": answer.trace_id, "took_ms": took_ms });
            output.line(&line.to_string());
        } else {
            output.line(&format!(
                "{:<8} {:<24} stake {} payout {} balance {} {} · {took_ms:.1} ms · trace {}",
                result.outcome,
                result.reels.join(" "),
                args.stake_minor,
                result.payout_minor,
                result.balance_minor,
                args.currency,
                answer.trace_id.as_deref().unwrap_or("-"),
            ));
        }
        last_trace = answer.trace_id;
    }
    if args.trace {
        let trace_id = last_trace.context("the gateway named no trace (x-trace-id)")?;
        return super::trace::show(&trace_id, target, output, TRACE_DEADLINE, true).await;
    }
    Ok(ExitCode::SUCCESS)
}

/// Number of attempts at a bet that is answered in time, before `up` reports a problem.
const FIRST_BETS_MAX: usize = 3;

/// Plays one bet of a new player, for `up`, and returns its trace, which may be incomplete after [`TRACE_DEADLINE`].
///
/// # Errors
/// When a step fails, or nothing of the trace arrives in time.
pub async fn show_one(target: &Target) -> Result<trace::Trace> {
    let gateway = Gateway::new(&target.gateway_url, target.operator_token.clone())?;
    let player = gateway.register("EUR").await?;
    gateway.deposit(&player, 10_000, "EUR").await?;
    let mut answer = gateway.bet(&player, 100, "EUR", &Uuid::new_v4().to_string()).await?;
    for _ in 1..FIRST_BETS_MAX {
        if answer.result().is_ok() {
            break;
        }
        // The first bet of a cold broker may take longer than the gateway waits.
        answer = gateway.bet(&player, 100, "EUR", &Uuid::new_v4().to_string()).await?;
    }
    answer.result()?;
    let trace_id = answer.trace_id.context("the gateway named no trace (x-trace-id)")?;
    trace::fetch_whole_bet(target.http(), &target.recorder_url, &trace_id, TRACE_DEADLINE).await
}
