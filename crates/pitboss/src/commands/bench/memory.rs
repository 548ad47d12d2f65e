//! `pitboss bench memory`: measures whether the memory of the running platform grows with the number of bets.
//!
//! A steady load is divided into rounds. In each, the resident memory of every part is sampled. The report has the slope of memory over
//! the bets after the warm-up, and the peak.

mod growth;
mod report;
mod samples;

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use tokio::pin;

use self::report::{Measured, Report, Setup};
use self::samples::Tracks;
use super::bettors::Bettors;
use super::page::PageArgs;
use super::rounds::Rounds;
use super::stage::{Stage, published};
use super::turn::Bets;
use crate::commands::Context;
use crate::load_generator::load_report::Tally;
use crate::load_generator::plan::Plan;
use crate::steps::print_line;

/// Name of the benchmark.
const NAME: &str = "memory";
/// Interval at which memory is sampled.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// Arguments of `bench memory`.
#[derive(Debug, Args)]
pub(super) struct MemoryArgs {
    /// Number of bets after the warm-up. With the usual rate, 20 000 need eight and a half minutes, and a million seven hours
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1_000..=1_000_000))]
    events: u32,
    /// Bets a second, sent at fixed times (open loop)
    #[arg(long, visible_alias = "rate", default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rate_per_s: u32,
    /// Duration of the load before the first round, in seconds
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    warm_up_s: u64,
    /// Number of players that share the bets
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    players: u16,
    /// Number of rounds that share the bets. Each is compared with the one half a run later. An interval with 95 % needs at least 12
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(2..=200))]
    rounds: u32,
    #[command(flatten)]
    page: PageArgs,
}

impl MemoryArgs {
    /// Measures the platform of this checkout. Returns true if every bet was settled, no service has restarted, and the growth and the
    /// peak of each are within their limits. Figures beyond their limits are written to the page, too.
    ///
    /// # Errors
    /// When the platform is not up and ready, or when another program than the local runtime runs it.
    pub(super) async fn run(&self, context: &Context) -> Result<bool> {
        published(context, &self.page, NAME, async |stage: &Stage<'_>| {
            self.measure(stage).await.map(Report::of)
        })
        .await
    }

    async fn measure(&self, stage: &Stage<'_>) -> Result<Measured> {
        let bettors = Bettors::on(stage.target, &self.money(), stage.output).await?;
        // The errors of the warm-up count in the first round.
        let mut before = bettors.send(f64::from(self.rate_per_s), self.warm_up_s).await;
        let mut tracks = Tracks::begin(stage.layout)?;
        let (mut bets, mut events, mut settled) = (Vec::new(), Vec::new(), 0);
        let mut rounds = Rounds::begin(self.rounds, stage.layout.state())?;
        while rounds.begin_next()? {
            let began = Instant::now();
            let tally = self.round(stage, &bettors, &mut tracks).await;
            let round = Bets::of(&tally, &std::mem::take(&mut before), began.elapsed());
            settled += round.settled;
            print_line(&format!("{settled} bets: {}", round.latency_ms));
            bets.push(round);
            events.push(settled);
        }
        Ok(Measured {
            setup: self.setup(stage),
            machine: rounds.end()?,
            bets,
            events,
            parts: tracks.into_parts(),
        })
    }

    /// Sends the bets of a round, and samples the memory meanwhile.
    async fn round(&self, stage: &Stage<'_>, bettors: &Bettors<'_>, tracks: &mut Tracks) -> Tally {
        let load = bettors.send(f64::from(self.rate_per_s), self.round_s());
        pin!(load);
        let mut samples = tokio::time::interval(SAMPLE_INTERVAL);
        let tally = loop {
            tokio::select! {
                tally = &mut load => break tally,
                _ = samples.tick() => tracks.sample(stage.layout),
            }
        };
        tracks.end_round();
        tally
    }

    /// Duration of a round, so that all of them have at least the requested bets.
    fn round_s(&self) -> u64 {
        let bets_per_s = u64::from(self.rate_per_s).saturating_mul(u64::from(self.rounds));
        u64::from(self.events).div_ceil(bets_per_s)
    }

    /// Bets for which each player needs money.
    fn money(&self) -> Plan {
        let measured_s = self.round_s().saturating_mul(u64::from(self.rounds));
        super::plan(self.rate_per_s, measured_s.saturating_add(self.warm_up_s), self.players)
    }

    fn setup(&self, stage: &Stage<'_>) -> Setup {
        let Self { rate_per_s, warm_up_s, players, .. } = *self;
        Setup { release: stage.release(), rate_per_s, round_s: self.round_s(), warm_up_s, players }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        memory: MemoryArgs,
    }

    fn args(args: &[&str]) -> Result<MemoryArgs, clap::Error> {
        Cli::try_parse_from(["memory"].iter().chain(args)).map(|cli| cli.memory)
    }

    #[test]
    fn rounds_have_the_requested_bets_together() {
        let usual = args(&[]).unwrap();
        assert_eq!((usual.events, usual.rate_per_s, usual.rounds, usual.round_s()), (20_000, 40, 24, 21));
        let million = args(&["--events", "1000000", "--rate", "50", "--rounds", "40"]).unwrap();
        assert_eq!(million.round_s(), 500);
        let few = args(&["--events", "1000", "--rate", "1000", "--rounds", "200"]).unwrap();
        assert_eq!(few.round_s(), 1);
        for wrong in [["--events", "999"], ["--events", "1000001"], ["--rounds", "1"], ["--rate", "0"]] {
            assert!(args(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn players_have_money_for_all_bets() {
        assert_eq!(args(&["--warm-up-s", "10"]).unwrap().money().duration.as_secs(), 10 + 24 * 21);
    }
}
