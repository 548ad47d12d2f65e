//! `pitboss bench rates`: measures how much less CPU time a bet costs on the running platform when there are many.
//!
//! The same players bet in turns at a low rate (A) and at a multiple of it (B): A B B A. The CPU time of a bet contains what the
//! platform uses without bets, because more bets share it at the higher rate.

mod report;

use anyhow::{Context as _, Result};
use clap::Args;

use self::report::{Measured, Report};
use super::bettors::Bettors;
use super::pace::{Pace, RoundsArgs};
use super::page::PageArgs;
use super::rounds::rounds_after_a_turn_each;
use super::stage::{Stage, published};
use super::turn::{PlatformTurn, Reading};
use crate::commands::Context;
use crate::load_generator::plan::Plan;
use crate::steps::print_line;

/// Name of the benchmark.
const NAME: &str = "rates";

/// Arguments of `bench rates`.
#[derive(Debug, Args)]
#[command(
    mut_arg("rate_per_s", |arg| arg.default_value("5")),
    mut_arg("seconds", |arg| arg.default_value("20"))
)]
pub(super) struct RatesArgs {
    #[command(flatten)]
    rounds: RoundsArgs,
    /// The higher rate, as a multiple of the rate. The limit applies to 10
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=100))]
    times: u32,
    #[command(flatten)]
    page: PageArgs,
}

impl RatesArgs {
    /// Measures the platform of this checkout. Returns true if every bet was settled, and the bad end of the ratio of CPU time is
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
        let bettors = Bettors::on(stage.target, &self.money(), stage.output).await?;
        let paces = self.paces();
        let RoundsArgs { rounds, pace } = self.rounds;
        let turn = |side: usize| turn(stage, &bettors, paces[side]);
        let (machine, rounds) = rounds_after_a_turn_each(rounds, stage.layout.state(), turn).await?;
        Ok(Measured { release: stage.release(), pace, times: self.times, machine, rounds })
    }

    /// Loads of the two sides.
    fn paces(&self) -> [Pace; 2] {
        let pace = self.rounds.pace;
        [pace, Pace { rate_per_s: pace.rate_per_s.saturating_mul(self.times), ..pace }]
    }

    /// Bets for which each player needs money: those of both rates.
    fn money(&self) -> Plan {
        let rate_per_s = self.paces().iter().fold(0_u32, |sum, pace| sum.saturating_add(pace.rate_per_s));
        Pace { rate_per_s, ..self.rounds.pace }.turns(self.rounds.turns())
    }
}

async fn turn(stage: &Stage<'_>, bettors: &Bettors<'_>, pace: Pace) -> Result<PlatformTurn> {
    let rate_per_s = pace.rate_per_s;
    let sent = bettors.turn(pace, || Reading::of(stage.layout)).await;
    let turn = sent.and_then(PlatformTurn::of);
    let turn = turn.with_context(|| format!("a turn with {rate_per_s} bets/s cannot be used"))?;
    print_line(&format!(
        "{rate_per_s} bets/s: {}, CPU {:.2} ms/bet",
        turn.bets.latency_ms, turn.cpu_ms_per_bet
    ));
    Ok(turn)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        rates: RatesArgs,
    }

    fn args(args: &[&str]) -> Result<RatesArgs, clap::Error> {
        Cli::try_parse_from(["rates"].iter().chain(args)).map(|cli| cli.rates)
    }

    #[test]
    fn arguments_have_defaults_and_limits() {
        let usual = args(&[]).unwrap();
        assert_eq!(usual.rounds.rounds, 7);
        let low = Pace { rate_per_s: 5, seconds: 20, warm_up_s: 3, players: 50 };
        assert_eq!(usual.paces(), [low, Pace { rate_per_s: 50, ..low }]);
        for wrong in [["--times", "1"], ["--times", "101"], ["--rounds", "0"]] {
            assert!(args(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn players_have_money_for_both_rates() {
        let plan = args(&["--rounds", "2", "--rate", "4", "--times", "3"]).unwrap().money();
        assert_eq!((plan.rate_per_s, plan.duration.as_secs()), (Some(16.0), 5 * 23));
    }
}
