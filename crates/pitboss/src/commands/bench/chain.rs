//! `pitboss bench chain`: compares the running platform with the bare chain (`crates/barechain`), the least that settles a bet as
//! durably.
//!
//! The chain (A) is a process beside the platform (B), with its own topics on the same broker and its own database in the same
//! store. Both get bets in turns (A B B A) from the same load generator, so that other work of the machine affects both. Their
//! ratio in each round is what our code costs.

mod bettors;
mod program;
mod report;
mod saturation;
mod turn;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use runtime::Layout;
use runtime::control::Client;

use self::bettors::Bettors;
use self::program::Program;
use self::report::{Measured, Report, Rounds, Setup};
use self::saturation::{Peak, climb};
use self::turn::{PerSecond, Processes, Turn};
use crate::checkout::Running;
use crate::commands::Context;
use crate::commands::bench::cost::check_ready;
use crate::commands::bench::cost::machine::{MachineTicks, fsync_ms};
use crate::commands::bench::{median, page};
use crate::interrupts::Interrupts;
use crate::load_generator::plan::Plan;
use crate::output::Output;
use crate::steps::print_line;
use crate::target::{Target, TargetArgs};

/// Factor between two steps of the first climb, which only looks for the order of magnitude.
const FIRST_FACTOR: f64 = 1.5;
/// Factor between two steps of each climb of the rounds.
const FACTOR: f64 = 1.1;
/// Share of the first peak at which the climbs of the rounds begin.
const BEGIN_SHARE: f64 = 0.7;
/// Steps of one climb for which each player gets money. Most climbs have fewer.
const STEPS_PAID: u64 = 12;

/// Arguments of `bench chain`.
#[derive(Debug, Args)]
pub(super) struct ChainArgs {
    /// Number of rounds, each measuring chain, platform, platform, chain. An interval with 95 % needs at least 6
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Bets a second, sent at fixed times (open loop). With --saturate, the first rate
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rate_per_s: u32,
    /// Duration of each measurement, and of the idle interval before them, in seconds. With --saturate, of each rate
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Duration of the load before each measurement, in seconds. With --saturate there is none
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    warm_up_s: u64,
    /// Number of players on each side that share the bets
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    players: u16,
    /// Raise the rate in each turn until not every bet is settled in time, and compare the largest numbers of settled bets a second
    #[arg(long)]
    saturate: bool,
    /// Write the tables to their place in a page [default file: docs/benchmarks.md]
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = page::DEFAULT)]
    report: Option<PathBuf>,
}

/// State that all steps of a measurement share.
struct Stage<'a> {
    target: &'a Target,
    layout: &'a Layout,
    output: &'a Output,
}

/// What a turn at a fixed rate reads besides its bets.
struct Reader<'a> {
    processes: &'a Processes<'a>,
    idle: &'a PerSecond,
}

impl ChainArgs {
    /// Measures both and prints the comparison. Returns true if every bet was settled, or with `--saturate`, if each side was
    /// saturated. Otherwise no page is written.
    ///
    /// # Errors
    /// When the platform is not up and ready, when another program than the local runtime runs it, when the chain has not been built
    /// (exit code 69) or fails, when a turn cannot be used, and on Ctrl-C or SIGTERM. The chain's topics and its database are
    /// deleted in any case.
    pub(super) async fn run(&self, context: &Context) -> Result<bool> {
        let (target, output) = (context.target(&TargetArgs::default()).await?, &context.output);
        let layout = target.layout().context(
            "`bench chain` reads the processes of a platform that ./pitboss up started, and something else runs this one",
        )?;
        if let Some(path) = &self.report {
            page::check(path, self.name())?;
        }
        check_ready(&Client::new(layout).status().await?)?;
        let mut interrupts = Interrupts::listen()?;
        let mut program = Program::start(layout, &target)?;
        let stage = Stage { target: &target, layout, output };
        let measured = tokio::select! {
            measured = self.measure(&stage, &mut program) => measured,
            () = interrupts.received() => Err(anyhow!("interrupted")),
        };
        // Its topics and its database must not remain, whatever the result of the measurement.
        let stopped = program.stop().await;
        let report = Report::of(measured?);
        if output.json {
            output.line(&serde_json::to_string(&report)?);
        } else {
            output.text(&report.to_text(output.columns));
        }
        stopped?;
        if let Some(problem) = report.problem() {
            output.problem(&problem, 1);
            return Ok(false);
        }
        if let Some(path) = &self.report {
            page::write(path, self.name(), &report.to_markdown())?;
            print_line(&format!("wrote {}", path.display()));
        }
        Ok(true)
    }

    /// Name of the place in a page.
    fn name(&self) -> &'static str {
        if self.saturate { "chain saturate" } else { "chain" }
    }

    /// Measures both sides. The idle interval comes first, because the registrations would leave work behind.
    async fn measure(&self, stage: &Stage<'_>, program: &mut Program) -> Result<Measured> {
        let address = program.ready().await?;
        let processes = Processes { layout: stage.layout, chain: program.process()? };
        let idle = if self.saturate {
            PerSecond::new()
        } else {
            processes.idle(Duration::from_secs(self.seconds), stage.output).await?
        };
        let chain = Bettors::of_chain(address, self.players, stage.output)?;
        let platform = Bettors::of_platform(stage.target, &self.money(), stage.output).await?;
        let both = [chain, platform];
        let mut fsyncs_ms = Vec::new();
        let before = MachineTicks::read()?;
        let rounds = if self.saturate {
            Rounds::Saturated(self.saturated(stage, &both, &mut fsyncs_ms).await?)
        } else {
            let reader = Reader { processes: &processes, idle: &idle };
            Rounds::Paced(self.paced(stage, &both, &reader, &mut fsyncs_ms).await?)
        };
        Ok(Measured {
            setup: Setup {
                release: Running::of(stage.layout).map(|running| running.release),
                rate_per_s: self.rate_per_s,
                seconds: self.seconds,
                warm_up_s: if self.saturate { 0 } else { self.warm_up_s },
                players: self.players,
            },
            fsync_ms: median(&fsyncs_ms),
            steal_percent: MachineTicks::read()?.steal_percent_since(&before),
            idle_cpu_ms_per_s: idle,
            rounds,
        })
    }

    /// Measures rounds at the requested rate. The first turn of each side does not count, because a broker that was just started
    /// still compiles its code.
    async fn paced(
        &self,
        stage: &Stage<'_>,
        [chain, platform]: &[Bettors<'_>; 2],
        reader: &Reader<'_>,
        fsyncs_ms: &mut Vec<f64>,
    ) -> Result<Vec<[Turn; 4]>> {
        self.turn(chain, reader).await?;
        self.turn(platform, reader).await?;
        let mut rounds = Vec::new();
        for round in 1..=self.rounds {
            self.begin_round(round, stage, fsyncs_ms)?;
            let [a1, b1] = [self.turn(chain, reader).await?, self.turn(platform, reader).await?];
            let [b2, a2] = [self.turn(platform, reader).await?, self.turn(chain, reader).await?];
            rounds.push([a1, b1, b2, a2]);
        }
        Ok(rounds)
    }

    /// Warms one side up, and measures an interval.
    async fn turn(&self, bettors: &Bettors<'_>, reader: &Reader<'_>) -> Result<Turn> {
        let (rate_per_s, warm_up_s) = (f64::from(self.rate_per_s), self.warm_up_s);
        let warm_up = if warm_up_s > 0 { Some(bettors.send(rate_per_s, warm_up_s).await) } else { None };
        let begin = reader.processes.read()?;
        let tally = bettors.send(rate_per_s, self.seconds).await;
        let end = reader.processes.read()?;
        let turn = Turn::of(bettors.side, [&begin, &end], reader.idle, &tally, warm_up.as_ref())?;
        print_line(&turn.to_string());
        Ok(turn)
    }

    /// Measures rounds of climbs to the rate at which a side is saturated. The first climb of each side only tells where the others
    /// begin.
    async fn saturated(
        &self,
        stage: &Stage<'_>,
        [chain, platform]: &[Bettors<'_>; 2],
        fsyncs_ms: &mut Vec<f64>,
    ) -> Result<Vec<[Peak; 4]>> {
        let from_a = self.begin_per_s(chain).await?;
        let from_b = self.begin_per_s(platform).await?;
        let mut rounds = Vec::new();
        for round in 1..=self.rounds {
            self.begin_round(round, stage, fsyncs_ms)?;
            let [a1, b1] = [self.climb(chain, from_a).await?, self.climb(platform, from_b).await?];
            let [b2, a2] = [self.climb(platform, from_b).await?, self.climb(chain, from_a).await?];
            rounds.push([a1, b1, b2, a2]);
        }
        Ok(rounds)
    }

    /// Rate at which the climbs of one side begin.
    async fn begin_per_s(&self, bettors: &Bettors<'_>) -> Result<f64> {
        let first = climb(bettors, f64::from(self.rate_per_s), FIRST_FACTOR, self.seconds).await?;
        Ok(first.settled_per_s * BEGIN_SHARE)
    }

    async fn climb(&self, bettors: &Bettors<'_>, begin_per_s: f64) -> Result<Peak> {
        let peak = climb(bettors, begin_per_s, FACTOR, self.seconds).await?;
        print_line(&peak.to_string());
        Ok(peak)
    }

    /// Measures the disk before a round.
    fn begin_round(&self, round: u32, stage: &Stage<'_>, fsyncs_ms: &mut Vec<f64>) -> Result<()> {
        print_line(&format!("round {round} of {}", self.rounds));
        fsyncs_ms.push(fsync_ms(stage.layout.state())?);
        Ok(())
    }

    /// Bets for which each player of the platform needs money. The rates of a climb are not known before.
    fn money(&self) -> Plan {
        let turns = u64::from(self.rounds).saturating_mul(2).saturating_add(1);
        if self.saturate {
            let seconds = turns.saturating_mul(STEPS_PAID).saturating_mul(self.seconds);
            Plan { rate_per_s: None, ..super::plan(self.rate_per_s, seconds, self.players) }
        } else {
            let each_s = self.warm_up_s.saturating_add(self.seconds);
            super::plan(self.rate_per_s, turns.saturating_mul(each_s), self.players)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        chain: ChainArgs,
    }

    fn args(args: &[&str]) -> Result<ChainArgs, clap::Error> {
        Cli::try_parse_from(["chain"].iter().chain(args)).map(|cli| cli.chain)
    }

    #[test]
    fn arguments_have_defaults_and_limits() {
        let ChainArgs { rounds, rate_per_s, seconds, warm_up_s, players, saturate, report } =
            args(&[]).unwrap();
        assert_eq!((rounds, rate_per_s, seconds, warm_up_s, players), (7, 20, 15, 3, 50));
        assert_eq!((saturate, report), (false, None));
        assert_eq!(args(&["--report"]).unwrap().report, Some(PathBuf::from(page::DEFAULT)));
        for wrong in [["--rounds", "0"], ["--rate-per-s", "0"], ["--seconds", "0"], ["--players", "0"]] {
            assert!(args(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn each_mode_has_its_own_place_in_a_page() {
        let names = [args(&[]).unwrap().name(), args(&["--saturate"]).unwrap().name()];
        assert_eq!(names, ["chain", "chain saturate"]);
    }

    #[test]
    fn players_have_money_for_all_turns() {
        let paced = args(&["--rounds", "2", "--seconds", "10", "--players", "10"]).unwrap().money();
        assert_eq!((paced.rate_per_s, paced.duration.as_secs()), (Some(20.0), 5 * 13));
        let climbs = args(&["--saturate", "--rounds", "2", "--seconds", "10"]).unwrap().money();
        assert_eq!((climbs.rate_per_s, climbs.duration.as_secs()), (None, 5 * STEPS_PAID * 10));
        assert!(climbs.deposit_minor() > paced.deposit_minor());
    }
}
