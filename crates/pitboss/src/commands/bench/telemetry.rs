//! `pitboss bench telemetry`: measures what telemetry costs, at one or more sample rates.
//!
//! Two platforms of this build run side by side: A without telemetry, and B with telemetry to its recorder. Both get bets in turns
//! (A B B A), so that other work of the machine affects both. Each sample rate is measured on two new platforms. If B records all
//! traces, the benchmark also looks in its recorder whether each settled bet became a complete one.

mod report;
pub(super) mod turn;
mod whole;

use std::path::Path;

use anyhow::Result;
use clap::Args;
use runtime::receiver::Receiver;

use self::report::{Measured, Report};
use self::turn::{Cpu, Turn};
use self::whole::Whole;
use super::contender::{Contender, idle_cpu_ms_per_s};
use super::pace::RoundsArgs;
use super::page::PageArgs;
use super::platform::{Platform, Variant};
use super::rounds::{Rounds, round};
use super::trials::Trials;
use crate::commands::Context;
use crate::load_generator::losses::Losses;
use crate::output::Output;

/// Name of the benchmark.
const NAME: &str = "telemetry";

/// Arguments of `bench telemetry`.
#[derive(Debug, Args)]
pub(super) struct TelemetryArgs {
    /// Share of the traces that B records, or several separated by commas. Each is measured on two new platforms
    #[arg(long = "sample-rate", value_name = "SHARE", value_delimiter = ',', value_parser = parse_share, default_values = ["0", "0.1", "1"])]
    sample_rates: Vec<f64>,
    #[command(flatten)]
    rounds: RoundsArgs,
    #[command(flatten)]
    page: PageArgs,
}

fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("expected a number from 0 to 1, such as 0.1".to_owned()),
    }
}

impl TelemetryArgs {
    /// Measures each sample rate and prints the comparison. Returns true if every bet was settled, the bad end of the services' CPU
    /// time is within its limit, all looked-for traces are complete, and no telemetry was lost. A missed goal is written to the page,
    /// too.
    ///
    /// # Errors
    /// When this checkout has not been built (exit code 69), when a platform cannot be started, when a turn cannot be used, and on
    /// Ctrl-C or SIGTERM. The platforms are stopped in any case.
    pub(super) async fn run(&self, context: &Context) -> Result<bool> {
        let (checkout, output) = (context.checkout()?, &context.output);
        self.page.check(NAME)?;
        let mut trials = Trials::begin(&checkout.layout, output)?;
        for sample_rate in &self.sample_rates {
            trials
                .add(variants(*sample_rate), async |platforms: &[Platform; 2], folder: &Path| {
                    self.measure(*sample_rate, platforms, folder, output).await
                })
                .await?;
        }
        trials.end(&self.page, NAME)
    }

    /// Measures both platforms. The idle interval comes first, because the registrations would leave work behind.
    async fn measure(
        &self,
        sample_rate: f64,
        platforms: &[Platform; 2],
        folder: &Path,
        output: &Output,
    ) -> Result<Report> {
        let RoundsArgs { rounds, pace } = self.rounds;
        let idle = idle_cpu_ms_per_s(platforms, pace.seconds, output).await?;
        let idle = idle.each_ref().map(Cpu::of);
        let both = Contender::both(platforms, pace, &pace.turns(self.rounds.turns()), output).await?;
        let [_, b] = platforms;
        let target = b.target()?;
        let lost_before = Losses::read(&target).await?;
        // Of another share, the recorder does not know which traces are missing.
        let mut traces = (sample_rate >= 1.0).then(Whole::default);
        let mut turns = Vec::new();
        let mut rounds = Rounds::begin(rounds, folder)?;
        while rounds.begin_next()? {
            let measured =
                round(|side| both[side].turn(move |of, sent| Turn::of(of, sent, idle[side]))).await?;
            if let Some(traces) = &mut traces {
                traces.add_round(&measured, &target, output).await?;
            }
            turns.push(measured);
        }
        Ok(Report::of(Measured {
            release: b.release(),
            sample_rate,
            pace,
            idle_cpu_ms_per_s: idle,
            machine: rounds.end()?,
            traces,
            losses: Losses::read(&target).await?.since(&lost_before),
            rounds: turns,
        }))
    }
}

/// Two platforms that differ only in their telemetry.
fn variants(sample_rate: f64) -> [Variant; 2] {
    let without = Variant {
        name: "no telemetry".to_owned(),
        receiver: Receiver::Nobody,
        sample_rate: 0.0,
        is_profiled: false,
    };
    let name = format!("telemetry, sample rate {sample_rate}");
    [without, Variant { name, receiver: Receiver::Recorder, sample_rate, is_profiled: false }]
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        telemetry: TelemetryArgs,
    }

    fn args(args: &[&str]) -> Result<TelemetryArgs, clap::Error> {
        Cli::try_parse_from(["telemetry"].iter().chain(args)).map(|cli| cli.telemetry)
    }

    #[test]
    fn arguments_have_defaults_and_limits() {
        let parsed = args(&[]).unwrap();
        assert_eq!((parsed.sample_rates, parsed.rounds.rounds), (vec![0.0, 0.1, 1.0], 7));
        assert_eq!(args(&["--sample-rate", "1,0.5"]).unwrap().sample_rates, [1.0, 0.5]);
        for wrong in ["1.1", "-0.1", "nan", "all"] {
            assert!(args(&[&format!("--sample-rate={wrong}")]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn platform_without_telemetry_has_no_receiver() {
        let [a, b] = variants(0.1);
        assert_eq!((a.receiver, a.sample_rate), (Receiver::Nobody, 0.0));
        assert_eq!((b.receiver, b.sample_rate), (Receiver::Recorder, 0.1));
    }
}
