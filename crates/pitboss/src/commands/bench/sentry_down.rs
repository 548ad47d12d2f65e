//! `pitboss bench sentry-down`: measures how much slower bets are while the receiver of telemetry is out of order.
//!
//! Two platforms of this build run side by side. Their telemetry goes to two receivers in this process: that of A takes each
//! envelope, and that of B is dead, hung or over its limit. Both platforms get bets in turns (A B B A), so that other work of the
//! machine affects both. Each mode is measured on two new platforms. After the rounds the receiver of B works, too, and its services
//! report what they lost.

mod lost;
mod report;
mod requests;
mod stand_in;

use std::fmt;
use std::path::Path;

use anyhow::Result;
use clap::{Args, ValueEnum};
use serde::Serialize;

use self::lost::Lost;
use self::report::{Measured, Report};
use self::stand_in::{Mode, StandIn};
use super::contender::{Contender, Turn};
use super::pace::RoundsArgs;
use super::page::PageArgs;
use super::platform::{Platform, Variant};
use super::rounds::{Rounds, round};
use super::trials::Trials;
use crate::commands::Context;
use crate::output::Output;

/// Name of the benchmark.
const NAME: &str = "sentry-down";
/// Share of the traces that both platforms record: all, so that there is as much telemetry as possible.
const SAMPLE_RATE: f64 = 1.0;

/// Arguments of `bench sentry-down`.
#[derive(Debug, Args)]
#[command(mut_arg("seconds", |arg| arg.default_value("30")))]
pub(super) struct SentryDownArgs {
    /// How the receiver of B fails, or several ways separated by commas. Each is measured on two new platforms
    #[arg(long = "mode", value_enum, value_delimiter = ',', default_values = ["dead", "hung", "429"])]
    modes: Vec<Failure>,
    #[command(flatten)]
    rounds: RoundsArgs,
    #[command(flatten)]
    page: PageArgs,
}

/// How a receiver of telemetry fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
enum Failure {
    /// Connections are refused
    Dead,
    /// Requests are read and not answered
    Hung,
    /// Each request is answered with 429
    #[value(name = "429")]
    #[serde(rename = "429")]
    Limited,
}

impl Failure {
    const fn mode(self) -> Mode {
        match self {
            Self::Dead => Mode::Dead,
            Self::Hung => Mode::Hung,
            Self::Limited => Mode::Limited,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dead => "refuses connections (dead)",
            Self::Hung => "reads requests and does not answer (hung)",
            Self::Limited => "answers 429",
        })
    }
}

impl SentryDownArgs {
    /// Measures each mode and prints the comparison. Returns true if every bet was settled, the bad ends of p50 and p99 are within
    /// their limits, and every loss was reported. A missed goal is written to the page, too.
    ///
    /// # Errors
    /// When this checkout has not been built (exit code 69), when a platform or a receiver cannot be started, when a turn cannot be
    /// used, and on Ctrl-C or SIGTERM. The platforms are stopped in any case.
    pub(super) async fn run(&self, context: &Context) -> Result<bool> {
        let (checkout, output) = (context.checkout()?, &context.output);
        self.page.check(NAME)?;
        let mut trials = Trials::begin(&checkout.layout, output)?;
        for failure in &self.modes {
            // They outlive the platforms, so that these can end without waiting for a receiver.
            let mut receivers = [StandIn::start(Mode::Healthy)?, StandIn::start(failure.mode())?];
            let variants = variants(*failure, &receivers);
            trials
                .add(variants, async |platforms: &[Platform; 2], folder: &Path| {
                    self.measure(*failure, platforms, &mut receivers, folder, output).await
                })
                .await?;
        }
        trials.end(&self.page, NAME)
    }

    async fn measure(
        &self,
        mode: Failure,
        platforms: &[Platform; 2],
        receivers: &mut [StandIn; 2],
        folder: &Path,
        output: &Output,
    ) -> Result<Report> {
        let RoundsArgs { rounds, pace } = self.rounds;
        let both = Contender::both(platforms, pace, &pace.turns(self.rounds.turns()), output).await?;
        let mut turns = Vec::new();
        let mut rounds = Rounds::begin(rounds, folder)?;
        while rounds.begin_next()? {
            turns.push(round(|side| both[side].turn(Turn::of)).await?);
        }
        let machine = rounds.end()?;
        let received = receivers.each_ref().map(StandIn::received);
        let ([a, b], [receiver_a, receiver_b]) = (platforms, receivers);
        let lost_a = Lost::read(&a.target()?, receiver_a).await?;
        let lost_b = Lost::after_recovery(&b.target()?, receiver_b).await?;
        Ok(Report::of(Measured {
            release: b.release(),
            mode,
            pace,
            machine,
            received,
            lost: [lost_a, lost_b],
            rounds: turns,
        }))
    }
}

/// Two platforms that differ only in their receivers.
fn variants(failure: Failure, receivers: &[StandIn; 2]) -> [Variant; 2] {
    let [a, b] = receivers.each_ref().map(StandIn::receiver);
    let variant =
        |name: String, receiver| Variant { name, receiver, sample_rate: SAMPLE_RATE, is_profiled: false };
    [variant("its receiver works".to_owned(), a), variant(format!("its receiver {failure}"), b)]
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        sentry_down: SentryDownArgs,
    }

    fn args(args: &[&str]) -> Result<SentryDownArgs, clap::Error> {
        Cli::try_parse_from(["sentry-down"].iter().chain(args)).map(|cli| cli.sentry_down)
    }

    #[test]
    fn arguments_have_defaults_and_limits() {
        let parsed = args(&[]).unwrap();
        assert_eq!(parsed.modes, [Failure::Dead, Failure::Hung, Failure::Limited]);
        assert_eq!((parsed.rounds.rounds, parsed.rounds.pace.seconds), (7, 30));
        assert_eq!(args(&["--mode", "429,dead"]).unwrap().modes, [Failure::Limited, Failure::Dead]);
        assert!(args(&["--mode", "healthy"]).is_err());
    }

    #[tokio::test]
    async fn platforms_differ_in_their_receivers() {
        let receivers = [Mode::Healthy, Mode::Dead].map(|mode| StandIn::start(mode).unwrap());
        let [a, b] = variants(Failure::Dead, &receivers);
        assert_eq!((a.sample_rate, b.sample_rate), (1.0, 1.0));
        assert_ne!(a.receiver, b.receiver);
        assert_eq!(b.name, "its receiver refuses connections (dead)");
    }
}
