//! Final output of `up`: the bet's trace, the addresses, the time, the memory.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Result;
use contracts::Part;
use contracts::parts::Ports;
use runtime::control::Client;
use runtime::infra::InfraPorts;
use runtime::infra::spotlight::NAME;
use runtime::part::Status;
use serde_json::json;

use crate::checkout::{Checkout, Running};
use crate::commands::status;
use crate::output::Output;
use crate::steps::Steps;
use crate::trace::{Trace, edges, tree};

/// Reports a start. Exit code 0 only if the bet is one complete trace.
pub(super) async fn started(
    checkout: &Checkout,
    running: &Running,
    steps: &Steps,
    bet: Option<Result<Trace>>,
    output: &Output,
) -> Result<ExitCode> {
    let status = Client::new(&checkout.layout).status().await?;
    let (trace, problem) = match bet {
        None => (None, None),
        Some(Ok(trace)) => {
            let defects = edges::findings(&trace);
            let problem = (!defects.is_empty())
                .then(|| format!("the trace of the bet is incomplete: {}", defects.join(", ")));
            (Some(trace), problem)
        }
        Some(Err(error)) => (None, Some(format!("the bet failed: {error:#}"))),
    };
    if output.json {
        output.line(&as_json(checkout, running, steps, &status, trace.as_ref(), problem.as_deref())?);
    } else {
        if let Some(trace) = &trace {
            output.line(&format!("\nOne bet, one trace ({}):\n", trace.trace_id));
            output.text(&tree::render(trace, output.columns, output.colours));
        }
        output.line(&format!("\n{}\n", status::text(&status, output)));
        print_addresses(checkout.ports()?, &status, output);
        output.line(&format!("\n{} is up after {:.1} s", running.release, steps.total().as_secs_f64()));
    }
    match problem {
        None => Ok(ExitCode::SUCCESS),
        Some(problem) => {
            let advice = "the platform stays up: ./pitboss status, ./pitboss logs <part>";
            output.problem(&format!("{problem}\n  {advice}"), 1);
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Reports a second `up` that changed nothing.
pub(super) async fn unchanged(checkout: &Checkout, running: &Running, output: &Output) -> Result<ExitCode> {
    let status = Client::new(&checkout.layout).status().await?;
    if output.json {
        let body = json!({ "changed": false, "release": running.release, "addresses": addresses(checkout.ports()?, &status), "status": status });
        output.line(&body.to_string());
    } else {
        output.line(&format!("{} is up already. Nothing was changed\n", running.release));
        print_addresses(checkout.ports()?, &status, output);
    }
    Ok(if status.all_ready() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn as_json(
    checkout: &Checkout,
    running: &Running,
    steps: &Steps,
    status: &Status,
    trace: Option<&Trace>,
    problem: Option<&str>,
) -> Result<String> {
    let memory: BTreeMap<&str, u64> =
        status.parts.iter().map(|p| (p.name.as_str(), p.memory_bytes)).collect();
    let body = json!({
        "changed": true,
        "release": running.release,
        "addresses": addresses(checkout.ports()?, status),
        "steps": steps.finished(),
        "seconds": steps.total().as_secs_f64(),
        "memory_bytes": memory,
        "trace_id": trace.map(|t| t.trace_id.clone()),
        "spans": trace.map(|t| t.spans.len()),
        "problem": problem,
    });
    Ok(serde_json::to_string(&body)?)
}

/// Addresses of the running parts, for people and programs.
fn addresses(ports: Ports, status: &Status) -> BTreeMap<&'static str, String> {
    let infra = InfraPorts::from(ports);
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let all = [
        (Part::Gateway, "casino", url(ports.http(Part::Gateway))),
        (Part::Recorder, "recorder", url(ports.recorder_query())),
        (Part::Kafka, "kafka", infra.kafka_bootstrap()),
        (Part::Mongo, "mongo", infra.mongo_uri()),
        (Part::Redis, "redis", infra.redis_url()),
    ];
    let running = all.into_iter().filter(|(part, ..)| status.part(part.as_str()).is_some());
    let spotlight = status.part(NAME).map(|part| (NAME, part.address.clone()));
    running.map(|(_, name, address)| (name, address)).chain(spotlight).collect()
}

fn print_addresses(ports: Ports, status: &Status, output: &Output) {
    let addresses = addresses(ports, status);
    for (name, what) in [
        ("casino", "play: register, deposit, spin"),
        ("recorder", "traces and issues, as Sentry received them"),
        (NAME, "the same, as Sentry's Spotlight shows it"),
        ("kafka", "./pitboss kafka console-producer --topic …"),
        ("mongo", ""),
        ("redis", ""),
    ] {
        if let Some(address) = addresses.get(name) {
            output.line(format!("  {name:<10} {address:<50} {what}").trim_end());
        }
    }
}
