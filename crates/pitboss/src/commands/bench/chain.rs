//! `pitboss bench chain`: compares the running platform with the bare chain (`crates/barechain`), the least that settles a bet as
//! durably.
//!
//! The chain (A) is a process beside the platform (B), with its own topics on the same broker and its own database in the same
//! store. Both get bets in turns (A B B A) from the same load generator, so that other work of the machine affects both. Their
//! ratio in each round is what our code costs.

mod report;
mod saturation;
mod side;
mod turn;

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use clap::Args;

use self::report::{Measured, Report, Setup, Turns};
use self::saturation::{Peak, climb};
use self::side::Contender;
use self::turn::{Processes, Turn};
use super::pace::{Pace, RoundsArgs};
use super::page::PageArgs;
use super::program::{Launch, Program, Role};
use super::report::{BenchReport as _, SheetReport as _};
use super::rounds::{Rounds, round};
use super::stage::Stage;
use super::turn::PerSecond;
use crate::commands::Context;
use crate::interrupts::Interrupts;
use crate::load_generator::plan::Plan;
use crate::steps::print_line;
use crate::target::TargetArgs;

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
    #[command(flatten)]
    rounds: RoundsArgs,
    /// Raise the rate in each turn, from --rate-per-s on and each for --seconds, until not every bet is settled in time. Compare
    /// the largest numbers of settled bets a second. There are no warm-ups and no idle interval then
    #[arg(long)]
    saturate: bool,
    #[command(flatten)]
    page: PageArgs,
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
    /// When the platform is not up and ready, when another program than the local runtime runs it, when the chain cannot be
    /// built or fails, when a turn cannot be used, and on Ctrl-C or SIGTERM. The chain's topics and its database are
    /// deleted in any case.
    pub(super) async fn run(&self, context: &Context) -> Result<bool> {
        let (target, output) = (context.target(&TargetArgs::default()).await?, &context.output);
        self.page.check(self.name())?;
        let stage = Stage::of(&target, "chain", output).await?;
        let launch = Launch::of(stage.layout, &target).await?;
        let mut interrupts = Interrupts::listen()?;
        let mut program = launch.start(Role::Chain)?;
        let measured = tokio::select! {
            measured = self.measure(&stage, &mut program) => measured,
            () = interrupts.received() => Err(anyhow!("interrupted")),
        };
        // Its topics and its database must not remain, whatever the result of the measurement.
        let stopped = program.stop().await;
        let report = Report::of(measured?);
        report.print(output)?;
        stopped?;
        report.conclude(output, &self.page, self.name())
    }

    /// Name of the place in a page.
    fn name(&self) -> &'static str {
        if self.saturate { "chain saturate" } else { "chain" }
    }

    /// Measures both sides. The idle interval comes first, because the registrations would leave work behind.
    async fn measure(&self, stage: &Stage<'_>, program: &mut Program) -> Result<Measured> {
        let address = program.ready().await?;
        let processes = Processes { layout: stage.layout, chain: program.process()? };
        let pace = self.pace();
        let idle = if self.saturate {
            PerSecond::new()
        } else {
            processes.idle(Duration::from_secs(pace.seconds), stage.output).await?
        };
        let chain = Contender::chain(address, pace.players, stage.output)?;
        let platform = Contender::platform(stage, &self.money()).await?;
        let both = [chain, platform];
        let mut rounds = Rounds::begin(self.rounds.rounds, stage.layout.state())?;
        let turns = if self.saturate {
            Turns::Saturated(self.saturated(&both, &mut rounds).await?)
        } else {
            let reader = Reader { processes: &processes, idle: &idle };
            Turns::Paced(self.paced(&both, &reader, &mut rounds).await?)
        };
        Ok(Measured {
            setup: Setup { release: stage.release(), pace },
            machine: rounds.end()?,
            idle_cpu_ms_per_s: idle,
            turns,
        })
    }

    /// Measures rounds at the requested rate. The first turn of each side does not count, because a broker that was just started
    /// still compiles its code.
    async fn paced(
        &self,
        both: &[Contender<'_>; 2],
        reader: &Reader<'_>,
        rounds: &mut Rounds<'_>,
    ) -> Result<Vec<[Turn; 4]>> {
        for contender in both {
            self.turn(contender, reader).await?;
        }
        let mut turns = Vec::new();
        while rounds.begin_next()? {
            turns.push(round(|side| self.turn(&both[side], reader)).await?);
        }
        Ok(turns)
    }

    /// Warms one side up, and measures an interval.
    async fn turn(&self, contender: &Contender<'_>, reader: &Reader<'_>) -> Result<Turn> {
        let Contender { side, bettors } = contender;
        let measured = async {
            let sent = bettors.turn(self.pace(), || reader.processes.read()).await?;
            Turn::of(*side, sent, reader.idle)
        };
        let turn = measured.await.with_context(|| format!("a turn on the {side} cannot be used"))?;
        print_line(&turn.to_string());
        Ok(turn)
    }

    /// Measures rounds of climbs to the rate at which a side is saturated. The first climb of each side only tells where the others
    /// begin.
    async fn saturated(&self, both: &[Contender<'_>; 2], rounds: &mut Rounds<'_>) -> Result<Vec<[Peak; 4]>> {
        let [chain, platform] = both;
        let begin_per_s = [self.begin_per_s(chain).await?, self.begin_per_s(platform).await?];
        let mut peaks = Vec::new();
        while rounds.begin_next()? {
            peaks.push(round(|side| self.climb(&both[side], begin_per_s[side])).await?);
        }
        Ok(peaks)
    }

    /// Rate at which the climbs of one side begin.
    async fn begin_per_s(&self, contender: &Contender<'_>) -> Result<f64> {
        let Pace { rate_per_s, seconds, .. } = self.pace();
        let first = climb(contender, f64::from(rate_per_s), FIRST_FACTOR, seconds).await?;
        Ok(first.settled_per_s * BEGIN_SHARE)
    }

    async fn climb(&self, contender: &Contender<'_>, begin_per_s: f64) -> Result<Peak> {
        let peak = climb(contender, begin_per_s, FACTOR, self.pace().seconds).await?;
        print_line(&peak.to_string());
        Ok(peak)
    }

    /// Load of a turn. A climb has no warm-up.
    fn pace(&self) -> Pace {
        let pace = self.rounds.pace;
        if self.saturate { Pace { warm_up_s: 0, ..pace } } else { pace }
    }

    /// Bets for which each player of the platform needs money. The rates of a climb are not known before.
    fn money(&self) -> Plan {
        let (pace, turns) = (self.pace(), self.rounds.turns());
        if self.saturate {
            let seconds = u64::from(turns).saturating_mul(STEPS_PAID).saturating_mul(pace.seconds);
            Plan { rate_per_s: None, ..super::plan(pace.rate_per_s, seconds, pace.players) }
        } else {
            pace.turns(turns)
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
    fn each_mode_has_its_own_place_in_a_page() {
        let names = [args(&[]).unwrap().name(), args(&["--saturate"]).unwrap().name()];
        assert_eq!(names, ["chain", "chain saturate"]);
    }

    #[test]
    fn climb_has_no_warm_up() {
        let warm_ups = [args(&[]), args(&["--saturate"])].map(|args| args.unwrap().pace().warm_up_s);
        assert_eq!(warm_ups, [3, 0]);
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
