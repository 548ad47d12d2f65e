//! `pitboss up`: brings everything up from nothing and shows the trace of one bet. A second `up` reports that nothing changed.

pub mod prepare;
mod report;
mod start;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use contracts::Part;
use runtime::pids::{self, Lock};
use runtime::services::release;
use runtime::{fetch, launch};
use tokio::signal::unix::{SignalKind, signal};

use crate::checkout::{Checkout, Running};
use crate::output::Output;
use crate::steps::{Steps, say};
use prepare::{Consent, Purpose};

/// What to leave out.
#[derive(Debug, Args)]
pub struct UpArgs {
    /// Do not ask before packages are installed
    #[arg(long)]
    yes: bool,
    /// Start what was built before
    #[arg(long)]
    no_build: bool,
    /// Play no bet at the end
    #[arg(long)]
    no_bet: bool,
    /// Only these parts
    #[arg(long, value_delimiter = ',', value_name = "PARTS")]
    only: Vec<String>,
}

impl UpArgs {
    /// The selected parts, or all parts if none is named.
    fn parts(&self) -> Result<Vec<Part>> {
        if self.only.is_empty() {
            return Ok(Part::ALL.to_vec());
        }
        let known = || Part::ALL.iter().map(|p| p.as_str()).collect::<Vec<_>>().join(", ");
        let parse = |name: &String| {
            name.parse()
                .map_err(|_| runtime::RuntimeError::UnknownPart { name: name.clone(), known: known() }.into())
        };
        self.only.iter().map(parse).collect()
    }
}

/// Supervisor and parts that this `up` started, and must stop when it fails.
#[derive(Debug, Default)]
struct Started {
    supervisor: bool,
    parts: Vec<String>,
}

/// Brings everything up.
///
/// # Errors
/// When something is missing, in use, or dies at start. Everything that was started is stopped then.
pub async fn run(args: &UpArgs, checkout: &Checkout, output: &Output) -> Result<ExitCode> {
    let layout = &checkout.layout;
    layout.create()?;
    let _lock = Lock::of_command(layout)?;
    let mut steps = Steps::default();
    let mut started = Started::default();
    let mut terminate = signal(SignalKind::terminate())?;
    let outcome = tokio::select! {
        outcome = bring_up(args, checkout, output, &mut steps, &mut started) => outcome,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
        _ = terminate.recv() => Err(anyhow::anyhow!("interrupted")),
    };
    if outcome.is_err() {
        stop_what_was_started(checkout, &started).await;
    }
    outcome
}

async fn bring_up(
    args: &UpArgs,
    checkout: &Checkout,
    output: &Output,
    steps: &mut Steps,
    started: &mut Started,
) -> Result<ExitCode> {
    let (layout, parts) = (&checkout.layout, args.parts()?);
    let ports = checkout.ports()?;
    let mut left = fetch::end_left(layout).await?;
    let runs = pids::supervisor_lives(layout)?;
    if !runs {
        left.extend(pids::clean_up(layout).await?);
        checkout.clear_running();
    }
    if !left.is_empty() {
        say(&format!("  removed what an interrupted command had left: {}", left.join(", ")));
    }
    if runs && let Some(running) = checkout.running().filter(|r| r.port_base != ports.base()) {
        bail!("the platform runs at ports from {}; ./pitboss down first", running.port_base);
    }
    prepare::ports_are_free(checkout, &parts).await?;
    prepare::disk_has_room(layout)?;
    let services = parts.iter().any(|p| p.is_service());
    let building = services && !args.no_build;
    let purpose = if building { Purpose::Build } else { Purpose::Run };
    prepare::tools(checkout, steps, Consent::new(args.yes), purpose).await?;
    prepare::downloads(checkout, steps).await?;
    if building {
        prepare::programs(layout, steps).await?;
    }
    let was_complete = checkout.running().is_some_and(|r| r.complete);
    let release = release(layout, env!("CARGO_PKG_VERSION"));
    let mut running = Running { port_base: ports.base(), release, complete: false };
    checkout.set_running(&running)?;
    let applied = start::start(checkout, &running, &parts, !args.only.is_empty(), steps, started).await?;
    running.complete = true;
    checkout.set_running(&running)?;
    if applied.is_nothing() && was_complete {
        return report::nothing_changed(checkout, &running, output).await;
    }
    let bet = if args.no_bet || !parts.contains(&Part::Gateway) {
        None
    } else {
        Some(start::one_bet(checkout, steps).await)
    };
    report::up(checkout, &running, steps, bet, output).await
}

async fn stop_what_was_started(checkout: &Checkout, started: &Started) {
    let layout = &checkout.layout;
    if started.supervisor {
        say("  stopping what was started");
        match launch::end(layout).await {
            Ok(_) => checkout.clear_running(),
            Err(error) => say(&format!("  {error}")),
        }
        return;
    }
    // The platform ran before, so only the parts that this command touched are stopped.
    let client = runtime::control::Client::new(layout);
    for part in &started.parts {
        say(&format!("  stopping {part}"));
        if let Err(error) = client.act(runtime::control::Action::Stop, part).await {
            say(&format!("  {error}"));
        }
    }
}
