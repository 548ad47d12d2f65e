//! `pitboss sentry`: monitors, alerts, dashboards and projects of a real Sentry as code.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use runtime::RuntimeError;
use serde_json::json;

use crate::checkout::Checkout;
use crate::commands::Context;
use crate::output::{Output, counted};
use crate::sentry::client::{Api, Token};
use crate::sentry::model::Definitions;
use crate::sentry::sync::{self, Mode, Outcome, Target};
use crate::sentry::{files, lint};

/// Address of the Sentry. The address of a region, such as `https://us.sentry.io`, works too.
///
/// The variables have names of their own, so that those of another tool (`SENTRY_ORG`) never select what is changed.
const URL_VARIABLE: &str = "PITBOSS_SENTRY_URL";
/// Slug of the organisation.
const ORGANIZATION_VARIABLE: &str = "PITBOSS_SENTRY_ORG";
/// Token of the API. It is read from the environment only, because the arguments of a process are no secret.
const TOKEN_VARIABLE: &str = "PITBOSS_SENTRY_TOKEN";
/// Slug of the team that owns new projects.
const TEAM_VARIABLE: &str = "PITBOSS_SENTRY_TEAM";
/// Address without the variable.
const URL_DEFAULT: &str = "https://sentry.io";

/// Arguments of `sentry`.
#[derive(Debug, Args)]
pub struct SentryArgs {
    #[command(subcommand)]
    action: Action,
    /// Folder of the declarations, in place of deploy/sentry
    #[arg(long, global = true, value_name = "FOLDER")]
    files: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
enum Action {
    /// Check the declarations: every name in a query is one that Pitboss sends (needs no Sentry)
    Lint,
    /// Show what `apply` would create and update
    Plan,
    /// Create and update what differs, and read it back
    Apply,
    /// Check that Sentry has exactly what is declared
    Verify,
}

impl SentryArgs {
    /// Runs the action. Nothing is sent to Sentry while the lint finds something.
    ///
    /// # Errors
    /// When a file is invalid, a variable is missing (exit code 69), or Sentry refuses a request.
    pub async fn run(&self, context: &Context) -> Result<ExitCode> {
        let (checkout, output) = (context.checkout()?, &context.output);
        let folder = self.files.clone().unwrap_or_else(|| checkout.layout.root().join(files::FOLDER));
        let definitions = files::load(&folder)?;
        let findings = lint::lint(&definitions)?;
        if !findings.is_empty() || self.action == Action::Lint {
            show_findings(&findings, &definitions, output);
            return Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        let mode = if self.action == Action::Apply { Mode::Apply } else { Mode::Compare };
        let outcome = sync::run(&target(&checkout, &definitions)?, &definitions, mode).await;
        // Counts of nothing would look like a Sentry in which nothing is to be done.
        if outcome.error.is_none() || !outcome.steps.is_empty() {
            show(&outcome, output);
        }
        let is_good = self.is_good(&outcome);
        match outcome.error {
            Some(error) => Err(error.into()),
            None => Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        }
    }

    /// Returns true if what was asked for holds.
    fn is_good(&self, outcome: &Outcome) -> bool {
        match self.action {
            Action::Lint | Action::Plan => true,
            Action::Apply => outcome.steps.iter().all(|step| step.not_stored.is_empty()),
            Action::Verify => outcome.steps.iter().all(|step| step.action == sync::Action::Unchanged),
        }
    }
}

/// The Sentry that the variables of the terminal or of `.env` name.
fn target(checkout: &Checkout, definitions: &Definitions) -> Result<Target> {
    let setting = |name: &str| {
        let value = std::env::var(name).ok().or_else(|| checkout.dotenv.get(name).cloned());
        value.filter(|value| !value.trim().is_empty())
    };
    let needed = |name: &str| {
        setting(name).ok_or_else(|| RuntimeError::Missing {
            what: format!("{name} is not set"),
            advice: "set it in the terminal or in .env; docs/SENTRY_SETUP.md describes it".to_owned(),
        })
    };
    let address = setting(URL_VARIABLE).unwrap_or_else(|| URL_DEFAULT.to_owned());
    let organization = needed(ORGANIZATION_VARIABLE)?;
    let token = Token::new(&needed(TOKEN_VARIABLE)?);
    let team = setting(TEAM_VARIABLE).unwrap_or_else(|| definitions.projects.team.clone());
    Ok(Target { api: Api::new(&address, &token)?, organization, team })
}

fn show_findings(findings: &[String], definitions: &Definitions, output: &Output) {
    if output.json {
        output.line(&json!({ "findings": findings }).to_string());
        return;
    }
    for finding in findings {
        output.line(finding);
    }
    if findings.is_empty() {
        output.line(&format!(
            "{}, {}, {} and {}: every name is one that Pitboss sends",
            counted(definitions.rules.len(), "rule"),
            counted(definitions.alerts.len(), "alert"),
            counted(definitions.monitors.len() + definitions.jobs.len(), "check-in monitor"),
            counted(definitions.dashboards.len(), "dashboard"),
        ));
    } else {
        output.line(&counted(findings.len(), "finding"));
    }
}

fn show(outcome: &Outcome, output: &Output) {
    let count = |action: sync::Action| outcome.steps.iter().filter(|step| step.action == action).count();
    let [create, update, unchanged, extra] =
        [sync::Action::Create, sync::Action::Update, sync::Action::Unchanged, sync::Action::Extra].map(count);
    let not_stored = outcome.steps.iter().filter(|step| !step.not_stored.is_empty()).count();
    if output.json {
        let counts = json!({
            "create": create, "update": update, "unchanged": unchanged, "extra": extra, "not_stored": not_stored,
        });
        output.line(&json!({ "steps": outcome.steps, "counts": counts }).to_string());
        return;
    }
    for step in outcome.steps.iter().filter(|step| step.action != sync::Action::Unchanged) {
        output.line(&step.to_string());
    }
    output.line(&format!("{create} create, {update} update, {unchanged} unchanged, {extra} extra"));
    if not_stored > 0 {
        output.line(&format!(
            "{not_stored} not stored as sent: Sentry accepted the request and kept something else"
        ));
    }
}
