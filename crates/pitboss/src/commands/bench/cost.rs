//! `pitboss bench cost`: measures what one settled bet costs on the running platform, by process.
//!
//! Two intervals of the same length are measured: first one without a load, then one with bets at a fixed rate. At the start and
//! at the end of each, the processes of all parts and the counters of all services are read. A difference divided by the bets is
//! the cost of a bet. The idle interval says which share of it the platform would have used without bets.

mod counters;
pub(super) mod grid;
mod interval;
pub(super) mod machine;
pub(super) mod report;
pub(super) mod shares;
pub(super) mod usage;

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use self::interval::{Interval, Reading};
use self::report::{Report, Setup, kinds};
use super::bettors::Bettors;
use super::pace::Pace;
use super::page::PageArgs;
use super::report::BenchReport as _;
use super::stage::Stage;
use super::turn;
use crate::commands::Context;
use crate::load_generator::load_report;
use crate::target::TargetArgs;

/// Name of the benchmark in a page.
const NAME: &str = "cost";

/// Arguments of `bench cost`.
#[derive(Debug, Args)]
#[command(
    mut_arg("seconds", |arg| arg.default_value("30")),
    mut_arg("warm_up_s", |arg| arg.default_value("10")),
    mut_arg("players", |arg| arg.help("Number of players that share the bets"))
)]
pub(super) struct CostArgs {
    #[command(flatten)]
    pace: Pace,
    #[command(flatten)]
    page: PageArgs,
}

impl CostArgs {
    /// Measures the platform of this checkout and prints the cost of a bet. Returns true if every bet of the interval was answered
    /// with 200. Otherwise no page is written.
    ///
    /// # Errors
    /// When the platform is not up and ready, when another program than the local runtime runs it, when it cannot be read, or when no
    /// bet of the interval was settled.
    pub(super) async fn run(&self, context: &Context) -> Result<bool> {
        let (target, output) = (context.target(&TargetArgs::default()).await?, &context.output);
        self.page.check(NAME)?;
        let report = self.measure(&Stage::of(&target, NAME, output).await?).await?;
        report.print(output)?;
        if !report.holds(output) {
            return Ok(false);
        }
        self.page.write(NAME, &report.to_markdown())?;
        Ok(true)
    }

    /// Measures both intervals. The idle one comes first, because the registrations would leave work behind.
    async fn measure(&self, stage: &Stage<'_>) -> Result<Report> {
        let (release, pace) = (stage.release(), self.pace);
        let setup = Setup { release, pace, fsync_ms: machine::fsync_ms(stage.layout.state())? };
        let idle = self.idle(stage).await?;
        let (load, bets) = self.load(stage).await?;
        if bets.settled == 0 {
            let (rejected, errors) = (bets.rejected, kinds(&bets.errors_and_refusals()));
            bail!(
                "no bet of the interval was settled, so none has a cost (rejected: {rejected}, errors: {errors})"
            );
        }
        Ok(Report::of(setup, &idle, &load, bets))
    }

    /// Measures an interval in which this command sends nothing.
    async fn idle(&self, stage: &Stage<'_>) -> Result<Interval> {
        let begin = Reading::at_start(stage.target, stage.layout).await?;
        turn::idle(Duration::from_secs(self.pace.seconds), stage.output).await;
        let end = Reading::at_end(stage.target, stage.layout).await?;
        Ok(Interval { begin, end })
    }

    /// Registers the players, warms the platform up, and measures the interval with bets.
    async fn load(&self, stage: &Stage<'_>) -> Result<(Interval, load_report::Report)> {
        let Pace { rate_per_s, seconds, warm_up_s, .. } = self.pace;
        let rate_per_s = f64::from(rate_per_s);
        let bettors = Bettors::on(stage.target, &self.pace.turns(1), stage.output).await?;
        bettors.send(rate_per_s, warm_up_s).await;
        let begin = Reading::at_start(stage.target, stage.layout).await?;
        let tally = bettors.send(rate_per_s, seconds).await;
        let end = Reading::at_end(stage.target, stage.layout).await?;
        let interval = Interval { begin, end };
        let took = Duration::from_secs_f64(interval.seconds());
        Ok((interval, tally.report(Some(rate_per_s), took)))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        cost: CostArgs,
    }

    #[test]
    fn intervals_are_longer_than_usual_turns() {
        let pace = Cli::try_parse_from(["cost"]).unwrap().cost.pace;
        assert_eq!(pace, Pace { rate_per_s: 20, seconds: 30, warm_up_s: 10, players: 50 });
        let given = Cli::try_parse_from(["cost", "--seconds", "5", "--warm-up-s", "0"]).unwrap().cost.pace;
        assert_eq!((given.seconds, given.warm_up_s), (5, 0));
    }
}
