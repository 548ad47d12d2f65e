//! `pitboss trace <id>`: shows one trace from the recorder as a tree.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;

use crate::commands::Context;
use crate::output::{Output, plain};
use crate::second_witness::SecondWitness;
use crate::target::{Target, TargetArgs};
use crate::trace::recorder::{BET_DEADLINE, fetch, fetch_complete_bet};
use crate::trace::{edges, tree};

/// Arguments of `trace`.
#[derive(Debug, Args)]
pub struct TraceArgs {
    /// Platform whose recorder has the trace
    #[command(flatten)]
    pub target: TargetArgs,
    /// Id of the trace, 32 hexadecimal digits (header `x-trace-id` of every answer)
    trace_id: String,
    /// Wait for the complete trace of one settled bet, and exit with 1 if it differs from `schemas/bet-trace.json`
    #[arg(long)]
    bet: bool,
    /// Also compare it with what Sentry's Spotlight has of it (./pitboss up --spotlight), and exit with 1 if they differ
    #[arg(long)]
    second_witness: bool,
}

impl TraceArgs {
    /// Shows the trace.
    ///
    /// # Errors
    /// When no platform answers (exit code 69), the id is no trace id, or the recorder has no data of the trace.
    pub async fn run(&self, context: &Context) -> Result<ExitCode> {
        let (id, target) = (&self.trace_id, context.target(&self.target).await?);
        if id.len() != 32 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
            bail!("`{id}` is not a trace id: expected 32 hexadecimal digits, as in the header x-trace-id");
        }
        let deadline = if self.bet { BET_DEADLINE } else { Duration::ZERO };
        let (id, output) = (id.to_lowercase(), &context.output);
        let witness = match self.second_witness {
            true => Some(SecondWitness::of(&target).await?),
            false => None,
        };
        let code = show(&id, &target, output, deadline, self.bet).await?;
        let Some(witness) = witness else { return Ok(code) };
        let agrees = show_second(&id, &witness, output).await?;
        Ok(if agrees { code } else { ExitCode::FAILURE })
    }
}

/// Prints what the second witness says about a trace, and the tree that it shows. Returns whether it has what the recorder has.
async fn show_second(id: &str, witness: &SecondWitness, output: &Output) -> Result<bool> {
    let testimony = witness.testify(&[id.to_owned()]).await?;
    if output.json {
        output.line(&json!({ "second_witness": testimony }).to_string());
        return Ok(testimony.agrees());
    }
    if testimony.agrees() {
        output.line(&format!("second witness: {}", testimony.text()));
    } else {
        output.line("second witness: differs");
        for difference in &testimony.differences {
            output.line(&format!("  {}", plain(difference)));
        }
        output.line("Spotlight keeps its last 500 envelopes. It has a part of an older trace, or nothing.");
    }
    if let Some(tree) = witness.tree(id).await? {
        for line in tree.text.lines() {
            output.line(&line.replace(char::is_control, " "));
        }
    }
    Ok(testimony.agrees())
}

/// Prints the trace. With `as_bet`, differences from the trace of one bet decide the exit code.
pub async fn show(
    id: &str,
    target: &Target,
    output: &Output,
    deadline: Duration,
    as_bet: bool,
) -> Result<ExitCode> {
    let trace = if as_bet {
        fetch_complete_bet(target.http(), &target.recorder_url, id, deadline).await?
    } else {
        match fetch(target.http(), &target.recorder_url, id).await? {
            Some(trace) => trace,
            None => {
                bail!("the recorder has no data of trace {id}: it was not sampled, or the platform was down")
            }
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
        output.problem(finding, 1);
    }
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
