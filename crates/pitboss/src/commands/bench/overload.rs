//! `pitboss bench overload`: finds the rate at which the running platform is saturated, and compares bets above it with bets below.

mod report;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;

use self::report::{Phase, Report};
use super::bettors::Bettors;
use super::cost::report::kinds;
use super::report::BenchReport as _;
use crate::commands::Context;
use crate::load_generator::load_report::{Kind, Outcome};
use crate::steps::print_line;
use crate::target::TargetArgs;

/// Highest rate that is tried, in bets a second.
const RATE_MAX_PER_S: u32 = 1_000;
/// Share of a step's bets that have to settle. With fewer, the step is above saturation.
const SETTLED_SHARE_MIN: f64 = 0.95;
/// The two measured rates, as multiples of the saturation.
const BELOW: f64 = 0.8;
const ABOVE: f64 = 2.0;

/// Arguments of `bench overload`.
#[derive(Debug, Args)]
pub(super) struct OverloadArgs {
    /// Rate of the first step of the search, in bets a second
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    from_rate_per_s: u32,
    /// Growth of the rate from one step to the next, in percent
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u32).range(5..=100))]
    step_percent: u32,
    /// Duration of a step, in seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(5..=600))]
    step_s: u64,
    /// Duration of the measurement below saturation, and of the one above, in seconds
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(10..=3_600))]
    seconds: u64,
    /// Time without bets before each of the two, in seconds
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=600))]
    pause_s: u64,
    /// Number of players that share the bets
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    players: u16,
}

impl OverloadArgs {
    /// Measures the platform of this checkout. Returns true if the accepted bets above saturation are fast, as many as at
    /// saturation, and all settled.
    ///
    /// # Errors
    /// When the platform is not up, or when no rate saturates it.
    pub(super) async fn run(&self, context: &Context) -> Result<bool> {
        let (target, output) = (context.target(&TargetArgs::default()).await?, &context.output);
        let plan = super::plan(RATE_MAX_PER_S, self.seconds_max(), self.players);
        let bettors = Bettors::on(&target, &plan, output).await?;
        let steps = self.search(&bettors).await?;
        let saturation_per_s = steps.iter().map(|step| step.settled_per_s).fold(0.0, f64::max);
        let below = self.measure(&bettors, saturation_per_s * BELOW).await;
        let above = self.measure(&bettors, saturation_per_s * ABOVE).await;
        let report = Report::of(self.players, saturation_per_s, steps, below, above);
        report.print(output)?;
        Ok(report.holds(output))
    }

    /// Raises the rate until the platform does not settle all bets in time. The last step is above saturation.
    async fn search(&self, bettors: &Bettors<'_>) -> Result<Vec<Phase>> {
        let mut steps = Vec::new();
        for rate_per_s in self.rates() {
            let step = phase(bettors, rate_per_s, self.step_s).await;
            print_line(&format!("{rate_per_s} bets/s: {:.1} settled/s", step.settled_per_s));
            if step.settled == 0 {
                bail!("no bet was settled at {rate_per_s} a second (errors: {})", kinds(&step.errors));
            }
            let is_saturated = (step.settled as f64) < step.sent as f64 * SETTLED_SHARE_MIN;
            steps.push(step);
            if is_saturated {
                return Ok(steps);
            }
        }
        bail!(
            "{RATE_MAX_PER_S} bets a second do not saturate the platform: nothing was measured above saturation"
        )
    }

    async fn measure(&self, bettors: &Bettors<'_>, rate_per_s: f64) -> Phase {
        // Consumers that no bet waits for are still busy with the phase before.
        tokio::time::sleep(Duration::from_secs(self.pause_s)).await;
        phase(bettors, rate_per_s.round().max(1.0) as u32, self.seconds).await
    }

    /// Rates of the search. The highest is the last.
    fn rates(&self) -> Vec<u32> {
        let mut rates = vec![self.from_rate_per_s];
        let mut rate_per_s = self.from_rate_per_s;
        while rate_per_s < RATE_MAX_PER_S {
            let grown = rate_per_s + (rate_per_s * self.step_percent / 100).max(1);
            rate_per_s = grown.min(RATE_MAX_PER_S);
            rates.push(rate_per_s);
        }
        rates
    }

    /// Duration of all phases with the most steps. The players have money for as many bets.
    fn seconds_max(&self) -> u64 {
        (self.rates().len() as u64).saturating_mul(self.step_s).saturating_add(self.seconds.saturating_mul(3))
    }
}

/// Sends bets at this rate and waits until all have ended.
async fn phase(bettors: &Bettors<'_>, rate_per_s: u32, seconds: u64) -> Phase {
    let started = Instant::now();
    let (mut accepted_by_s, mut settled_within) = (vec![0_u64; seconds as usize], 0_u64);
    let count = |outcome: &Outcome| {
        let elapsed = started.elapsed();
        // What is settled after the phase is its backlog, and no part of the rate.
        settled_within += u64::from(outcome.kind == Kind::Settled && elapsed.as_secs() < seconds);
        // An outcome is counted in the second for which its bet was scheduled.
        let sent_s = elapsed.saturating_sub(outcome.latency).as_secs() as usize;
        let is_accepted = !matches!(outcome.kind, Kind::Refused | Kind::NotSent);
        if is_accepted && let Some(accepted) = accepted_by_s.get_mut(sent_s) {
            *accepted += 1;
        }
    };
    let tally = bettors.send_each(f64::from(rate_per_s), seconds, count).await;
    Phase::of(rate_per_s, seconds, &tally, settled_within, accepted_by_s)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        overload: OverloadArgs,
    }

    fn args(args: &[&str]) -> Result<OverloadArgs, clap::Error> {
        Cli::try_parse_from(["overload"].iter().chain(args)).map(|cli| cli.overload)
    }

    #[test]
    fn rates_grow_to_the_highest() {
        let rates = args(&["--from-rate-per-s", "400", "--step-percent", "50"]).unwrap().rates();
        assert_eq!(rates, [400, 600, 900, 1_000]);
        assert_eq!(args(&["--from-rate-per-s", "1000"]).unwrap().rates(), [1_000]);
        assert_eq!(args(&["--from-rate-per-s", "1"]).unwrap().rates()[..4], [1, 2, 3, 4]);
    }

    #[test]
    fn arguments_have_limits() {
        assert!(args(&[]).is_ok());
        for wrong in [["--seconds", "9"], ["--step-s", "4"], ["--step-percent", "0"], ["--players", "0"]] {
            assert!(args(&wrong).is_err(), "{wrong:?}");
        }
    }
}
