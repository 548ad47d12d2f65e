//! `pitboss bench recovery`: measures how long bets are not settled after a consumer of the running platform was killed (SIGKILL),
//! compared with the bare consumer.
//!
//! The bare consumer (A) is a settler of the bare chain (`crates/barechain`), with the same settings of its group. It is started again
//! after the same pause. All get kills in turns under the same load, such as A, game, payment, payment, game, A. Most of the time is
//! that until the broker gives up the killed member, so it varies by the interval of its heartbeats.

mod report;
mod turn;
mod watch;

use std::collections::BTreeMap;

use anyhow::{Result, anyhow, bail};
use clap::Args;

use self::report::{Measured, Report, Setup};
use self::turn::{Arena, Turn, Victim};
use super::bettors::Bettors;
use super::consumer::Consumer;
use super::pace::RoundsArgs;
use super::page::PageArgs;
use super::program::{Launch, Program, Role};
use super::report::{BenchReport as _, SheetReport as _};
use super::rounds::{Rounds, order_beside, rounds_beside};
use super::settler::Settler;
use super::stage::Stage;
use crate::actuators::Platform;
use crate::commands::Context;
use crate::interrupts::Interrupts;
use crate::load_generator::plan::Plan;
use crate::steps::print_line;
use crate::target::TargetArgs;

/// Name of the benchmark.
const NAME: &str = "recovery";
/// Bets that [`Bettors::until_settled`] sends before a turn, as a number of seconds of the load. Usually it sends five.
const PROBES_S: u64 = 10;

/// Arguments of `bench recovery`.
#[derive(Debug, Args)]
#[command(
    mut_arg("rounds", |arg| arg.default_value("12").help(
        "Number of rounds. An interval with 95 % needs at least 6",
    )),
    // A part that dies within 10 s of its start is started again later.
    mut_arg("seconds", |arg| arg.default_value("12").value_parser(clap::value_parser!(u64).range(12..=600)).help(
        "Duration of each measurement, from the kill on, in seconds",
    ))
)]
pub(super) struct RecoveryArgs {
    #[command(flatten)]
    rounds: RoundsArgs,
    /// Consumers that are killed, separated by commas
    #[arg(long = "service", value_enum, value_delimiter = ',', default_values_t = [Consumer::Game, Consumer::Payment])]
    services: Vec<Consumer>,
    #[command(flatten)]
    page: PageArgs,
}

impl RecoveryArgs {
    /// Measures all consumers and prints the comparison. Returns true if every bet before a kill was settled, and the bad end of each
    /// ratio is within its limit. A ratio beyond it is written to the page, too.
    ///
    /// # Errors
    /// When a consumer is named twice, when the platform is not up and ready, when another program than the local runtime runs it, when
    /// the chain has not been built (exit code 69) or fails, when a turn cannot be used, and on Ctrl-C or SIGTERM. The chain's topics
    /// and its database are deleted in any case.
    pub(super) async fn run(&self, context: &Context) -> Result<bool> {
        self.check_services()?;
        let (target, output) = (context.target(&TargetArgs::default()).await?, &context.output);
        self.page.check(NAME)?;
        let stage = Stage::of(&target, NAME, output).await?;
        let launch = Launch::of(stage.layout, &target).await?;
        let mut interrupts = Interrupts::listen()?;
        let (mut front, settler) = (launch.start(Role::Front)?, Settler::of(&launch));
        let measured = tokio::select! {
            measured = self.measure(&stage, &settler, &mut front) => measured,
            () = interrupts.received() => Err(anyhow!("interrupted")),
        };
        // Its topics and its database must not remain, whatever the result of the measurement.
        let stopped = settler.stop_with(&mut front).await;
        let report = Report::of(measured?);
        report.print(output)?;
        stopped?;
        report.conclude(output, &self.page, NAME)
    }

    /// Refuses a consumer that is named twice, which would die too often.
    fn check_services(&self) -> Result<()> {
        let mut services = self.services.clone();
        services.sort_unstable();
        services.dedup();
        if services.len() < self.services.len() {
            bail!("--service names a consumer twice");
        }
        Ok(())
    }

    async fn measure(&self, stage: &Stage<'_>, settler: &Settler, front: &mut Program) -> Result<Measured> {
        let address = front.ready().await?;
        let pace = self.rounds.pace;
        settler.start().await?.joined().await?;
        let arena = Arena {
            settler,
            platform: Platform::new(stage.layout),
            on_chain: Bettors::of_chain(address, pace.players, stage.output)?,
            on_platform: Bettors::on(stage.target, &self.money(), stage.output).await?,
            pace,
        };
        let victims = self.victims();
        // Not counted, because a broker that was just started still compiles its code.
        for victim in &victims {
            turn(&arena, *victim).await?;
        }
        let mut killed: BTreeMap<Consumer, Vec<[Turn; 4]>> = BTreeMap::new();
        let mut rounds = Rounds::begin(self.rounds.rounds, stage.layout.state())?;
        while rounds.begin_next()? {
            let mut turns = Vec::new();
            for side in order_beside(self.services.len()) {
                turns.push(turn(&arena, victims[side]).await?);
            }
            for (service, round) in self.services.iter().zip(rounds_beside(&turns)) {
                killed.entry(*service).or_default().push(round);
            }
        }
        let machine = rounds.end()?;
        settler.stop().await?;
        Ok(Measured { setup: Setup { release: stage.release(), pace }, machine, rounds: killed })
    }

    /// The sides: the bare consumer, and those of the platform.
    fn victims(&self) -> Vec<Victim> {
        let services = self.services.iter().map(|service| Victim::Platform(*service));
        std::iter::once(Victim::Chain).chain(services).collect()
    }

    /// Bets for which each player of the platform needs money.
    fn money(&self) -> Plan {
        let pace = self.rounds.pace;
        let services = u64::try_from(self.services.len()).unwrap_or(u64::MAX);
        let turns = u64::from(self.rounds.turns()).saturating_mul(services);
        let each_s = pace.warm_up_s.saturating_add(pace.seconds).saturating_add(PROBES_S);
        super::plan(pace.rate_per_s, each_s.saturating_mul(turns), pace.players)
    }
}

async fn turn(arena: &Arena<'_>, victim: Victim) -> Result<Turn> {
    let turn = arena.turn(victim).await?;
    print_line(&turn.to_string());
    Ok(turn)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::commands::bench::pace::Pace;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        recovery: RecoveryArgs,
    }

    fn args(args: &[&str]) -> Result<RecoveryArgs, clap::Error> {
        Cli::try_parse_from(["recovery"].iter().chain(args)).map(|cli| cli.recovery)
    }

    #[test]
    fn arguments_have_defaults_and_limits() {
        let RecoveryArgs { rounds, services, .. } = args(&[]).unwrap();
        assert_eq!(rounds.rounds, 12);
        assert_eq!(rounds.pace, Pace { rate_per_s: 20, seconds: 12, warm_up_s: 3, players: 50 });
        assert_eq!(services, [Consumer::Game, Consumer::Payment]);
        for wrong in [["--seconds", "11"], ["--service", "user"], ["--rounds", "0"]] {
            assert!(args(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn consumer_is_killed_in_one_place_of_a_round() {
        let one = args(&["--service", "payment"]).unwrap();
        assert!(one.check_services().is_ok());
        assert_eq!(one.victims(), [Victim::Chain, Victim::Platform(Consumer::Payment)]);
        assert!(args(&["--service", "game,game"]).unwrap().check_services().is_err());
    }

    #[test]
    fn players_have_money_for_all_turns() {
        let args = args(&["--rounds", "2", "--players", "10"]).unwrap();
        assert_eq!(args.money().duration.as_secs(), (3 + 12 + PROBES_S) * 5 * 2);
    }
}
