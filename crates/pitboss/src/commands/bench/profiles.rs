//! `pitboss bench profiles`: measures what continuous profiling costs.
//!
//! Two platforms of this build run side by side. Both send their telemetry to their own recorder at a sample rate of 1. In B every
//! service also profiles itself for the whole of its life. Both get bets in turns (A B B A), so that other work of the machine affects
//! both. The CPU time of a bet is that of the profiled processes, with the sampler and with the chunks that they send.

mod report;

use std::path::Path;

use anyhow::Result;
use clap::Args;
use runtime::receiver::Receiver;

use self::report::{Measured, Report};
use super::contender::{Contender, idle_cpu_ms_per_s};
use super::pace::RoundsArgs;
use super::page::PageArgs;
use super::platform::{Platform, Variant};
use super::rounds::all_rounds;
use super::telemetry::turn::{Cpu, Turn};
use super::trials::Trials;
use crate::commands::Context;
use crate::load_generator::losses::Losses;
use crate::output::Output;

/// Name of the benchmark.
const NAME: &str = "profiles";
/// Share of new traces that both platforms record.
const SAMPLE_RATE: f64 = 1.0;

/// Arguments of `bench profiles`.
#[derive(Debug, Args)]
pub(super) struct ProfilesArgs {
    #[command(flatten)]
    rounds: RoundsArgs,
    #[command(flatten)]
    page: PageArgs,
}

impl ProfilesArgs {
    /// Measures both platforms and prints the comparison. Returns true if every bet was settled, the bad end of the services' CPU time
    /// is within its limit, and no telemetry was lost. A missed goal is written to the page, too.
    ///
    /// # Errors
    /// When this checkout has not been built (exit code 69), when a platform cannot be started, when a turn cannot be used, and on
    /// Ctrl-C or SIGTERM. The platforms are stopped in any case.
    pub(super) async fn run(&self, context: &Context) -> Result<bool> {
        let (checkout, output) = (context.checkout()?, &context.output);
        self.page.check(NAME)?;
        let mut trials = Trials::begin(&checkout.layout, output)?;
        trials
            .add(variants(), async |platforms: &[Platform; 2], folder: &Path| {
                self.measure(platforms, folder, output).await
            })
            .await?;
        trials.end(&self.page, NAME)
    }

    async fn measure(&self, platforms: &[Platform; 2], folder: &Path, output: &Output) -> Result<Report> {
        let RoundsArgs { rounds, pace } = self.rounds;
        let idle = idle_cpu_ms_per_s(platforms, pace.seconds, output).await?;
        let idle = idle.each_ref().map(Cpu::of);
        let both = Contender::both(platforms, pace, &pace.turns(self.rounds.turns()), output).await?;
        let [_, b] = platforms;
        let target = b.target()?;
        let lost_before = Losses::read(&target).await?;
        let (machine, rounds) = all_rounds(rounds, folder, |side| {
            both[side].turn(move |of, sent| Turn::of(of, sent, idle[side]))
        })
        .await?;
        Ok(Report::of(Measured {
            release: b.release(),
            pace,
            idle_cpu_ms_per_s: idle,
            machine,
            losses: Losses::read(&target).await?.since(&lost_before),
            rounds,
        }))
    }
}

/// Two platforms that differ only in their profiles.
fn variants() -> [Variant; 2] {
    [("no profiles", false), ("continuous profiles", true)].map(|(name, is_profiled)| Variant {
        name: name.to_owned(),
        receiver: Receiver::Recorder,
        sample_rate: SAMPLE_RATE,
        is_profiled,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_platform_is_profiled() {
        let [a, b] = variants();
        assert!(!a.is_profiled && b.is_profiled);
        assert_eq!((a.receiver, a.sample_rate), (b.receiver, b.sample_rate));
    }
}
