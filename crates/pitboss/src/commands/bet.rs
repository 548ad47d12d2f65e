//! `pitboss bet`: plays bets over HTTP and, on request, shows the trace of the last one.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::json;
use uuid::Uuid;

use crate::commands::Context;
use crate::player::Gateway;
use crate::target::{Target, TargetArgs};
use crate::trace::Trace;
use crate::trace::recorder::{BET_DEADLINE, fetch_complete_bet};

/// Arguments of `bet`, which registers a player, deposits, and plays one bet after the other.
#[derive(Debug, Args)]
pub struct BetArgs {
    /// Platform that the bets are played on
    #[command(flatten)]
    pub target: TargetArgs,
    /// Stake of each bet, in minor units (100 is 1.00 EUR)
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    stake_minor: i64,
    /// The player's currency
    #[arg(long, default_value = "EUR")]
    currency: String,
    /// Number of bets
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    count: u32,
    /// Show the trace of the last bet
    #[arg(long)]
    trace: bool,
}

impl BetArgs {
    /// Plays the bets. Exit code 0 only if each was settled or rejected in time.
    pub async fn run(&self, context: &Context) -> Result<ExitCode> {
        let (target, output) = (context.target(&self.target).await?, &context.output);
        let gateway = Gateway::new(&target.gateway_url, target.operator_token.clone())?;
        let player = gateway.register(&self.currency).await?;
        let deposit_minor = self.stake_minor.saturating_mul(i64::from(self.count)).saturating_mul(2);
        gateway.deposit(&player, deposit_minor, &self.currency).await?;

        let mut last_trace = None;
        for _ in 0..self.count {
            let started = std::time::Instant::now();
            let key = Uuid::new_v4().to_string();
            let answer = gateway.bet(&player, self.stake_minor, &self.currency, &key).await?;
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
                    self.stake_minor,
                    result.payout_minor,
                    result.balance_minor,
                    self.currency,
                    answer.trace_id.as_deref().unwrap_or("-"),
                ));
            }
            last_trace = answer.trace_id;
        }
        if self.trace {
            let trace_id = last_trace.context("the gateway's answer has no trace id (x-trace-id)")?;
            return super::trace::show(&trace_id, &target, output, BET_DEADLINE, true).await;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Number of attempts at a bet that is answered in time, before `up` reports a problem.
const FIRST_BETS_MAX: usize = 3;

/// Plays one bet of a new player, for `up`, and returns its trace, which may be incomplete after [`BET_DEADLINE`].
pub async fn show_one(target: &Target) -> Result<Trace> {
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
    let trace_id = answer.trace_id.context("the gateway's answer has no trace id (x-trace-id)")?;
    fetch_complete_bet(target.http(), &target.recorder_url, &trace_id, BET_DEADLINE).await
}
