//! `pitboss up`: brings everything up from nothing and shows the trace of one bet. A second `up` reports that nothing changed.

pub mod prepare;
mod start;
mod up_report;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use contracts::Part;
use runtime::pids::{self, Lock};
use runtime::receiver::Receiver;
use runtime::{Layout, fetch, infra, launch, services};

use crate::cargo;
use crate::checkout::{Checkout, Running};
use crate::commands::Context;
use crate::interrupts::Interrupts;
use crate::output::Output;
use crate::steps::{Steps, print_line};
use prepare::{Consent, Purpose};
use start::Started;

pub use start::READY_DEADLINE;

/// Arguments of `up`.
#[derive(Debug, Args)]
pub struct UpArgs {
    /// Install packages without asking
    #[arg(long)]
    yes: bool,
    /// Start the programs of the last build
    #[arg(long)]
    no_build: bool,
    /// Do not play a bet at the end
    #[arg(long)]
    no_bet: bool,
    /// Also start Sentry's Spotlight as a second witness, to which the recorder copies every envelope (docs/SPOTLIGHT.md).
    /// Needs node and npm
    #[arg(long)]
    spotlight: bool,
    /// Start only these parts, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "PARTS")]
    only: Vec<String>,
}

impl UpArgs {
    /// Brings everything up.
    ///
    /// # Errors
    /// When something is missing, in use, or dies at start. What was started is stopped then, except servers
    /// whose topics have to be changed first.
    pub async fn run(&self, context: &Context) -> Result<ExitCode> {
        let checkout = context.checkout()?;
        checkout.layout.create()?;
        let _lock = Lock::of_command(&checkout.layout)?;
        let mut steps = Steps::default();
        let mut started = Started::default();
        let mut interrupts = Interrupts::listen()?;
        let outcome = tokio::select! {
            outcome = bring_up(self, &checkout, &context.output, &mut steps, &mut started) => outcome,
            () = interrupts.received() => Err(anyhow::anyhow!("interrupted")),
        };
        if outcome.is_err() {
            stop_what_was_started(&checkout, &started).await;
        }
        outcome
    }

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

async fn bring_up(
    args: &UpArgs,
    checkout: &Checkout,
    output: &Output,
    steps: &mut Steps,
    started: &mut Started,
) -> Result<ExitCode> {
    let (layout, parts) = (&checkout.layout, args.parts()?);
    let ports = checkout.ports()?;
    let mut left = fetch::kill_leftovers(layout).await?;
    let runs = pids::supervisor_lives(layout)?;
    if !runs {
        left.extend(pids::clean_up(layout).await?);
        checkout.clear_running();
    }
    if !left.is_empty() {
        print_line(&format!("  removed the leftovers of an interrupted command: {}", left.join(", ")));
    }
    if runs && let Some(running) = checkout.running().filter(|r| r.port_base != ports.base()) {
        bail!("the platform runs at ports from {}: stop it first with ./pitboss down", running.port_base);
    }
    // The recorder of a platform that is changed in part keeps its second witness.
    let keeps_spotlight = !args.only.is_empty() && runs && checkout.running().is_some_and(|r| r.spotlight);
    let spotlight = args.spotlight || keeps_spotlight;
    prepare::ports_are_free(checkout, &parts, spotlight).await?;
    prepare::disk_has_room(layout)?;
    if spotlight {
        infra::spotlight::check_tools(layout)?;
    }
    let services = parts.iter().any(|p| p.is_service());
    let building = services && !args.no_build;
    let purpose = if building { Purpose::Build } else { Purpose::Run };
    prepare::tools(checkout, steps, Consent::new(args.yes), purpose).await?;
    prepare::downloads(checkout, steps).await?;
    if spotlight {
        prepare::spotlight(layout, steps).await?;
    }
    if building {
        prepare::programs(layout, steps).await?;
    }
    let with_copies;
    let checkout = if services {
        with_copies = checkout.with_layout(prepare::symbols(layout, steps).await);
        &with_copies
    } else {
        checkout
    };
    let was_complete = checkout.running().is_some_and(|r| r.complete);
    let release = release_of(checkout, layout);
    let mut running = Running { port_base: ports.base(), release, complete: false, spotlight };
    checkout.set_running(&running)?;
    let applied = start::start(checkout, &running, &parts, !args.only.is_empty(), steps, started).await?;
    running.complete = true;
    checkout.set_running(&running)?;
    if applied.is_nothing() && was_complete {
        return up_report::unchanged(checkout, &running, output).await;
    }
    // Another receiver than the recorder shows no trace of it.
    let is_shown = checkout.receiver == Receiver::Recorder && parts.contains(&Part::Gateway);
    let bet = if args.no_bet || !is_shown { None } else { Some(start::one_bet(checkout, steps).await) };
    up_report::started(checkout, &running, steps, bet, output).await
}

/// Release of the services: the one that the user named, else that of the last build, else that of this checkout. `layout` has the
/// programs that cargo built.
fn release_of(checkout: &Checkout, layout: &Layout) -> String {
    let variables = checkout.service_variables();
    let named = services::named_release(&variables);
    let kept = named.or_else(|| cargo::recorded_release(layout));
    kept.unwrap_or_else(|| services::release(layout, env!("CARGO_PKG_VERSION"), &variables))
}

async fn stop_what_was_started(checkout: &Checkout, started: &Started) {
    let layout = &checkout.layout;
    if started.supervisor {
        print_line("  stopping what was started");
        match launch::end(layout).await {
            Ok(_) => checkout.clear_running(),
            Err(error) => print_line(&format!("  {error}")),
        }
        return;
    }
    // The platform ran before, so only the parts that this command touched are stopped.
    let client = runtime::control::Client::new(layout);
    for part in &started.parts {
        print_line(&format!("  stopping {part}"));
        if let Err(error) = client.act(runtime::control::Action::Stop, part).await {
            print_line(&format!("  {error}"));
        }
    }
}
