//! `pitboss lag`: shows live how far every consumer group is behind, in messages and in seconds.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;
use console::Term;
use contracts::Group;

use crate::broker::BrokerArgs;
use crate::commands::Context;
use crate::failures::Failures;
use crate::lag::source::{LagReading, Source};
use crate::lag::{History, view};
use crate::output::Output;
use crate::target::TargetArgs;

/// Interval between two requests for a reading.
const INTERVAL: Duration = Duration::from_secs(1);

/// Arguments of `lag`.
#[derive(Debug, Args)]
pub struct LagArgs {
    /// Platform whose lag is shown
    #[command(flatten)]
    target: TargetArgs,
    /// Read this broker instead of asking the platform's lagwatch
    #[arg(long, value_name = "HOST:PORT", visible_alias = "brokers", conflicts_with = "gateway")]
    bootstrap_servers: Option<String>,
    /// Only this consumer group
    #[arg(long)]
    group: Option<Group>,
    /// Only topics whose name contains this text
    #[arg(long, value_name = "TEXT")]
    topic: Option<String>,
    /// Show partitions without lag too
    #[arg(long)]
    all: bool,
    /// Show one reading and end (a signature needs several)
    #[arg(long)]
    once: bool,
}

impl LagArgs {
    /// Shows each new reading until interrupted. With `--bootstrap-servers` it works without a checkout.
    ///
    /// # Errors
    /// When the first reading fails, or many in a row. Exit code 69 if no platform or no lagwatch answers.
    pub async fn run(&self, context: &Context) -> Result<ExitCode> {
        let mut source = self.source(context).await?;
        let mut history = History::default();
        let mut shown: Option<u64> = None;
        let mut failures = Failures::default();
        loop {
            let result = tokio::select! {
                result = source.read() => result,
                _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
            };
            match result {
                Ok(reading) => {
                    failures.end();
                    history.add(&reading, Instant::now());
                    if shown != Some(reading.number) {
                        shown = Some(reading.number);
                        self.show(reading, &history, source.watcher(), &context.output)?;
                    }
                }
                Err(error) if self.once || shown.is_none() => return Err(error),
                Err(error) => failures.add(error, &context.output)?,
            }
            if self.once {
                return Ok(ExitCode::SUCCESS);
            }
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
            }
        }
    }

    async fn source(&self, context: &Context) -> Result<Source> {
        match &self.bootstrap_servers {
            Some(servers) => Source::broker(BrokerArgs::named(servers).open(context, "pitboss-lag").await?),
            None => Source::lagwatch(&context.target(&self.target).await?),
        }
    }

    fn show(&self, mut reading: LagReading, history: &History, watcher: &str, output: &Output) -> Result<()> {
        let signatures = history.signatures();
        reading.retain(self.group, self.topic.as_deref());
        if reading.groups.is_empty() {
            bail!("no consumer group reads such a topic: ./pitboss lag --all shows every partition");
        }
        if output.json {
            output.line(&view::json(&reading, &signatures)?);
            return Ok(());
        }
        let terminal = Term::stdout();
        if !self.once && terminal.is_term() {
            drop(terminal.clear_screen());
        }
        output.line(&view::text(&reading, &signatures, self.all, watcher, output));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::{Parser, error::ErrorKind};

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        lag: LagArgs,
    }

    #[test]
    fn arguments_select_source_and_rows() {
        let args = ["lag", "--brokers", "127.0.0.1:9092", "--group", "game", "--topic", "bets", "--once"];
        let LagArgs { bootstrap_servers, group, topic, once, all, .. } =
            Cli::try_parse_from(args).unwrap().lag;
        assert_eq!((bootstrap_servers.as_deref(), group), (Some("127.0.0.1:9092"), Some(Group::Game)));
        assert_eq!((topic.as_deref(), once, all), (Some("bets"), true, false));
        let kind = |args: &[&str]| Cli::try_parse_from(args.iter().copied()).unwrap_err().kind();
        let unknown = Cli::try_parse_from(["lag", "--group", "games"]).unwrap_err();
        assert_eq!(unknown.kind(), ErrorKind::ValueValidation);
        assert!(unknown.to_string().contains("one of game, payment"), "{unknown}");
        let both = ["lag", "--bootstrap-servers", "a:1", "--gateway", "http://127.0.0.1:8100"];
        assert_eq!(kind(&both), ErrorKind::ArgumentConflict);
    }
}
