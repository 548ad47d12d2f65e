//! `pitboss bench pairs`: compares the cost and the latency of a bet in this checkout's build with those in another one's.
//!
//! Two platforms run side by side, each with its own ports and its own state: A with the programs of the other checkout, and B with
//! those of this one. They get bets in turns (A B B A), which this process sends to both, so that other work of the machine and its
//! drift affect both. A ratio of B to A in each round is set against ratios of each build to itself.

mod builds;
mod comparison;
mod faulted;
mod report;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use faults::FaultId;

use self::report::{Build, Measured, Report};
use super::contender::{Contender, Turn, idle_cpu_ms_per_s};
use super::order_statistics::Ends;
use super::pace::RoundsArgs;
use super::platform::{self, Platform};
use super::report::BenchReport as _;
use super::rounds::{Rounds, round};
use crate::commands::Context;
use crate::interrupts::Interrupts;
use crate::output::Output;
use crate::steps::print_line;

/// Arguments of `bench pairs`.
#[derive(Debug, Args)]
pub(super) struct PairsArgs {
    /// Root of the checkout whose last build is the base (A)
    #[arg(long, value_name = "CHECKOUT")]
    vs: PathBuf,
    #[command(flatten)]
    rounds: RoundsArgs,
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
        let platforms = builds::both(&checkout.layout, &self.vs, folder.path())?;
        let mut interrupts = Interrupts::listen()?;
        let measurement = self.measure(&platforms, folder.path(), output);
        let (measured, stopped) = platform::run(&platforms, &mut interrupts, measurement).await;
        let report = Report::of(measured?, self.ratio_max);
        report.print(output)?;
        stopped?;
        Ok(report.holds(output))
    }

    /// Refuses a limit for which the interval of so few rounds says too little.
    fn check_rounds(&self) -> Result<()> {
        if self.ratio_max.is_some() && !Ends::of(self.rounds.rounds as usize).suffice() {
            bail!("--ratio-max needs at least 6 rounds, because fewer have no interval with 95 %");
        }
        Ok(())
    }

    /// Measures both platforms. The idle interval comes first, because the registrations would leave work behind.
    async fn measure(&self, platforms: &[Platform; 2], folder: &Path, output: &Output) -> Result<Measured> {
        let pace = self.rounds.pace;
        let idle = idle_cpu_ms_per_s(platforms, pace.seconds, output).await?;
        let both = Contender::both(platforms, pace, &pace.turns(self.turns()), output).await?;
        let (mut turns, mut faulted_p50_ms) = (Vec::new(), Vec::new());
        let mut rounds = Rounds::begin(self.rounds.rounds, folder)?;
        while rounds.begin_next()? {
            if !self.after_faults.is_empty() {
                let [a, b] = faulted::turn(&self.after_faults, &both).await?;
                print_line(&format!("faults armed on B: p50 A {a:.1} ms, B {b:.1} ms"));
                faulted_p50_ms.push([a, b]);
            }
            turns.push(round(|side| both[side].turn(Turn::of)).await?);
        }
        Ok(Measured {
            builds: platforms.each_ref().map(Build::of),
            pace,
            idle_cpu_ms_per_s: idle.map(|processes| processes.values().sum()),
            machine: rounds.end()?,
            after_faults: self.after_faults.iter().map(|id| id.as_str()).collect(),
            faulted_p50_ms,
            rounds: turns,
        })
    }

    /// Turns of each platform: two in each round, one that does not count, and one with faults before each round.
    fn turns(&self) -> u32 {
        let faulted = if self.after_faults.is_empty() { 0 } else { self.rounds.rounds };
        self.rounds.turns().saturating_add(faulted)
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
        assert_eq!((parsed.turns(), parsed.ratio_max), (15, None));
        assert_eq!(parsed.vs, PathBuf::from("../base"));
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
        assert_eq!((once.turns(), twice.turns()), (22, 22));
        assert_eq!(twice.after_faults, [FaultId::UserNPlusOne, FaultId::UserSlowQuery]);
        assert!(args(&["--vs", "a", "--after-fault", "unknown"]).is_err());
        assert!(args(&["--vs", "a", "--ratio-max", "nan"]).is_err());
    }
}
