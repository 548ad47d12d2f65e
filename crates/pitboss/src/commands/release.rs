//! `pitboss release`: builds releases of a service, deploys them beside the release before, promotes them and rolls them back, and
//! shows what the recorder knows of each (`docs/RELEASES.md`).

mod render;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use contracts::Part;
use contracts::parts::CLI_PROJECT;
use runtime::pids::Lock;
use runtime::releases::shelf::{self, Source};
use runtime::releases::{Deployments, RolledBack, deployable};
use serde_json::json;

use crate::broker::BrokerArgs;
use crate::checkout::Checkout;
use crate::commands::Context;
use crate::release::build;
use crate::release::health::Facts;
use crate::release::operator::Operator;
use crate::release::sentry_cli::{self, Told};
use crate::release::share::{self, Share};
use crate::steps::{Steps, print_line};
use crate::target::TargetArgs;

/// Arguments of `release`.
#[derive(Debug, Args)]
pub struct ReleaseArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Build the program of a release, or keep one that exists
    // `--version` is the version of the release, not that of this program.
    #[command(disable_version_flag = true)]
    Build(BuildArgs),
    /// Run a release in one of several instances of a service, or in all of them
    #[command(disable_version_flag = true)]
    Deploy(DeployArgs),
    /// Run the release of the canary in all instances
    Promote(ServiceArgs),
    /// Go back to the release before: end the canary, or else replace what runs in all instances
    Rollback(ServiceArgs),
    /// List the programs of releases, and where each runs
    List,
    /// Show what runs of each service, with health, adoption, errors and new issues of its releases
    Status(StatusArgs),
}

#[derive(Debug, Args)]
struct BuildArgs {
    /// The service: user, game, payment, analytics or notification
    #[arg(value_parser = parse_service)]
    service: Part,
    /// Version, completed to pitboss@V+<time>.<commit>, or the whole name of the release
    #[arg(long, value_name = "VERSION")]
    version: String,
    /// Build a defect in on purpose (analytics only)
    #[arg(long, conflicts_with = "program")]
    regression: bool,
    /// Keep this program in place of building one, such as a build of another commit
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct DeployArgs {
    /// The service: user, game, payment, analytics or notification
    #[arg(value_parser = parse_service)]
    service: Part,
    /// A release of `release list`
    #[arg(long, value_name = "RELEASE", required_unless_present = "program", conflicts_with = "program")]
    release: Option<String>,
    /// A program in place of a release of the list. It needs --version
    #[arg(long, value_name = "FILE", requires = "version")]
    program: Option<PathBuf>,
    /// Version of that program
    #[arg(long, value_name = "VERSION", requires = "program", conflicts_with = "release")]
    version: Option<String>,
    /// Share of the partitions in percent: the nearest of 50, 33 and 25 is one of two to four instances
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=99))]
    canary: Option<u8>,
}

#[derive(Debug, Args)]
struct ServiceArgs {
    /// The service: user, game, payment, analytics or notification
    #[arg(value_parser = parse_service)]
    service: Part,
}

#[derive(Debug, Args)]
struct StatusArgs {
    /// Only this service [default: every one of which something is deployed, or analytics]
    #[arg(value_parser = parse_service)]
    service: Option<Part>,
}

fn parse_service(text: &str) -> Result<Part, String> {
    let known = deployable();
    let found = known.iter().copied().find(|part| part.as_str() == text);
    let names = || known.iter().map(|part| part.as_str()).collect::<Vec<_>>().join(", ");
    found.ok_or_else(|| format!("expected one of {}", names()))
}

impl ReleaseArgs {
    /// Runs the action.
    ///
    /// # Errors
    /// When no platform runs (exit code 69), a release is unknown or does not become ready, or there is nothing to change.
    pub async fn run(&self, context: &Context) -> Result<ExitCode> {
        let checkout = context.checkout()?;
        match &self.action {
            Action::Build(args) => args.run(&checkout, context).await?,
            Action::Deploy(args) => args.run(&checkout, context).await?,
            Action::Promote(ServiceArgs { service }) => promote(*service, &checkout, context).await?,
            Action::Rollback(ServiceArgs { service }) => roll_back(*service, &checkout, context).await?,
            Action::List => render::list(
                &shelf::list(&checkout.layout),
                &Deployments::load(&checkout.layout)?,
                &context.output,
            ),
            Action::Status(args) => args.run(&checkout, context).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl BuildArgs {
    async fn run(&self, checkout: &Checkout, context: &Context) -> Result<()> {
        let layout = &checkout.layout;
        layout.create()?;
        let release = build::name(layout, &self.version);
        shelf::check_name(&release)?;
        let _lock = Lock::of_command(layout)?;
        let (program, source) = match &self.program {
            Some(file) => (file.clone(), Source::File),
            None => {
                let mut steps = Steps::default();
                let step = steps.begin("program");
                let on_progress = |line: &str| step.progress(line);
                let program = build::compile(layout, self.service, self.regression, &on_progress).await?;
                steps.end(step, &release);
                (program, if self.regression { Source::Regression } else { Source::Checkout })
            }
        };
        let (kept, is_new) = build::keep(layout, &release, self.service, &program, source)?;
        if context.output.json {
            context.output.line(&json!({ "kept": kept, "is_new": is_new }).to_string());
        } else {
            let there = if is_new { "is ready to be deployed" } else { "was there already" };
            context.output.line(&format!("{release} of {} {there}", self.service));
            if self.program.is_some() && !self.version.contains(['@', '+']) {
                context.output.line(
                    "  its name has the commit of this checkout, whatever the program is: --version can be a whole name",
                );
            }
            context.output.line(&format!(
                "  ./pitboss release deploy {} --release {release} --canary 50",
                self.service
            ));
        }
        Ok(())
    }
}

impl DeployArgs {
    async fn run(&self, checkout: &Checkout, context: &Context) -> Result<()> {
        let operator = Operator::of(checkout).await?;
        let release = self.release_of(checkout)?;
        let instances = self.canary.map(share::instances);
        let changed = operator.deploy(self.service, &release, instances).await?;
        let share = match self.canary {
            Some(_) => share_of(self.service, context).await,
            None => Ok(None),
        };
        // The release is deployed, whatever the share is.
        let share = share.unwrap_or_else(|error| {
            print_line(&format!("  the share is not known: {error:#}"));
            None
        });
        let told = match changed {
            true => sentry_cli::tell(checkout, &release).await,
            false => Told::LeftOut { reason: "the release was deployed before".to_owned() },
        };
        self.show(&release, changed, share, &told, context);
        Ok(())
    }

    /// The release to deploy. A program that was named is kept first.
    fn release_of(&self, checkout: &Checkout) -> Result<String> {
        let (Some(program), Some(version)) = (&self.program, &self.version) else {
            return Ok(self.release.clone().unwrap_or_default());
        };
        let release = build::name(&checkout.layout, version);
        let _lock = Lock::of_command(&checkout.layout)?;
        let (kept, _) = build::keep(&checkout.layout, &release, self.service, program, Source::File)?;
        Ok(kept.release)
    }

    fn show(&self, release: &str, changed: bool, share: Option<Share>, told: &Told, context: &Context) {
        let (service, output) = (self.service, &context.output);
        if output.json {
            let body = json!({
                "service": service.as_str(), "release": release, "changed": changed,
                "canary": self.canary.is_some(), "asked_percent": self.canary, "share": share, "sentry": told,
            });
            output.line(&body.to_string());
            return;
        }
        let place = match self.canary {
            Some(_) => format!("{service}-canary"),
            None => format!("all instances of {service}"),
        };
        let runs = if changed { "runs in" } else { "already runs in" };
        output.line(&format!("{release} {runs} {place}"));
        if let (Some(share), Some(asked)) = (share, self.canary) {
            output.line(&format!("  share: {share}, asked for {asked} %"));
        }
        output.line(&format!("  {told}"));
    }
}

async fn promote(service: Part, checkout: &Checkout, context: &Context) -> Result<()> {
    let release = Operator::of(checkout).await?.promote(service).await?;
    let output = &context.output;
    if output.json {
        output.line(&json!({ "service": service.as_str(), "release": release }).to_string());
    } else {
        output.line(&format!("{release} runs in all instances of {service}"));
    }
    Ok(())
}

async fn roll_back(service: Part, checkout: &Checkout, context: &Context) -> Result<()> {
    let operator = Operator::of(checkout).await?;
    let RolledBack { from, to, was_canary } = operator.roll_back(service).await?;
    let to = to.unwrap_or_else(|| operator.own_release().to_owned());
    let output = &context.output;
    if output.json {
        let body = json!({ "service": service.as_str(), "from": from, "to": to, "was_canary": was_canary });
        output.line(&body.to_string());
    } else {
        let ended = if was_canary { "the canary has ended" } else { "it was replaced" };
        output.line(&format!("{from} was rolled back ({ended}): {to} runs in all instances of {service}"));
    }
    Ok(())
}

impl StatusArgs {
    async fn run(&self, checkout: &Checkout, context: &Context) -> Result<()> {
        let operator = Operator::of(checkout).await?;
        let target = context.target(&TargetArgs::default()).await?;
        let deployments = operator.deployments()?;
        let is_deployed = |part: &Part| deployments.of(*part) != runtime::releases::Deployment::default();
        let mut services: Vec<Part> = match self.service {
            Some(service) => vec![service],
            None => deployable().into_iter().filter(is_deployed).collect(),
        };
        if services.is_empty() {
            services.push(build::WITH_REGRESSION);
        }
        let status = runtime::control::Client::new(&checkout.layout).status().await?;
        let mut all = Vec::new();
        for service in services {
            let facts = Facts::read(&target, service).await?;
            let share = match deployments.of(service).canary {
                Some(_) => share_of(service, context).await?,
                None => None,
            };
            all.push(render::Service::of(service, &status, &facts, share));
        }
        render::status(&all, &context.output)
    }
}

/// The share of the canary of a service, as the broker of this platform says it.
async fn share_of(service: Part, context: &Context) -> Result<Option<Share>> {
    let config = BrokerArgs::default().open(context, CLI_PROJECT.0).await?;
    share::read(&config, service).await
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        release: ReleaseArgs,
    }

    fn parse(args: &[&str]) -> Result<Action, clap::Error> {
        Ok(Program::try_parse_from(["release"].iter().chain(args))?.release.action)
    }

    #[test]
    fn release_or_program_is_deployed() {
        let Action::Deploy(args) =
            parse(&["deploy", "analytics", "--release", "pitboss@0.2.0", "--canary", "25"]).unwrap()
        else {
            panic!("another action");
        };
        assert_eq!((args.service, args.canary), (Part::Analytics, Some(25)));
        let file = ["deploy", "game", "--program", "/tmp/game", "--version", "0.2.0"];
        let Action::Deploy(args) = parse(&file).unwrap() else { panic!("another action") };
        assert_eq!((args.release, args.version.as_deref()), (None, Some("0.2.0")));
    }

    #[test]
    fn contradictions_are_refused() {
        for args in [
            vec!["deploy", "analytics"],
            vec!["deploy", "analytics", "--program", "x"],
            vec!["deploy", "analytics", "--release", "r", "--version", "0.2.0"],
            vec!["deploy", "analytics", "--release", "r", "--program", "x", "--version", "0.2.0"],
            vec!["deploy", "analytics", "--release", "r", "--canary", "0"],
            vec!["deploy", "recorder", "--release", "r"],
            vec!["build", "analytics"],
            vec!["build", "analytics", "--version", "1", "--regression", "--program", "x"],
            vec!["promote"],
        ] {
            assert!(parse(&args).is_err(), "{args:?}");
        }
        let unknown = parse(&["rollback", "kafka"]).unwrap_err().to_string();
        assert!(unknown.contains("user, game, payment, analytics, notification"), "{unknown}");
    }
}
