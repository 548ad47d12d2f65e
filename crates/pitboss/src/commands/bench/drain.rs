//! `pitboss bench drain`: measures how fast a consumer of the running platform reads a backlog, compared with the bare consumer.
//!
//! The bare consumer (A) is a settler of the bare chain (`crates/barechain`) that writes as many documents for each record as the
//! consumer of the platform (B), in the same order. Both get backlogs of the same length in turns (A B B A), on the same broker and in
//! the same store. The backlog of the platform consists of real commands, which its own services have published.

mod outcomes;
mod queue;
mod report;
mod side;

use anyhow::{Result, anyhow};
use clap::Args;

use self::queue::Drained;
use self::report::{Measured, Report, Setup};
use self::side::{ChainSide, PlatformSide};
use super::consumer::Consumer;
use super::page::PageArgs;
use super::program::{Launch, Program, Role};
use super::report::{BenchReport as _, SheetReport as _};
use super::rounds::{all_rounds, turn_of_each};
use super::settler::Settler;
use super::stage::Stage;
use crate::actuators::Platform;
use crate::commands::{Context, load};
use crate::interrupts::Interrupts;
use crate::load_generator::plan::Plan;
use crate::player::Gateway;
use crate::steps::print_line;
use crate::target::TargetArgs;

/// Name of the benchmark.
const NAME: &str = "drain";

/// Arguments of `bench drain`.
#[derive(Debug, Args)]
pub(super) struct DrainArgs {
    /// Consumer whose backlog is drained
    #[arg(long, value_enum, default_value_t = Consumer::Payment)]
    group: Consumer,
    /// Number of records in each backlog
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1_000..=200_000))]
    records: u32,
    /// Number of rounds of four turns. An interval with 95 % needs at least 6
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Number of players that share the bets. The records of one player are handled one after the other
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    players: u16,
    #[command(flatten)]
    page: PageArgs,
}

impl DrainArgs {
    /// Measures both consumers and prints the comparison. Returns true if the bad end of the ratio is within its limit. A ratio beyond
    /// it is written to the page, too.
    ///
    /// # Errors
    /// When the platform is not up and ready, when another program than the local runtime runs it, when the chain has not been built
    /// (exit code 69) or fails, when a backlog is not drained or has other outcomes than its records, and on Ctrl-C or SIGTERM. In any
    /// case all consumers are started again, and the chain's topics and its database are deleted.
    pub(super) async fn run(&self, context: &Context) -> Result<bool> {
        let (target, output) = (context.target(&TargetArgs::default()).await?, &context.output);
        self.page.check(self.name())?;
        let stage = Stage::of(&target, NAME, output).await?;
        let launch = Launch::of(stage.layout, &target).await?.with_writes(self.group.store_writes());
        let mut interrupts = Interrupts::listen()?;
        let (mut front, settler) = (launch.start(Role::Front)?, Settler::of(&launch));
        let measured = tokio::select! {
            measured = self.measure(&stage, &settler, &mut front) => measured,
            () = interrupts.received() => Err(anyhow!("interrupted")),
        };
        // No consumer may remain stopped, and nothing of the chain may remain, whatever the result of the measurement.
        let started = side::start_all(&Platform::new(stage.layout)).await;
        let stopped = settler.stop_with(&mut front).await;
        let report = Report::of(measured?);
        report.print(output)?;
        started.and(stopped)?;
        report.conclude(output, &self.page, self.name())
    }

    /// Name of the place in a page.
    const fn name(&self) -> &'static str {
        match self.group {
            Consumer::Game => "drain game",
            Consumer::Payment => "drain payment",
        }
    }

    async fn measure(&self, stage: &Stage<'_>, settler: &Settler, front: &mut Program) -> Result<Measured> {
        front.ready().await?;
        let chain = ChainSide::of(settler, stage.layout, self.players)?;
        let gateway = Gateway::new(&stage.target.gateway_url, stage.target.operator_token.clone())?;
        let players = load::register(&gateway, &self.money(), stage.output).await?;
        let platform = PlatformSide::of(stage.target, stage.layout, self.group, players)?;
        platform.until_idle().await?;
        let (chain, platform) = (&chain, &platform);
        let turn = |side: usize| async move {
            let (name, drained) = match side {
                0 => ("bare consumer", chain.turn(self.records).await?),
                _ => (self.group.as_str(), platform.turn(self.records).await?),
            };
            let Drained { records_per_s, to_lag_0_s, .. } = drained;
            print_line(&format!("{name}: {records_per_s:.0} records/s, lag 0 after {to_lag_0_s:.1} s"));
            anyhow::Ok(drained)
        };
        turn_of_each(&turn).await?;
        // Before the rounds, which would be lost with it if it failed
        let in_batches = chain.turn_in_batches(self.records).await?;
        print_line(&format!("bare consumer in batches: {:.0} records/s", in_batches.records_per_s));
        let (machine, rounds) = all_rounds(self.rounds, stage.layout.state(), turn).await?;
        Ok(Measured { setup: self.setup(stage), machine, in_batches, rounds })
    }

    fn setup(&self, stage: &Stage<'_>) -> Setup {
        Setup {
            release: stage.release(),
            group: self.group,
            store_writes: self.group.store_writes(),
            records: self.records,
            players: self.players,
        }
    }

    /// Bets for which each player needs money: two backlogs of the platform in each round, and one that does not count.
    fn money(&self) -> Plan {
        let backlogs = u64::from(self.rounds).saturating_mul(2).saturating_add(1);
        super::plan(self.records, backlogs, self.players)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        drain: DrainArgs,
    }

    fn args(args: &[&str]) -> Result<DrainArgs, clap::Error> {
        Cli::try_parse_from(["drain"].iter().chain(args)).map(|cli| cli.drain)
    }

    #[test]
    fn arguments_have_defaults_and_limits() {
        let DrainArgs { group, records, rounds, players, .. } = args(&[]).unwrap();
        assert_eq!((group, records, rounds, players), (Consumer::Payment, 5_000, 7, 100));
        let game = args(&["--group", "game"]).unwrap();
        assert_eq!((game.group, game.name()), (Consumer::Game, "drain game"));
        for wrong in [["--records", "999"], ["--records", "200001"], ["--group", "user"], ["--rounds", "0"]] {
            assert!(args(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn players_have_money_for_all_backlogs() {
        let args = args(&["--rounds", "3", "--records", "1000", "--players", "10"]).unwrap();
        let bets_each = 7 * 1_000 / 10;
        assert!(args.money().deposit_minor() >= bets_each * crate::commands::bench::STAKE_MINOR);
    }
}
