//! Command line arguments and their dispatch to the commands.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use runtime::RuntimeError;
use runtime::process::ProcessId;

use crate::checkout::Checkout;
use crate::commands::{
    bench, bet, doctor, down, kafka, load, logs, part, ready, secrets, status, supervise, test, topics,
    trace, up,
};
use crate::output::Output;
use crate::target::Target;

/// Pitboss: a Kafka-backed casino that breaks on cue and shows what Sentry sees of it.
#[derive(Debug, Parser)]
#[command(name = "pitboss", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// Print facts as JSON
    #[arg(long, global = true)]
    json: bool,
    /// Count all ports from here (a second checkout beside the first); PITBOSS_PORT_BASE does the same
    #[arg(long, global = true, value_name = "PORT")]
    port_base: Option<u16>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Everything, from nothing: fetch, build, start, wait until ready, play one bet and show its trace
    Up(up::UpArgs),
    /// Stop all of it
    Down(down::DownArgs),
    /// What every part is doing
    Status(status::StatusArgs),
    /// The end of a part's log
    Logs(logs::LogsArgs),
    /// What this machine has and lacks, and what to do about it
    Doctor(doctor::DoctorArgs),
    /// Start a part that was stopped
    Start(part::PartArgs),
    /// Stop a part in good order; it stays down
    Stop(part::PartArgs),
    /// Stop a part in good order and start it again
    Restart(part::PartArgs),
    /// Kill a part (SIGKILL); it comes back by itself
    Kill(part::PartArgs),
    /// Make a part stand still (SIGSTOP); it stays so
    Freeze(part::PartArgs),
    /// Let a frozen part go on
    Thaw(part::PartArgs),
    /// Kafka's own tools, with their own options
    Kafka(kafka::KafkaArgs),
    /// Every test, against servers that are started for it on free ports
    Test(test::TestArgs),
    /// Play bets over HTTP
    Bet(bet::BetArgs),
    /// One trace as a tree
    Trace(trace::TraceArgs),
    /// Bets at a given rate, and what they took
    Load(load::LoadArgs),
    /// Benchmarks that need platforms of their own
    Bench(bench::BenchArgs),
    /// The topics of the catalogue
    Topics(topics::TopicsArgs),
    /// The secrets of this platform, for other programs
    Secrets(secrets::SecretsArgs),
    /// Whether one service is ready: exit code 0 or 1 (the health check of a container)
    Ready(ready::ReadyArgs),
    /// The supervisor itself
    #[command(name = runtime::launch::SUPERVISE, hide = true)]
    Supervise(supervise::SuperviseArgs),
}

/// Runs the command that the arguments name.
#[must_use]
pub fn main(words: Vec<OsString>) -> ExitCode {
    // This process is about to become a part, so the rest of the command line does not apply.
    if let [_, subcommand, parent, program, args @ ..] = words.as_slice()
        && subcommand == runtime::child::EXEC_PART
    {
        return become_part(parent, program, args);
    }
    let cli = Cli::parse_from(words);
    let output = Output::new(cli.json);
    // The HTTP client needs a TLS provider, although no part uses TLS. A provider that was installed before stays.
    drop(rustls::crypto::ring::default_provider().install_default());
    match run(cli, &output) {
        Ok(code) => code,
        Err(error) => {
            output.problem(&told(&error));
            exit_code(&error)
        }
    }
}

fn become_part(parent: &OsString, program: &OsString, args: &[OsString]) -> ExitCode {
    let Some(parent) = parent.to_str().and_then(|text| text.parse().ok()) else {
        return ExitCode::from(2);
    };
    let error = runtime::child::exec_part(parent, program, args);
    Output::new(false).problem(&error.to_string());
    ExitCode::from(69)
}

/// The error and its causes. A cause that the text already contains is left out.
fn told(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

fn exit_code(error: &anyhow::Error) -> ExitCode {
    let known = error.chain().find_map(|cause| cause.downcast_ref::<RuntimeError>());
    ExitCode::from(known.map_or(1, RuntimeError::exit_code))
}

fn run(cli: Cli, output: &Output) -> Result<ExitCode> {
    // These work without a checkout: in a container, beside any broker.
    match &cli.command {
        Command::Supervise(args) => return supervise::run(args),
        Command::Ready(args) => return ready::run(args, output),
        Command::Topics(args) if args.names_a_broker() => {
            return tasks()?.block_on(topics::run(args, None, output));
        }
        _ => {}
    }
    let checkout = Checkout::find(cli.port_base)?;
    match &cli.command {
        // These need no async runtime.
        Command::Kafka(args) => return kafka::run(args, &checkout),
        Command::Bench(args) => return bench::run(args, &checkout, output),
        Command::Secrets(args) => return secrets::run(args, &checkout, output),
        _ => {}
    }
    tasks()?.block_on(run_async(cli.command, &checkout, output))
}

fn tasks() -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().context("cannot start the tasks' runtime")
}

async fn run_async(command: Command, checkout: &Checkout, output: &Output) -> Result<ExitCode> {
    use runtime::control::Action;
    let act = |action, args: part::PartArgs| async move { part::run(action, &args, checkout, output).await };
    match command {
        Command::Up(args) => up::run(&args, checkout, output).await,
        Command::Down(args) => down::run(&args, checkout, output).await,
        Command::Status(args) => status::run(&args, checkout, output).await,
        Command::Logs(args) => logs::run(&args, checkout, output).await,
        Command::Doctor(args) => doctor::run(&args, checkout, output).await,
        Command::Start(args) => act(Action::Start, args).await,
        Command::Stop(args) => act(Action::Stop, args).await,
        Command::Restart(args) => act(Action::Restart, args).await,
        Command::Kill(args) => act(Action::Kill, args).await,
        Command::Freeze(args) => act(Action::Freeze, args).await,
        Command::Thaw(args) => act(Action::Thaw, args).await,
        Command::Test(args) => test::run(&args, checkout, output).await,
        Command::Bet(args) => bet::run(&args, &Target::of(checkout, &args.target).await?, output).await,
        Command::Trace(args) => trace::run(&args, &Target::of(checkout, &args.target).await?, output).await,
        Command::Load(args) => load::run(&args, &Target::of(checkout, &args.target).await?, output).await,
        Command::Topics(args) => topics::run(&args, Some(checkout), output).await,
        // Handled above, without the async runtime.
        Command::Kafka(_)
        | Command::Bench(_)
        | Command::Secrets(_)
        | Command::Ready(_)
        | Command::Supervise(_) => Ok(ExitCode::FAILURE),
    }
}

/// Process whose end shuts down a platform of a test run. `./pitboss test` sets it for all platforms that its tests start.
pub(crate) fn end_with() -> Option<ProcessId> {
    std::env::var(crate::checkout::END_WITH_VARIABLE).ok()?.parse().ok()
}

/// A folder given on the command line of a hidden subcommand.
pub(crate) type Folder = PathBuf;

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_words_fit_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_of_kafkas_tools_are_passed_on_untouched() {
        let words = [
            "pitboss",
            "kafka",
            "console-producer",
            "--topic",
            "t",
            "--reader-property",
            "parse.key=true",
            "--json",
        ];
        let cli = Cli::try_parse_from(words).unwrap();
        assert!(matches!(cli.command, Command::Kafka(_)));
        assert!(!cli.json, "it belongs to the tool");
        assert!(
            Cli::try_parse_from(["pitboss", "kafka", "topics", "--help"]).is_ok(),
            "the tool explains itself"
        );
    }

    #[test]
    fn options_of_cargo_test_are_passed_on_untouched() {
        for words in
            [vec!["pitboss", "test", "-p", "bus"], vec!["pitboss", "test", "--", "--nocapture", "one_bet"]]
        {
            assert!(matches!(Cli::try_parse_from(words).unwrap().command, Command::Test(_)));
        }
    }

    #[test]
    fn the_exit_code_says_what_kind_of_failure_it_was() {
        let code = |error: RuntimeError| exit_code(&anyhow::Error::new(error).context("while starting"));
        assert_eq!(code(RuntimeError::NotRunning), ExitCode::from(69));
        assert_eq!(
            code(RuntimeError::UnknownPart { name: String::new(), known: String::new() }),
            ExitCode::from(2)
        );
        assert_eq!(exit_code(&anyhow::anyhow!("else")), ExitCode::from(1));
    }
}
