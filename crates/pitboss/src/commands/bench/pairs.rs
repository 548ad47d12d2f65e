//! `pitboss bench pairs`: compares the cost and the latency of a bet in this checkout's build with those in another one's.
//!
//! Two platforms run side by side, each with its own ports and its own state: A with the programs of the other checkout, and B with
//! those of this one. They get bets in turns (A B B A), which this process sends to both, so that other work of the machine and its
//! drift affect both. A ratio of B to A in each round is set against ratios of each build to itself.

mod child;
mod comparison;
mod faulted;
mod platform;
mod report;
mod turn;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use faults::FaultId;

use self::comparison::Round;
use self::platform::Platform;
use self::report::{Build, Measured, Report};
use self::turn::{Bettors, Pace, Turn, idle_cpu_ms_per_s};
use crate::commands::Context;
use crate::commands::bench::cost::machine::{MachineTicks, fsync_ms};
use crate::commands::bench::median;
use crate::commands::bench::order_statistics::Ends;
use crate::interrupts::Interrupts;
use crate::output::Output;
use crate::steps::print_line;

/// Arguments of `bench pairs`.
#[derive(Debug, Args)]
pub(super) struct PairsArgs {
    /// Root of the checkout whose last build is the base (A)
    #[arg(long, value_name = "CHECKOUT")]
    vs: PathBuf,
    /// Number of rounds, each measuring A, B, B, A. An interval with 95 % needs at least 6
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Bets a second, sent at fixed times (open loop)
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rate_per_s: u32,
    /// Duration of each measurement, and of the idle interval before them, in seconds
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Duration of the load before each measurement, in seconds
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    warm_up_s: u64,
    /// Number of players on each platform that share the bets
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    players: u16,
    /// Fail if the upper end of the interval of B/A is above this, for the p50 or for the CPU time of a bet
    #[arg(long, value_name = "RATIO", value_parser = parse_ratio)]
    ratio_max: Option<f64>,
    /// Arm this fault on B for a turn before each round, and disarm it, so that the rounds show what it leaves behind [repeatable]
    #[arg(long = "after-fault", value_name = "FAULT")]
    after_faults: Vec<FaultId>,
}

fn parse_ratio(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(ratio) if ratio > 0.0 && ratio.is_finite() => Ok(ratio),
        _ => Err("expected a positive number, such as 1.05".to_owned()),
    }
}

impl PairsArgs {
    /// Measures both builds and prints the comparison. Returns true if every bet of the rounds was settled, and no bad end is above
    /// the limit, if there is one.
    ///
    /// # Errors
    /// When there are too few rounds for a limit, when a checkout has not been built (exit code 69), when a platform cannot be
    /// started, read or stopped, when a turn cannot be used, and on Ctrl-C or SIGTERM. Both platforms are stopped in any case.
    pub(super) async fn run(&self, context: &Context) -> Result<bool> {
        self.check_rounds()?;
        let (checkout, output) = (context.checkout()?, &context.output);
        let folder = tempfile::tempdir().context("cannot create a folder for the two platforms")?;
        let platforms = platform::both(&checkout.layout, &self.vs, folder.path())?;
        let mut interrupts = Interrupts::listen()?;
        let measured = self.measure(&platforms, folder.path(), output, &mut interrupts).await;
        // No process of either platform may remain, whatever the result of the measurement.
        let [a, b] = &platforms;
        let (a, b) = tokio::join!(a.down(), b.down());
        let report = Report::of(measured?, self.ratio_max);
        if output.json {
            output.line(&serde_json::to_string(&report)?);
        } else {
            output.text(&report.to_text(output.columns));
        }
        a.and(b)?;
        let problem = report.problem();
        if let Some(problem) = &problem {
            output.problem(problem, 1);
        }
        Ok(problem.is_none())
    }

    /// Refuses a limit for which the interval of so few rounds says too little.
    fn check_rounds(&self) -> Result<()> {
        if self.ratio_max.is_some() && !Ends::of(self.rounds as usize).suffice() {
            bail!("--ratio-max needs at least 6 rounds, because fewer have no interval with 95 %");
        }
        Ok(())
    }

    /// Starts both platforms and measures them.
    async fn measure(
        &self,
        platforms: &[Platform; 2],
        folder: &Path,
        output: &Output,
        interrupts: &mut Interrupts,
    ) -> Result<Measured> {
        for platform in platforms {
            platform.up(interrupts).await?;
        }
        tokio::select! {
            measured = self.measure_running(platforms, folder, output) => measured,
            () = interrupts.received() => Err(anyhow!("interrupted")),
        }
    }

    /// Measures both platforms. The idle interval comes first, because the registrations would leave work behind.
    async fn measure_running(
        &self,
        platforms: &[Platform; 2],
        folder: &Path,
        output: &Output,
    ) -> Result<Measured> {
        let idle_cpu_ms_per_s = idle_cpu_ms_per_s(platforms, self.seconds, output).await?;
        let [a, b] = platforms;
        let (pace, turns) = (self.pace(), self.turns());
        let bettors = [
            Bettors::register(a, pace, turns, output).await?,
            Bettors::register(b, pace, turns, output).await?,
        ];
        // Not counted, because a broker that was just started still compiles its code.
        for bettors in &bettors {
            bettors.turn().await?;
        }
        let before = MachineTicks::read()?;
        let (mut rounds, mut fsyncs_ms, mut faulted_p50_ms) = (Vec::new(), Vec::new(), Vec::new());
        for round in 1..=self.rounds {
            fsyncs_ms.push(fsync_ms(folder)?);
            if !self.after_faults.is_empty() {
                faulted_p50_ms.push(self.faulted(round, &bettors).await?);
            }
            rounds.push(self.round(round, &bettors).await?);
        }
        Ok(Measured {
            builds: [Build::of(a), Build::of(b)],
            pace,
            idle_cpu_ms_per_s,
            fsync_ms: median(&fsyncs_ms),
            steal_percent: MachineTicks::read()?.steal_percent_since(&before),
            after_faults: self.after_faults.iter().map(|id| id.as_str()).collect(),
            faulted_p50_ms,
            rounds,
        })
    }

    async fn faulted(&self, round: u32, bettors: &[Bettors<'_>; 2]) -> Result<[f64; 2]> {
        let [a, b] = faulted::turn(&self.after_faults, bettors).await?;
        let rounds = self.rounds;
        print_line(&format!("round {round} of {rounds}, faults armed on B: p50 A {a:.1} ms, B {b:.1} ms"));
        Ok([a, b])
    }

    async fn round(&self, round: u32, [a, b]: &[Bettors<'_>; 2]) -> Result<Round> {
        let [a1, b1] = [self.turn(round, a).await?, self.turn(round, b).await?];
        let [b2, a2] = [self.turn(round, b).await?, self.turn(round, a).await?];
        Ok([a1, b1, b2, a2])
    }

    async fn turn(&self, round: u32, bettors: &Bettors<'_>) -> Result<Turn> {
        let turn = bettors.turn().await?;
        let Turn { side, latency_ms, cpu_ms_per_bet, .. } = &turn;
        let (rounds, p50_ms) = (self.rounds, latency_ms.p50);
        print_line(&format!(
            "round {round} of {rounds}, {side}: p50 {p50_ms:.1} ms, CPU {cpu_ms_per_bet:.2} ms/bet"
        ));
        Ok(turn)
    }

    /// Turns of each platform: two in each round, one that does not count, and one with faults before each round.
    fn turns(&self) -> u32 {
        let each = if self.after_faults.is_empty() { 2 } else { 3 };
        self.rounds.saturating_mul(each).saturating_add(1)
    }

    fn pace(&self) -> Pace {
        let Self { rate_per_s, seconds, warm_up_s, players, .. } = *self;
        Pace { rate_per_s, seconds, warm_up_s, players }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        pairs: PairsArgs,
    }

    fn args(args: &[&str]) -> Result<PairsArgs, clap::Error> {
        Cli::try_parse_from(["pairs"].iter().chain(args)).map(|cli| cli.pairs)
    }

    #[test]
    fn arguments_have_defaults_and_limits() {
        let parsed = args(&["--vs", "../base"]).unwrap();
        let Pace { rate_per_s, seconds, warm_up_s, players } = parsed.pace();
        assert_eq!((rate_per_s, seconds, warm_up_s, players), (20, 15, 3, 50));
        let (turns, rounds, ratio_max) = (parsed.turns(), parsed.rounds, parsed.ratio_max);
        assert_eq!((rounds, ratio_max, parsed.vs), (7, None, PathBuf::from("../base")));
        assert_eq!(args(&["--vs", "a", "--ratio-max", "1.05"]).unwrap().ratio_max, Some(1.05));
        assert!(args(&[]).is_err(), "there is no base");
        let limited = |rounds| args(&["--vs", "a", "--rounds", rounds, "--ratio-max", "1.05"]).unwrap();
        assert!(limited("6").check_rounds().is_ok() && limited("5").check_rounds().is_err());
        assert!(args(&["--vs", "a", "--rounds", "1"]).unwrap().check_rounds().is_ok(), "there is no limit");
        let [once, twice] =
            [vec!["user.n-plus-one"], vec!["user.n-plus-one", "user.slow-query"]].map(|ids| {
                let ids = ids.into_iter().flat_map(|id| ["--after-fault", id]);
                args(&["--vs", "a"].into_iter().chain(ids).collect::<Vec<_>>()).unwrap()
            });
        assert_eq!((turns, once.turns(), twice.turns()), (15, 22, 22));
        assert_eq!(twice.after_faults, [FaultId::UserNPlusOne, FaultId::UserSlowQuery]);
        assert!(args(&["--vs", "a", "--after-fault", "unknown"]).is_err());
        for wrong in [["--rounds", "0"], ["--rate-per-s", "0"], ["--seconds", "0"], ["--ratio-max", "nan"]] {
            let [option, value] = wrong;
            assert!(args(&["--vs", "a", option, value]).is_err(), "{wrong:?}");
        }
    }
}
