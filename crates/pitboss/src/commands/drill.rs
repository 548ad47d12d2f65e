//! `pitboss drill`: a guided run for a person, from a load through a fault to its end and a summary for a report.

mod releases;

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, stderr, stdin};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use faults::FaultId;
use serde_json::{Value, json};

use crate::checkout::Checkout;
use crate::commands::Context;
use crate::drill::platform::Platform;
use crate::drill::summary::Summary;
use crate::drill::{Console, Scenario, engine, release, release_order, scenarios};
use crate::flag_file::FlagFile;
use crate::interrupts::Interrupts;
use crate::output::Output;
use crate::player::Gateway;
use crate::steps::print_line;
use crate::target::{Target, TargetArgs};
use crate::verify::debug;

/// Arguments of `drill`.
#[derive(Debug, Args)]
pub struct DrillArgs {
    /// The scenario, or `list`
    scenario: Choice,
    /// Seed of the amounts and of the fault of `blind` [default: random, named in the summary]
    #[arg(long)]
    seed: Option<u64>,
    /// Name the fault of `blind` in advance
    #[arg(long, value_name = "FAULT")]
    answer: Option<FaultId>,
    /// Do not wait for Enter between the steps
    #[arg(long)]
    yes: bool,
    /// Program of analytics with the regression, for `release`, in place of building one
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

/// A scenario on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Choice {
    /// Show the scenarios
    List,
    /// One bet is one trace, and the trace names the slow place
    Tracing,
    /// Five ways to be slow, each beside its baseline
    Performance,
    /// Three errors, each one issue with user, breadcrumbs and process (needs PITBOSS__DEBUG__ENABLED=true)
    Errors,
    /// Wrong amounts that raise no exception
    BusinessMetrics,
    /// Five broken consumers and their signatures
    Lag,
    /// From dead letters to the fix and the replay
    NotificationDrills,
    /// Slow and repeated records on Sentry's dashboards
    QueuesDashboard,
    /// Each alert rule fires within its time, and ends
    Alerts,
    /// A fault without its name, found from the dashboards
    Blind,
    /// A release with a defect: canary, rollback, resolved, regressed
    Release,
    /// Releases whose order surprises, with the verdicts of Sentry
    ReleaseOrder,
}

impl Choice {
    const fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Tracing => "tracing",
            Self::Performance => "performance",
            Self::Errors => "errors",
            Self::BusinessMetrics => "business-metrics",
            Self::Lag => "lag",
            Self::NotificationDrills => "notification-drills",
            Self::QueuesDashboard => "queues-dashboard",
            Self::Alerts => "alerts",
            Self::Blind => "blind",
            Self::Release => release::NAME,
            Self::ReleaseOrder => release_order::NAME,
        }
    }
}

impl DrillArgs {
    /// Runs the scenario, and prints its summary, also of a run that was interrupted. No fault stays armed. Exit code 0 only if
    /// everything was seen, ended, and the money is as it has to be.
    ///
    /// # Errors
    /// When no platform runs, it does not answer, or the drill was interrupted.
    pub async fn run(&self, context: &Context) -> Result<ExitCode> {
        let output = &context.output;
        if self.answer.is_some() && self.scenario != Choice::Blind {
            bail!("--answer names the fault of ./pitboss drill blind, and no other drill hides one");
        }
        if self.program.is_some() && self.scenario != Choice::Release {
            bail!("--program is the program of ./pitboss drill release, and no other drill deploys one");
        }
        match self.scenario {
            Choice::List => {
                list(output);
                return Ok(ExitCode::SUCCESS);
            }
            Choice::Release => return self.release(context).await,
            Choice::ReleaseOrder => return self.release_order(context).await,
            _ => {}
        }
        let checkout = context.checkout()?;
        let target = context.target(&TargetArgs::default()).await?;
        let gateway = Gateway::new(&target.gateway_url, target.operator_token.clone())?;
        let flags = FlagFile::of(&checkout.layout);
        let seed = self.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
        let (scenario, left_out) = self.scenario(&target, seed)?;
        if scenario.needs_debug() && !debug::is_enabled(&target).await? {
            bail!("{}", debug::IS_OFF);
        }
        for fault in &left_out {
            print_line(&format!("left out {fault}: the supervisor of ./pitboss up applies it"));
        }
        let mut person = self.console(output);
        let settings = settings(&checkout);
        let mut platform = Platform::new(context, (&target, &gateway), &flags, &settings, seed);
        let mut summary = Summary::new(scenario.name, scenario.title, seed, &left_out);
        flags.disarm_all()?;
        let mut interrupts = Interrupts::listen()?;
        let ended = tokio::select! {
            ended = engine::run(&scenario, &mut platform, &mut person, &mut summary) => ended,
            () = interrupts.received() => Err(anyhow::anyhow!("interrupted: every fault is disarmed")),
        };
        flags.disarm_all()?;
        platform.close().await;
        print(&summary, output)?;
        ended?;
        Ok(if summary.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// The person, who is asked only at a terminal.
    fn console(&self, output: &Output) -> Console {
        let is_asked = stdin().is_terminal() && stderr().is_terminal() && !self.yes;
        Console::new(is_asked, self.answer, output.columns)
    }

    fn scenario(&self, target: &Target, seed: u64) -> Result<(Scenario, Vec<FaultId>)> {
        let has_supervisor = target.layout().is_some();
        let Some(mut scenario) = scenarios::scenario(self.scenario.name(), seed, has_supervisor) else {
            bail!("this platform can apply no fault of {}", self.scenario.name());
        };
        let left_out = if has_supervisor { Vec::new() } else { scenario.leave_out_supervisor() };
        Ok((scenario, left_out))
    }
}

/// The settings of `.env`, and those of the terminal, which win.
fn settings(checkout: &Checkout) -> BTreeMap<String, String> {
    let mut settings = checkout.dotenv.clone();
    let terminal = std::env::vars_os();
    let terminal = terminal.filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()));
    settings.extend(terminal.filter(|(name, _)| name.starts_with("PITBOSS_")));
    settings
}

fn print(summary: &Summary, output: &Output) -> Result<()> {
    if output.json {
        output.line(&serde_json::to_string(summary)?);
    } else {
        output.text(&summary.markdown());
    }
    Ok(())
}

fn list(output: &Output) {
    let of_faults = scenarios::all(0).into_iter().map(|Scenario { name, title, .. }| (name, title));
    let of_releases = [(release::NAME, release::TITLE), (release_order::NAME, release_order::TITLE)];
    let all: Vec<(&str, &str)> = of_faults.chain(of_releases).collect();
    if output.json {
        let named = |(name, title): &(&str, &str)| json!({ "name": name, "title": title });
        let scenarios: Vec<Value> = all.iter().map(named).collect();
        output.line(&json!({ "scenarios": scenarios }).to_string());
        return;
    }
    for (name, title) in all {
        output.line(&format!("{name:<20} {title}"));
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        drill: DrillArgs,
    }

    #[test]
    fn every_scenario_has_its_name() {
        let named: Vec<&str> = scenarios::all(1).iter().map(|scenario| scenario.name).collect();
        let others = [Choice::List, Choice::Release, Choice::ReleaseOrder];
        let choices = Choice::value_variants().iter().filter(|choice| !others.contains(choice));
        assert_eq!(choices.map(|choice| choice.name()).collect::<Vec<_>>(), named);
        for choice in Choice::value_variants() {
            let cli = Cli::try_parse_from(["drill", choice.name()]).unwrap();
            assert_eq!(cli.drill.scenario, *choice);
        }
    }

    #[test]
    fn answer_is_a_fault() {
        let parse = |args: &[&str]| Cli::try_parse_from(["drill"].iter().chain(args));
        let args = parse(&["blind", "--answer", "consumer.dead", "--seed", "7", "--yes"]).unwrap().drill;
        assert_eq!((args.answer, args.seed, args.yes), (Some(FaultId::ConsumerDead), Some(7), true));
        assert!(parse(&["blind", "--answer", "consumer"]).is_err() && parse(&["unknown"]).is_err());
        assert!(parse(&[]).is_err());
    }
}
