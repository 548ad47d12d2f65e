//! `pitboss doctor`: reports what this machine has and lacks, with advice. Exit code 69 if something is missing.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use comfy_table::Table;
use contracts::versions::versions;
use runtime::control::Client;
use runtime::error::PortInUse;
use runtime::tools::{self, Verdict, install};
use runtime::{Layout, RuntimeError, infra, ports, python};
use serde::Serialize;

use crate::checkout::Checkout;
use crate::commands::Context;
use crate::commands::up::prepare::{self, Consent, Purpose};
use crate::output::{Output, borderless_table};
use crate::steps::Steps;

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Install and fetch what is missing (packages of this system, Apache Kafka, the document store)
    #[arg(long)]
    install: bool,
    /// Install packages without asking
    #[arg(long)]
    yes: bool,
}

/// Result of one check.
#[derive(Debug, Serialize)]
struct Check {
    what: String,
    found: String,
    good: bool,
    advice: String,
}

impl DoctorArgs {
    /// Runs all checks.
    pub async fn run(&self, context: &Context) -> Result<ExitCode> {
        let (checkout, output) = (context.checkout()?, &context.output);
        if self.install {
            checkout.layout.create()?;
            let mut steps = Steps::default();
            prepare::tools(&checkout, &mut steps, Consent::new(self.yes), Purpose::Build).await?;
            prepare::downloads(&checkout, &mut steps).await?;
        }
        let checks = check_all(&checkout).await?;
        let good = checks.iter().all(|check| check.good);
        if output.json {
            output.line(&serde_json::json!({ "good": good, "checks": checks }).to_string());
        } else {
            output.line(&table(&checks, output).to_string());
            output.line(if good {
                "this machine has everything that ./pitboss up needs"
            } else {
                "this machine lacks something that ./pitboss up needs"
            });
        }
        Ok(ExitCode::from(if good { 0 } else { 69 }))
    }
}

async fn check_all(checkout: &Checkout) -> Result<Vec<Check>> {
    let layout = &checkout.layout;
    let mut checks: Vec<Check> = infra::examine_tools(layout).iter().map(tool).collect();
    let fetched = infra::kafka::is_fetched(layout);
    checks.push(Check {
        what: "Apache Kafka".to_owned(),
        found: if fetched { &versions().kafka.version } else { "not fetched yet" }.to_owned(),
        good: true,
        advice: if fetched { "" } else { "./pitboss up fetches it once (54 MB)" }.to_owned(),
    });
    checks.push(match infra::mongo::find(layout) {
        Some(server) => Check {
            what: "document store".to_owned(),
            found: server.describe(),
            good: true,
            advice: String::new(),
        },
        None => Check {
            what: "document store".to_owned(),
            found: "no mongod on the PATH, and none is built yet".to_owned(),
            good: true,
            advice: "./pitboss up builds one (once, a few minutes)".to_owned(),
        },
    });
    checks.push(python_for_tests(layout));
    checks.push(disk(checkout)?);
    checks.push(memory());
    checks.extend(taken_ports(checkout).await?);
    Ok(checks)
}

fn tool(finding: &tools::Finding) -> Check {
    let path = finding.path.as_ref().map_or_else(String::new, |p| p.display().to_string());
    let found = match (&finding.verdict, &finding.version) {
        (Verdict::Missing, _) => "missing".to_owned(),
        (_, Some(version)) => format!("{version} ({path})"),
        (_, None) => path,
    };
    let complaint = install::complaint(std::slice::from_ref(finding), install::installer());
    let advice = complaint.map(|error| match error {
        RuntimeError::Missing { advice, .. } => advice,
        other => other.to_string(),
    });
    let good = finding.verdict == Verdict::Good;
    Check { what: finding.tool.name.to_owned(), found, good, advice: advice.unwrap_or_default() }
}

/// Never a failure, because `up` does not need it.
fn python_for_tests(layout: &Layout) -> Check {
    if python::is_prepared(layout) {
        let found = python::interpreter(layout).display().to_string();
        let what = tools::PYTHON.name.to_owned();
        return Check { what, found, good: true, advice: String::new() };
    }
    let check = tool(&tools::examine_python());
    let found = if check.good { check.found } else { "missing (only ./pitboss test needs it)".to_owned() };
    Check { found, good: true, ..check }
}

fn disk(checkout: &Checkout) -> Result<Check> {
    let needed = prepare::disk_bytes_needed(&checkout.layout);
    let (folder, free) = prepare::fullest_disk(&checkout.layout)?;
    Ok(Check {
        what: "disk".to_owned(),
        found: format!("{} free at {}, {} needed", gibibytes(free), folder.display(), gibibytes(needed)),
        good: free >= needed,
        advice: if free >= needed { String::new() } else { "free some disk space".to_owned() },
    })
}

fn memory() -> Check {
    let free = tools::available_memory_bytes();
    let good = free >= prepare::MEMORY_BYTES_NEEDED;
    Check {
        what: "memory".to_owned(),
        found: format!("{} available, {} needed", gibibytes(free), gibibytes(prepare::MEMORY_BYTES_NEEDED)),
        good,
        advice: if good { String::new() } else { "close another program".to_owned() },
    }
}

async fn taken_ports(checkout: &Checkout) -> Result<Vec<Check>> {
    let base = checkout.ports()?.base();
    let running = Client::new(&checkout.layout).status().await.is_ok();
    let what = format!("ports from {base}");
    if running {
        let found = "held by this platform, which is running".to_owned();
        return Ok(vec![Check { what, found, good: true, advice: String::new() }]);
    }
    let wanted = prepare::all_ports(checkout.ports()?);
    let taken = ports::in_use(wanted.iter().map(|(part, port)| (part.as_str(), *port)));
    if taken.is_empty() {
        return Ok(vec![Check { what, found: "free".to_owned(), good: true, advice: String::new() }]);
    }
    let one = |port: PortInUse| Check {
        what: format!("port {}", port.port),
        found: port.to_string(),
        good: false,
        advice: "stop that process, or use --port-base".to_owned(),
    };
    Ok(taken.into_iter().map(one).collect())
}

fn gibibytes(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}

fn table(checks: &[Check], output: &Output) -> Table {
    let mut table = borderless_table(output.columns, &["", "WHAT", "FOUND", "WHAT TO DO"]);
    for check in checks {
        table.add_row([if check.good { "✓" } else { "✗" }, &check.what, &check.found, &check.advice]);
    }
    table
}
