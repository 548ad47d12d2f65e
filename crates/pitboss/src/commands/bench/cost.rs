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
mod shares;
pub(super) mod usage;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use runtime::Layout;
use runtime::control::Client;
use runtime::part::{PartState, Status};

use self::interval::{Interval, Reading};
use self::report::{Report, Setup, kinds};
use crate::checkout::Running;
use crate::commands::bench::page;
use crate::commands::{Context, load};
use crate::load_generator::load_report;
use crate::load_generator::plan::Plan;
use crate::output::Output;
use crate::player::Gateway;
use crate::steps::print_line;
use crate::target::{Target, TargetArgs};

/// Name of the benchmark in a page.
const NAME: &str = "cost";

/// Arguments of `bench cost`.
#[derive(Debug, Args)]
pub(super) struct CostArgs {
    /// Bets a second, sent at fixed times (open loop)
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rate_per_s: u32,
    /// Duration of the measured interval, and of the idle interval before it, in seconds
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Duration of the load before the measured interval, in seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    warm_up_s: u64,
    /// Number of players that share the bets
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    players: u16,
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

impl CostArgs {
    /// Measures the platform of this checkout and prints the cost of a bet. Returns true if every bet of the interval was answered
    /// with 200. Otherwise no page is written.
    ///
    /// # Errors
    /// When the platform is not up and ready, when another program than the local runtime runs it, when it cannot be read, or when no
    /// bet of the interval was settled.
    pub(super) async fn run(&self, context: &Context) -> Result<bool> {
        let (target, output) = (context.target(&TargetArgs::default()).await?, &context.output);
        let layout = target.layout().context(
            "`bench cost` reads the processes of a platform that ./pitboss up started, and something else runs this one",
        )?;
        if let Some(path) = &self.report {
            page::check(path, NAME)?;
        }
        check_ready(&Client::new(layout).status().await?)?;
        let report = self.measure(&Stage { target: &target, layout, output }).await?;
        if output.json {
            output.line(&serde_json::to_string(&report)?);
        } else {
            output.text(&report.to_text(output.columns));
        }
        if let Some(problem) = report.problem() {
            output.problem(&problem, 1);
            return Ok(false);
        }
        if let Some(path) = &self.report {
            page::write(path, NAME, &report.to_markdown())?;
            print_line(&format!("wrote {}", path.display()));
        }
        Ok(true)
    }

    /// Measures both intervals. The idle one comes first, because the registrations would leave work behind.
    async fn measure(&self, stage: &Stage<'_>) -> Result<Report> {
        let setup = Setup {
            release: Running::of(stage.layout).map(|running| running.release),
            rate_per_s: self.rate_per_s,
            warm_up_s: self.warm_up_s,
            players: self.players,
            fsync_ms: machine::fsync_ms(stage.layout.state())?,
        };
        let idle = stage.idle(Duration::from_secs(self.seconds)).await?;
        let (load, bets) = self.load(stage).await?;
        if bets.settled == 0 {
            let (rejected, errors) = (bets.rejected, kinds(&bets.errors_and_refusals()));
            bail!(
                "no bet of the interval was settled, so none has a cost (rejected: {rejected}, errors: {errors})"
            );
        }
        Ok(Report::of(setup, &idle, &load, bets))
    }

    /// Registers the players, warms the platform up, and measures the interval with bets.
    async fn load(&self, stage: &Stage<'_>) -> Result<(Interval, load_report::Report)> {
        let gateway = Gateway::new(&stage.target.gateway_url, stage.target.operator_token.clone())?;
        let plan = self.plan(self.seconds);
        let all = self.plan(self.warm_up_s.saturating_add(self.seconds));
        let players = load::register(&gateway, &all, stage.output).await?;
        if self.warm_up_s > 0 {
            load::send(&gateway, &players, &self.plan(self.warm_up_s), stage.output).await;
        }
        let begin = Reading::at_start(stage.target, stage.layout).await?;
        let tally = load::send(&gateway, &players, &plan, stage.output).await;
        let end = Reading::at_end(stage.target, stage.layout).await?;
        let interval = Interval { begin, end };
        let took = Duration::from_secs_f64(interval.seconds());
        Ok((interval, tally.report(plan.rate_per_s, took)))
    }

    /// Bets at the requested rate for this time.
    fn plan(&self, seconds: u64) -> Plan {
        super::plan(self.rate_per_s, seconds, self.players)
    }
}

impl Stage<'_> {
    /// Measures an interval in which this command sends nothing.
    async fn idle(&self, duration: Duration) -> Result<Interval> {
        let live = self.output.spinner("idle interval");
        live.set_message(format!("measuring the platform without a load for {} s", duration.as_secs()));
        let begin = Reading::at_start(self.target, self.layout).await?;
        tokio::time::sleep(duration).await;
        let end = Reading::at_end(self.target, self.layout).await?;
        live.finish_and_clear();
        Ok(Interval { begin, end })
    }
}

/// Refuses a platform with a part that is not ready.
pub(super) fn check_ready(status: &Status) -> Result<()> {
    if status.all_ready() {
        return Ok(());
    }
    let others = status.parts.iter().filter(|part| part.state != PartState::Ready);
    let others: Vec<String> =
        others.map(|part| format!("{} is {}", part.name, part.state.as_str())).collect();
    bail!(
        "the platform is not ready ({}): repeat this when ./pitboss status shows every part as ready",
        others.join(", ")
    );
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use runtime::part::{Kind, PartStatus};

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        cost: CostArgs,
    }

    fn args(args: &[&str]) -> Result<CostArgs, clap::Error> {
        Cli::try_parse_from(["cost"].iter().chain(args)).map(|cli| cli.cost)
    }

    #[test]
    fn arguments_have_defaults_and_limits() {
        let CostArgs { rate_per_s, seconds, warm_up_s, players, report } = args(&[]).unwrap();
        assert_eq!((rate_per_s, seconds, warm_up_s, players, report), (20, 30, 10, 50, None));
        assert_eq!(args(&["--report"]).unwrap().report, Some(PathBuf::from(page::DEFAULT)));
        assert_eq!(args(&["--report", "a.md"]).unwrap().report, Some(PathBuf::from("a.md")));
        for wrong in [["--rate-per-s", "0"], ["--seconds", "0"], ["--players", "0"]] {
            assert!(args(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn every_part_has_to_be_ready() {
        let part = |name: &str, state| PartStatus {
            name: name.to_owned(),
            kind: Kind::Service,
            address: String::new(),
            pid: None,
            version: String::new(),
            state,
            memory_bytes: 0,
            restarts: 0,
            last_exit: None,
        };
        let status = |state| Status {
            runtime: "local".to_owned(),
            parts: vec![part("game", PartState::Ready), part("user", state)],
        };
        assert!(check_ready(&status(PartState::Ready)).is_ok());
        let error = check_ready(&status(PartState::Frozen)).unwrap_err().to_string();
        assert!(error.contains("not ready (user is frozen)"), "{error}");
    }
}
