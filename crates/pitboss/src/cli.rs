//! Command line arguments and their dispatch to the commands.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use runtime::RuntimeError;
use runtime::control::Action;

use crate::commands::{
    Context, alerts, audit, bench, bet, debug, dlq, doctor, down, drill, fault, issue, kafka, lag, load,
    logs, part, profile, ready, release, secrets, sentry, status, supervise, test, topics, trace, up, verify,
};
use crate::help;
use crate::output::Output;

/// Pitboss: a casino on Kafka that you can break on purpose, to see what Sentry shows of it.
#[derive(Debug, Parser)]
#[command(name = "pitboss", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// Print results and errors as JSON
    #[arg(long, global = true)]
    json: bool,
    /// First port of the platform, for a second checkout on one machine (or set PITBOSS_PORT_BASE)
    #[arg(long, global = true, value_name = "PORT")]
    port_base: Option<u16>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Fetch, build and start the platform, then play one bet and show its trace
    Up(up::UpArgs),
    /// Stop the platform
    Down(down::DownArgs),
    /// Show the state of every part
    Status(status::StatusArgs),
    /// Show the last lines of a part's log
    Logs(logs::LogsArgs),
    /// Check that this machine has everything that `up` needs
    Doctor(doctor::DoctorArgs),
    /// Start a stopped part
    Start(part::PartArgs),
    /// Shut down a part until `start`
    Stop(part::PartArgs),
    /// Shut down a part and start it again
    Restart(part::PartArgs),
    /// Kill a part (SIGKILL), which the supervisor restarts
    Kill(part::PartArgs),
    /// Suspend a part (SIGSTOP) until `thaw`
    Freeze(part::PartArgs),
    /// Resume a frozen part (SIGCONT)
    Thaw(part::PartArgs),
    /// Run one of Kafka's own command line tools
    Kafka(kafka::KafkaArgs),
    /// Run all tests against a temporary Kafka, document store and Redis
    Test(test::TestArgs),
    /// Play bets over HTTP
    Bet(bet::BetArgs),
    /// Show a trace as a tree
    Trace(trace::TraceArgs),
    /// Generate load and report latencies
    Load(load::LoadArgs),
    /// Show how far the consumer groups are behind, in messages and in seconds
    Lag(lag::LagArgs),
    /// List faults, arm and disarm them, and show which are armed
    Fault(fault::FaultArgs),
    /// Cause one error at a service on purpose, to see what becomes of it in Sentry
    Debug(debug::DebugArgs),
    /// Profile the CPU time of a running service: its functions, and a flame graph
    Profile(profile::ProfileArgs),
    /// Prove that faults become visible and end, with a control run and a money audit
    Verify(verify::VerifyArgs),
    /// Guide through an incident: load, fault, evidence, end, and a summary for a report
    Drill(drill::DrillArgs),
    /// Check the money of the running platform (exit code 0 without a finding)
    Audit(audit::AuditArgs),
    /// List, show, replay and discard dead letters
    Dlq(dlq::DlqArgs),
    /// Show the recorder's alerts, with the findings that are folded into each (exit code 1 if one is firing)
    Alerts(alerts::AlertsArgs),
    /// List and show the recorder's issues, and resolve, reopen and archive them
    Issue(issue::IssueArgs),
    /// Build releases of a service, deploy, promote and roll them back, and show what Sentry would show of them
    Release(release::ReleaseArgs),
    /// Run a benchmark: of a bet on the running platform or on separate ones, or of faults that are not armed
    Bench(bench::BenchArgs),
    /// Manage the topics in Kafka
    Topics(topics::TopicsArgs),
    /// Write the platform's secrets to a file for other programs
    Secrets(secrets::SecretsArgs),
    /// Create and check the monitors, alerts, dashboards and projects of a real Sentry (deploy/sentry)
    Sentry(sentry::SentryArgs),
    /// Check that one service is ready: exit code 0 or 1 (health check of the containers)
    Ready(ready::ReadyArgs),
    /// The supervisor itself
    #[command(name = runtime::launch::SUPERVISE, hide = true)]
    Supervise(supervise::SuperviseArgs),
}

/// Runs the command that the arguments name.
#[must_use]
pub fn main(args: Vec<OsString>) -> ExitCode {
    // This process is about to become a part, so the rest of the command line does not apply.
    if let [_, subcommand, parent, program, args @ ..] = args.as_slice()
        && subcommand == runtime::child::EXEC_PART
    {
        return become_part(parent, program, args);
    }
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return help::show(&error),
    };
    let context = Context { output: Output::new(cli.json), port_base: cli.port_base };
    // The HTTP client needs a TLS provider, although no part uses TLS. A provider that was installed before stays.
    drop(rustls::crypto::ring::default_provider().install_default());
    run(cli.command, &context).unwrap_or_else(|error| {
        context.output.problem(&error_text(&error), exit_code(&error));
        ExitCode::from(exit_code(&error))
    })
}

/// Runs the command. A new command needs an arm here.
fn run(command: Command, context: &Context) -> Result<ExitCode> {
    match command {
        Command::Up(args) => block_on(args.run(context)),
        Command::Down(args) => block_on(args.run(context)),
        Command::Status(args) => block_on(args.run(context)),
        Command::Logs(args) => block_on(args.run(context)),
        Command::Doctor(args) => block_on(args.run(context)),
        Command::Start(args) => block_on(args.run(Action::Start, context)),
        Command::Stop(args) => block_on(args.run(Action::Stop, context)),
        Command::Restart(args) => block_on(args.run(Action::Restart, context)),
        Command::Kill(args) => block_on(args.run(Action::Kill, context)),
        Command::Freeze(args) => block_on(args.run(Action::Freeze, context)),
        Command::Thaw(args) => block_on(args.run(Action::Thaw, context)),
        Command::Kafka(args) => args.run(context),
        Command::Test(args) => block_on(args.run(context)),
        Command::Bet(args) => block_on(args.run(context)),
        Command::Trace(args) => block_on(args.run(context)),
        Command::Load(args) => block_on(args.run(context)),
        Command::Lag(args) => block_on(args.run(context)),
        Command::Fault(args) => block_on(args.run(context)),
        Command::Debug(args) => block_on(args.run(context)),
        Command::Profile(args) => block_on(args.run(context)),
        Command::Verify(args) => block_on(args.run(context)),
        Command::Drill(args) => block_on(args.run(context)),
        Command::Audit(args) => block_on(args.run(context)),
        Command::Dlq(args) => block_on(args.run(context)),
        Command::Alerts(args) => block_on(args.run(context)),
        Command::Issue(args) => block_on(args.run(context)),
        Command::Release(args) => block_on(args.run(context)),
        Command::Bench(args) => block_on(args.run(context)),
        Command::Topics(args) => block_on(args.run(context)),
        Command::Secrets(args) => args.run(context),
        Command::Sentry(args) => block_on(args.run(context)),
        Command::Ready(args) => args.run(context),
        Command::Supervise(args) => args.run(),
    }
}

/// Runs a command that needs the async runtime.
fn block_on(command: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build().context("cannot start the async runtime")?;
    runtime.block_on(command)
}

fn become_part(parent: &OsString, program: &OsString, args: &[OsString]) -> ExitCode {
    let Some(parent) = parent.to_str().and_then(|text| text.parse().ok()) else {
        return ExitCode::from(2);
    };
    let error = runtime::child::exec_part(parent, program, args);
    Output::new(false).problem(&error.to_string(), 69);
    ExitCode::from(69)
}

/// The error and its causes. A cause that the text already contains is left out.
fn error_text(error: &anyhow::Error) -> String {
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

fn exit_code(error: &anyhow::Error) -> u8 {
    let known = error.chain().find_map(|cause| cause.downcast_ref::<RuntimeError>());
    known.map_or(1, RuntimeError::exit_code)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn argument_definitions_are_valid() {
        Cli::command().debug_assert();
    }

    #[test]
    fn kafka_tool_options_are_passed_through() {
        let args = [
            "pitboss",
            "kafka",
            "console-producer",
            "--topic",
            "t",
            "--reader-property",
            "parse.key=true",
            "--json",
        ];
        let cli = Cli::try_parse_from(args).unwrap();
        assert!(matches!(cli.command, Command::Kafka(_)));
        assert!(!cli.json, "--json is an option of the tool");
        assert!(
            Cli::try_parse_from(["pitboss", "kafka", "topics", "--help"]).is_ok(),
            "--help is an option of the tool"
        );
    }

    #[test]
    fn version_of_a_release_is_not_that_of_the_program() {
        let args = ["pitboss", "release", "build", "analytics", "--version", "0.2.0"];
        assert!(matches!(Cli::try_parse_from(args).unwrap().command, Command::Release(_)));
        let args = ["pitboss", "release", "deploy", "game", "--program", "x", "--version", "0.2.0"];
        assert!(matches!(Cli::try_parse_from(args).unwrap().command, Command::Release(_)));
    }

    #[test]
    fn cargo_test_options_are_passed_through() {
        for args in
            [vec!["pitboss", "test", "-p", "bus"], vec!["pitboss", "test", "--", "--nocapture", "one_bet"]]
        {
            assert!(matches!(Cli::try_parse_from(args).unwrap().command, Command::Test(_)));
        }
    }

    #[test]
    fn exit_code_shows_kind_of_failure() {
        let code = |error: RuntimeError| exit_code(&anyhow::Error::new(error).context("while starting"));
        assert_eq!(code(RuntimeError::NotRunning), 69);
        assert_eq!(code(RuntimeError::UnknownPart { name: String::new(), known: String::new() }), 2);
        assert_eq!(exit_code(&anyhow::anyhow!("another error")), 1);
    }
}
