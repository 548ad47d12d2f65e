//! `pitboss trace <id>`: shows one trace from the recorder as a tree.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use crate::output::Output;
use crate::target::{Target, TargetArgs};
use crate::trace::{edges, fetch, fetch_whole_bet, tree};

/// Shows a trace as a tree with timings.
#[derive(Debug, Args)]
pub struct TraceArgs {
    /// Which platform
    #[command(flatten)]
    pub target: TargetArgs,
    /// The trace's id, 32 hexadecimal digits (`x-trace-id` of every answer)
    trace_id: String,
    /// Expect the trace of one settled bet: wait until it is whole, and exit 1 when it differs from `schemas/bet-trace.json`
    #[arg(long)]
    bet: bool,
}

/// Shows the trace that `args` name.
///
/// # Errors
/// When the recorder cannot be reached or has no data of the trace.
pub async fn run(args: &TraceArgs, target: &Target, output: &Output) -> Result<ExitCode> {
    if args.trace_id.len() != 32 || !args.trace_id.bytes().all(|b| b.is_ascii_hexdigit()) {
        bail!("`{}` is no trace id: 32 hexadecimal digits, as in the header x-trace-id", args.trace_id);
    }
    let deadline = if args.bet { super::bet::TRACE_DEADLINE } else { Duration::ZERO };
    show(&args.trace_id.to_lowercase(), target, output, deadline, args.bet).await
}

/// Prints the trace. With `as_bet`, differences from the trace of one bet decide the exit code.
///
/// # Errors
/// When the recorder cannot be reached or has no data of the trace.
pub async fn show(
    id: &str,
    target: &Target,
    output: &Output,
    deadline: Duration,
    as_bet: bool,
) -> Result<ExitCode> {
    let trace = if as_bet {
        fetch_whole_bet(target.http(), &target.recorder_url, id, deadline).await?
    } else {
        match fetch(target.http(), &target.recorder_url, id).await? {
            Some(trace) => trace,
            None => bail!("the recorder has nothing of trace {id}: was it sampled, and was the platform up?"),
        }
    };
    let findings = if as_bet { edges::findings(&trace) } else { Vec::new() };
    if output.json {
        output.line(&serde_json::to_string(&trace)?);
    } else {
        output.text(&tree::render(&trace, output.columns, output.colours));
        output.line(&format!("{}/traces/{id}", target.recorder_url));
    }
    for finding in &findings {
        output.problem(finding);
    }
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
