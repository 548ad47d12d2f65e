//! `pitboss drill release` and `pitboss drill release-order`.

use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};
use contracts::parts::CLI_PROJECT;

use super::{DrillArgs, settings};
use crate::broker::BrokerArgs;
use crate::commands::Context;
use crate::drill::platform::Platform;
use crate::drill::release::summary::ReleaseSummary;
use crate::drill::release_order::OrderSummary;
use crate::drill::{release, release_order};
use crate::flag_file::FlagFile;
use crate::interrupts::Interrupts;
use crate::output::Output;
use crate::player::Gateway;
use crate::release::operator::Operator;
use crate::steps::print_line;
use crate::target::TargetArgs;

impl DrillArgs {
    /// Deploys a release with a defect and goes back to the one before, also when it is interrupted.
    pub(super) async fn release(&self, context: &Context) -> Result<ExitCode> {
        let (checkout, output) = (context.checkout()?, &context.output);
        let operator = Operator::of(&checkout).await?;
        let target = context.target(&TargetArgs::default()).await?;
        if target.layout().is_none() {
            bail!("releases are deployed on the platform of ./pitboss up only");
        }
        let gateway = Gateway::new(&target.gateway_url, target.operator_token.clone())?;
        let flags = FlagFile::of(&checkout.layout);
        let kafka = BrokerArgs::default().open(context, CLI_PROJECT.0).await?;
        let seed = self.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
        let mut person = self.console(output);
        let mut platform = Platform::new(context, (&target, &gateway), &flags, &settings(&checkout), seed);
        let mut summary = ReleaseSummary::new();
        flags.disarm_all()?;
        let mut interrupts = Interrupts::listen()?;
        let mut drill = release::Drill {
            checkout: &checkout,
            target: &target,
            kafka: &kafka,
            operator: &operator,
            platform: &mut platform,
            person: &mut person,
            summary: &mut summary,
            program: self.program.clone(),
        };
        let ended = tokio::select! {
            ended = drill.run() => ended,
            () = interrupts.received() => Err(anyhow!("interrupted: the release before runs alone")),
        };
        // Before it has chosen its releases, what is deployed is not its own.
        if !summary.complete && !summary.releases.is_empty() {
            // The error of the drill is the one that ends this command.
            match release::take_back(&operator).await {
                Ok(true) => print_line("  the canary has ended"),
                Ok(false) => {}
                Err(error) => print_line(&format!("  the canary may still run: {error:#}")),
            }
        }
        platform.close().await;
        print(&serde_json::to_string(&summary)?, &summary.markdown(), output);
        ended?;
        Ok(code(summary.holds()))
    }

    /// Plays the releases whose order surprises, in a recorder of its own.
    pub(super) async fn release_order(&self, context: &Context) -> Result<ExitCode> {
        let (checkout, output) = (context.checkout()?, &context.output);
        let mut person = self.console(output);
        let mut summary = OrderSummary::default();
        // Its recorder and the folder of that end with the future.
        let mut interrupts = Interrupts::listen()?;
        let ended = tokio::select! {
            ended = release_order::run(&checkout.layout, &mut person, &mut summary) => ended,
            () = interrupts.received() => Err(anyhow!("interrupted: the drill's recorder has ended")),
        };
        print(&serde_json::to_string(&summary)?, &summary.markdown(), output);
        ended?;
        Ok(code(summary.holds()))
    }
}

fn print(json: &str, markdown: &str, output: &Output) {
    if output.json {
        output.line(json);
    } else {
        output.text(markdown);
    }
}

fn code(holds: bool) -> ExitCode {
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
