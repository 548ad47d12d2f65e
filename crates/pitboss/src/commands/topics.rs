//! `pitboss topics create`: creates the catalogue's topics on any broker.

use std::process::ExitCode;

use anyhow::Result;
use bus::admin::TopicChange;
use clap::{Args, Subcommand};
use contracts::topics::catalogue;
use runtime::infra::InfraPorts;

use crate::commands::Context;

/// Arguments of `topics`.
#[derive(Debug, Args)]
pub struct TopicsArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Create missing topics and correct settings that differ from the catalogue
    Create {
        /// Address of the broker [default: the broker of this platform]
        #[arg(long, value_name = "HOST:PORT")]
        bootstrap_servers: Option<String>,
    },
}

impl TopicsArgs {
    /// Creates the topics and prints the changes. It works without a checkout if a broker is named.
    pub async fn run(&self, context: &Context) -> Result<ExitCode> {
        let Action::Create { bootstrap_servers } = &self.action;
        let bootstrap_servers = match bootstrap_servers {
            Some(named) => named.clone(),
            None => InfraPorts::from(context.checkout()?.ports()?).kafka_bootstrap(),
        };
        let (changes, output) = (create(bootstrap_servers).await?, &context.output);
        if output.json {
            let lines: Vec<String> = changes.iter().map(describe).collect();
            output.line(&serde_json::json!({ "topics": catalogue().len(), "changes": lines }).to_string());
        } else if changes.is_empty() {
            output.line(&format!("all {} topics match the catalogue", catalogue().len()));
        } else {
            changes.iter().for_each(|change| output.line(&describe(change)));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Creates and corrects the broker's topics as in the catalogue.
pub async fn create(bootstrap_servers: String) -> Result<Vec<TopicChange>> {
    let config = bus::Config { bootstrap_servers, ..bus::Config::default() };
    Ok(bus::admin::ensure_topics(&config, &catalogue()).await?)
}

fn describe(change: &TopicChange) -> String {
    match change {
        TopicChange::Created { topic, partitions } => format!("created {topic} with {partitions} partitions"),
        TopicChange::ConfigChanged { topic, name, from, to } => {
            format!("{topic}: changed {name} from {} to {to}", from.as_deref().unwrap_or("not set"))
        }
    }
}
