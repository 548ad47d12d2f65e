//! `pitboss kafka …`: runs Kafka's own command line tools with their own options, against this platform's broker.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use runtime::RuntimeError;
use runtime::infra::InfraPorts;
use runtime::infra::kafka::{self, Tool};

use crate::commands::Context;

/// Arguments of `kafka`: the tool and its own arguments.
#[derive(Debug, Args)]
pub struct KafkaArgs {
    #[command(subcommand)]
    tool: ToolArgs,
}

#[derive(Debug, Subcommand)]
enum ToolArgs {
    /// Run kafka-console-producer.sh
    #[command(disable_help_flag = true, disable_version_flag = true)]
    ConsoleProducer(PassedArgs),
    /// Run kafka-console-consumer.sh
    #[command(disable_help_flag = true, disable_version_flag = true)]
    ConsoleConsumer(PassedArgs),
    /// Run kafka-topics.sh
    #[command(disable_help_flag = true, disable_version_flag = true)]
    Topics(PassedArgs),
    /// Run kafka-consumer-groups.sh
    #[command(disable_help_flag = true, disable_version_flag = true)]
    ConsumerGroups(PassedArgs),
}

/// Arguments of the tool.
#[derive(Debug, Args)]
struct PassedArgs {
    /// Options of the tool itself. --bootstrap-server is added if it is missing
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

impl ToolArgs {
    fn parts(&self) -> (Tool, &[OsString]) {
        match self {
            Self::ConsoleProducer(passed) => (Tool::ConsoleProducer, &passed.args),
            Self::ConsoleConsumer(passed) => (Tool::ConsoleConsumer, &passed.args),
            Self::Topics(passed) => (Tool::Topics, &passed.args),
            Self::ConsumerGroups(passed) => (Tool::ConsumerGroups, &passed.args),
        }
    }
}

impl KafkaArgs {
    /// Replaces this process with the tool, so that input, output and exit code are the tool's.
    ///
    /// # Errors
    /// When Java or Kafka's jars are missing (exit code 69).
    pub fn run(&self, context: &Context) -> Result<ExitCode> {
        let checkout = context.checkout()?;
        checkout.layout.create()?;
        let bootstrap = InfraPorts::from(checkout.ports()?).kafka_bootstrap();
        let (tool, args) = self.tool.parts();
        let error = kafka::tool(&checkout.layout, tool, &bootstrap, args)?.exec();
        Err(RuntimeError::io("cannot start java", error).into())
    }
}
