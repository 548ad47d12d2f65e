//! `pitboss kafka …`: runs Kafka's own command line tools with their own options, against this platform's broker.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use runtime::RuntimeError;
use runtime::infra::InfraPorts;
use runtime::infra::kafka::{self, Tool};

use crate::checkout::Checkout;

/// Which tool.
#[derive(Debug, Args)]
pub struct KafkaArgs {
    #[command(subcommand)]
    tool: ToolArgs,
}

#[derive(Debug, Subcommand)]
enum ToolArgs {
    /// kafka-console-producer.sh
    #[command(disable_help_flag = true, disable_version_flag = true)]
    ConsoleProducer(Words),
    /// kafka-console-consumer.sh
    #[command(disable_help_flag = true, disable_version_flag = true)]
    ConsoleConsumer(Words),
    /// kafka-topics.sh
    #[command(disable_help_flag = true, disable_version_flag = true)]
    Topics(Words),
    /// kafka-consumer-groups.sh
    #[command(disable_help_flag = true, disable_version_flag = true)]
    ConsumerGroups(Words),
}

/// The tool's own words.
#[derive(Debug, Args)]
struct Words {
    /// Its own options; --bootstrap-server is added where it is not given
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

impl ToolArgs {
    fn parts(&self) -> (Tool, &[OsString]) {
        match self {
            Self::ConsoleProducer(words) => (Tool::ConsoleProducer, &words.args),
            Self::ConsoleConsumer(words) => (Tool::ConsoleConsumer, &words.args),
            Self::Topics(words) => (Tool::Topics, &words.args),
            Self::ConsumerGroups(words) => (Tool::ConsumerGroups, &words.args),
        }
    }
}

/// Replaces this process with the tool, so that input, output and exit code are the tool's.
///
/// # Errors
/// When Java or Kafka's jars are missing (exit code 69).
pub fn run(args: &KafkaArgs, checkout: &Checkout) -> Result<ExitCode> {
    checkout.layout.create()?;
    let bootstrap = InfraPorts::from(checkout.ports()?).kafka_bootstrap();
    let (tool, words) = args.tool.parts();
    let mut command = kafka::tool(&checkout.layout, tool, &bootstrap, words)?;
    let error = command.exec();
    Err(RuntimeError::io("cannot start java", error).into())
}
