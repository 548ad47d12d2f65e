//! `pitboss topics create`: creates the catalogue's topics on any broker.

use std::process::ExitCode;

use anyhow::Result;
use bus::admin::{AdminError, Ensured, TopicChange};
use clap::{Args, Subcommand};
use contracts::parts::CLI_PROJECT;
use contracts::topics::catalogue;

use crate::broker::{self, BrokerArgs};
use crate::commands::Context;

/// Arguments of `topics`.
#[derive(Debug, Args)]
pub struct TopicsArgs {
    #[command(flatten)]
    broker: BrokerArgs,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Create missing topics and correct settings that differ from the catalogue
    Create,
}

impl TopicsArgs {
    /// Creates the topics and prints the changes. It works without a checkout if a broker is named.
    ///
    /// # Errors
    /// When the broker does not answer (exit code 69), or its topics cannot be made to match the catalogue.
    pub async fn run(&self, context: &Context) -> Result<ExitCode> {
        let Action::Create = self.action;
        let kafka = self.broker.open(context, CLI_PROJECT.0).await?;
        let (Ensured { changes, larger }, output) = (create(&kafka).await?, &context.output);
        let warnings: Vec<String> = larger.iter().map(ToString::to_string).collect();
        if output.json {
            let changes: Vec<String> = changes.iter().map(describe).collect();
            let answer =
                serde_json::json!({ "topics": catalogue().len(), "changes": changes, "warnings": warnings });
            output.line(&answer.to_string());
            return Ok(ExitCode::SUCCESS);
        }
        if changes.is_empty() && warnings.is_empty() {
            output.line(&format!("all {} topics match the catalogue", catalogue().len()));
        }
        changes.iter().for_each(|change| output.line(&describe(change)));
        warnings.iter().for_each(|warning| output.line(&format!("warning: {warning}")));
        Ok(ExitCode::SUCCESS)
    }
}

/// Creates and corrects the broker's topics as in the catalogue.
///
/// # Errors
/// When the broker does not answer (exit code 69), or refuses a change, or when a topic has too few partitions.
pub async fn create(kafka: &bus::Config) -> Result<Ensured> {
    match bus::admin::ensure_topics(kafka, &catalogue()).await {
        Ok(ensured) => Ok(ensured),
        Err(AdminError::Client(error)) => Err(broker::failed(kafka, error)),
        Err(error) => Err(error.into()),
    }
}

fn describe(change: &TopicChange) -> String {
    match change {
        TopicChange::Created { topic, partitions } => format!("created {topic} with {partitions} partitions"),
        TopicChange::ConfigChanged { topic, name, from, to } => {
            format!("{topic}: changed {name} from {} to {to}", from.as_deref().unwrap_or("not set"))
        }
    }
}
