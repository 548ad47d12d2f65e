//! `pitboss kafka …`: Kafka's own command line tools with their own options, pointed at this platform's broker.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};
use runtime::RuntimeError;
use runtime::infra::InfraPorts;
use runtime::infra::kafka::{self, Tool};

use crate::checkout::Checkout;

/// Which tool, and its own words.
#[derive(Debug, Args)]
pub struct KafkaArgs {
    /// The tool
    #[arg(value_enum)]
    tool: ToolName,
    /// Its own options; --bootstrap-server is added where it is not given
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ToolName {
    /// kafka-console-producer.sh
    ConsoleProducer,
    /// kafka-console-consumer.sh
    ConsoleConsumer,
    /// kafka-topics.sh
    Topics,
    /// kafka-consumer-groups.sh
    ConsumerGroups,
}

impl From<ToolName> for Tool {
    fn from(name: ToolName) -> Self {
        match name {
            ToolName::ConsoleProducer => Self::ConsoleProducer,
            ToolName::ConsoleConsumer => Self::ConsoleConsumer,
            ToolName::Topics => Self::Topics,
            ToolName::ConsumerGroups => Self::ConsumerGroups,
        }
    }
}

/// Becomes the tool: its input, output and exit code are this process's own.
///
/// # Errors
/// When Java or Kafka's jars are missing (exit code 69).
pub fn run(args: &KafkaArgs, checkout: &Checkout) -> Result<ExitCode> {
    checkout.layout.create()?;
    let bootstrap = InfraPorts::from(checkout.ports()?).kafka_bootstrap();
    let mut command = kafka::tool(&checkout.layout, args.tool.into(), &bootstrap, &args.args)?;
    let error = command.exec();
    Err(RuntimeError::io("cannot start java", error).into())
}
