//! `pitboss bench flood`: measures how much a flood of wrong log-ins slows down bets on the running platform.
//!
//! The same players bet in turns without the flood (A) and with it (B): A B B A, so that other work of the machine affects both. A
//! ratio in each round is set against that of the two turns without the flood.

mod answers;
mod report;
mod sender;

use anyhow::{Context as _, Result};
use clap::Args;
use serde::Serialize;

use self::answers::Answers;
use self::report::{Measured, Report};
use self::sender::{CONNECTIONS_MAX, Flood};
use super::bettors::Bettors;
use super::pace::{Pace, RoundsArgs};
use super::page::PageArgs;
use super::rounds::rounds_after_a_turn_each;
use super::stage::{Stage, published};
use super::turn::{PlatformTurn, Reading};
use crate::commands::Context;
use crate::steps::print_line;

/// Name of the benchmark.
const NAME: &str = "flood";

/// Arguments of `bench flood`.
#[derive(Debug, Args)]
#[command(
    mut_arg("rate_per_s", |arg| arg.default_value("25")),
    mut_arg("seconds", |arg| arg.help("Duration of each measurement, in seconds")),
    mut_arg("players", |arg| arg.help("Number of players that share the bets, with the flood and without"))
)]
pub(super) struct FloodArgs {
    #[command(flatten)]
    rounds: RoundsArgs,
    /// Wrong log-ins a second, sent at fixed times from this machine's address
    #[arg(long, visible_alias = "flood-rate", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    flood_rate_per_s: u32,
    #[command(flatten)]
    page: PageArgs,
}

/// Result of one turn.
#[derive(Clone, Debug, Serialize)]
struct Turn {
    #[serde(flatten)]
    measured: PlatformTurn,
    /// Log-ins of the interval. Absent in a turn without the flood.
    #[serde(skip_serializing_if = "Option::is_none")]
    log_ins: Option<Answers>,
}

impl FloodArgs {
    /// Measures the platform of this checkout. Returns true if every bet was settled, the flood arrived, and the ratio of p95 is
    /// within its limit. A ratio beyond it is written to the page, too.
    ///
    /// # Errors
    /// When the platform is not up and ready, when another program than the local runtime runs it, or when a turn cannot be used.
    pub(super) async fn run(&self, context: &Context) -> Result<bool> {
        published(context, &self.page, NAME, async |stage: &Stage<'_>| {
            self.measure(stage).await.map(Report::of)
        })
        .await
    }

    async fn measure(&self, stage: &Stage<'_>) -> Result<Measured> {
        let RoundsArgs { rounds, pace } = self.rounds;
        let flood = Flood::prepare(stage.target, self.flood_rate_per_s).await?;
        // The same players bet in the turns of both sides.
        let plan = pace.turns(self.rounds.turns().saturating_mul(2));
        let bettors = Bettors::on(stage.target, &plan, stage.output).await?;
        let sides = [None, Some(&flood)];
        let turn = |side: usize| turn(stage, &bettors, pace, sides[side]);
        let (machine, rounds) = rounds_after_a_turn_each(rounds, stage.layout.state(), turn).await?;
        Ok(Measured {
            release: stage.release(),
            pace,
            flood_rate_per_s: self.flood_rate_per_s,
            connections_max: CONNECTIONS_MAX,
            machine,
            rounds,
        })
    }
}

/// Warms the platform up and measures an interval, both with the flood if there is one.
async fn turn(stage: &Stage<'_>, bettors: &Bettors<'_>, pace: Pace, flood: Option<&Flood>) -> Result<Turn> {
    let beside = |seconds| async move {
        match flood {
            Some(flood) => Some(flood.send(seconds).await),
            None => None,
        }
    };
    let side = if flood.is_some() { "with the flood" } else { "without the flood" };
    let sent = bettors.turn_beside(pace, || Reading::of(stage.layout), beside).await;
    let turn = sent.and_then(|(sent, log_ins)| Ok(Turn { measured: PlatformTurn::of(sent)?, log_ins }));
    let turn = turn.with_context(|| format!("a turn {side} cannot be used"))?;
    let log_ins = turn.log_ins.as_ref().map(|answers| format!(", {answers}")).unwrap_or_default();
    print_line(&format!("{side}: {}{log_ins}", turn.measured.bets.latency_ms));
    Ok(turn)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        flood: FloodArgs,
    }

    fn args(args: &[&str]) -> Result<FloodArgs, clap::Error> {
        Cli::try_parse_from(["flood"].iter().chain(args)).map(|cli| cli.flood)
    }

    #[test]
    fn arguments_have_defaults_and_limits() {
        let parsed = args(&[]).unwrap();
        assert_eq!(parsed.rounds.pace, Pace { rate_per_s: 25, seconds: 15, warm_up_s: 3, players: 50 });
        assert_eq!((parsed.rounds.rounds, parsed.flood_rate_per_s), (7, 100));
        let given = args(&["--rate", "40", "--flood-rate", "300", "--rounds", "3"]).unwrap();
        assert_eq!((given.rounds.pace.rate_per_s, given.flood_rate_per_s), (40, 300));
        assert_eq!(given.rounds.rounds, 3);
        for wrong in [["--flood-rate-per-s", "0"], ["--flood-rate", "1001"], ["--rounds", "0"]] {
            assert!(args(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn help_names_no_idle_interval() {
        let command = Cli::command();
        let seconds = command.get_arguments().find(|arg| arg.get_long() == Some("seconds"));
        let help = seconds.and_then(|seconds| seconds.get_help()).expect("a text").to_string();
        assert_eq!(help, "Duration of each measurement, in seconds");
    }
}
