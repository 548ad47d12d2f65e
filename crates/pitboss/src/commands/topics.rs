//! `pitboss topics create`: creates the catalogue's topics on any broker.

use std::process::ExitCode;

use anyhow::{Result, bail};
use bus::admin::TopicChange;
use clap::{Args, Subcommand};
use contracts::topics::catalogue;
use runtime::infra::InfraPorts;

use crate::checkout::Checkout;
use crate::output::Output;

/// What to do with the catalogue.
#[derive(Debug, Args)]
pub struct TopicsArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Create what is missing and correct what differs
    Create {
        /// The broker, host:port; this platform's own where it is not given
        #[arg(long, value_name = "HOST:PORT")]
        bootstrap_servers: Option<String>,
    },
}

impl TopicsArgs {
    /// Returns `true` if a broker is named, so that no checkout is needed.
    #[must_use]
    pub fn names_a_broker(&self) -> bool {
        let What::Create { bootstrap_servers } = &self.what;
        bootstrap_servers.is_some()
    }
}

/// Creates the topics and prints the changes.
///
/// # Errors
/// When no broker is named and there is no checkout, or the broker cannot be reached or rejects a change.
pub async fn run(args: &TopicsArgs, checkout: Option<&Checkout>, output: &Output) -> Result<ExitCode> {
    let What::Create { bootstrap_servers } = &args.what;
    let bootstrap_servers = match (bootstrap_servers, checkout) {
        (Some(named), _) => named.clone(),
        (None, Some(checkout)) => InfraPorts::from(checkout.ports()?).kafka_bootstrap(),
        (None, None) => bail!("name the broker: --bootstrap-servers HOST:PORT"),
    };
    let changes = create(bootstrap_servers).await?;
    if output.json {
        let lines: Vec<String> = changes.iter().map(told).collect();
        output.line(&serde_json::json!({ "topics": catalogue().len(), "changes": lines }).to_string());
    } else if changes.is_empty() {
        output.line(&format!("all {} topics are as the catalogue has them", catalogue().len()));
    } else {
        changes.iter().for_each(|change| output.line(&told(change)));
    }
    Ok(ExitCode::SUCCESS)
}

/// Creates and corrects the broker's topics as in the catalogue.
pub async fn create(bootstrap_servers: String) -> Result<Vec<TopicChange>> {
    let config = bus::Config { bootstrap_servers, ..bus::Config::default() };
    Ok(bus::admin::ensure_topics(&config, &catalogue()).await?)
}

fn told(change: &TopicChange) -> String {
    match change {
        TopicChange::Created { topic, partitions } => format!("created {topic} with {partitions} partitions"),
        TopicChange::ConfigChanged { topic, name, from, to } => {
            format!("{topic}: {name} was {}, is {to}", from.as_deref().unwrap_or("not set"))
        }
    }
}
