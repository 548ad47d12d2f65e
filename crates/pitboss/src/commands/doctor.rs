//! `pitboss doctor`: reports what this machine has and lacks, with advice. Exit code 69 if something is missing.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use comfy_table::{ContentArrangement, Table, presets};
use contracts::versions::versions;
use runtime::control::Client;
use runtime::tools::{self, Verdict, install};
use runtime::{Layout, RuntimeError, infra, ports, python};
use serde::Serialize;

use crate::checkout::Checkout;
use crate::commands::up::prepare::{self, Consent, Purpose};
use crate::output::Output;
use crate::steps::Steps;

/// Look only, or help.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Install and fetch what is missing (packages of this system, Apache Kafka, the document store)
    #[arg(long)]
    install: bool,
    /// Do not ask before packages are installed
    #[arg(long)]
    yes: bool,
}

/// Result of one check.
#[derive(Debug, Serialize)]
struct Look {
    what: String,
    found: String,
    good: bool,
    advice: String,
}

/// Runs all checks.
///
/// # Errors
/// When a requested installation fails.
pub async fn run(args: &DoctorArgs, checkout: &Checkout, output: &Output) -> Result<ExitCode> {
    if args.install {
        checkout.layout.create()?;
        let mut steps = Steps::default();
        prepare::tools(checkout, &mut steps, Consent::new(args.yes), Purpose::Build).await?;
        prepare::downloads(checkout, &mut steps).await?;
    }
    let looks = look(checkout).await?;
    let good = looks.iter().all(|look| look.good);
    if output.json {
        output.line(&serde_json::json!({ "good": good, "checks": looks }).to_string());
    } else {
        output.line(&table(&looks, output).to_string());
        output.line(if good {
            "everything that ./pitboss up needs is here"
        } else {
            "not all that ./pitboss up needs is here"
        });
    }
    Ok(ExitCode::from(if good { 0 } else { 69 }))
}

async fn look(checkout: &Checkout) -> Result<Vec<Look>> {
    let layout = &checkout.layout;
    let mut looks: Vec<Look> = tools::examine_all(layout).iter().map(tool).collect();
    let fetched = infra::kafka::is_fetched(layout);
    looks.push(Look {
        what: "Apache Kafka".to_owned(),
        found: if fetched { &versions().kafka.version } else { "not fetched yet" }.to_owned(),
        good: true,
        advice: if fetched { "" } else { "./pitboss up fetches it once (54 MB)" }.to_owned(),
    });
    looks.push(match infra::mongo::find(layout) {
        Some(server) => Look {
            what: "document store".to_owned(),
            found: server.describe(),
            good: true,
            advice: String::new(),
        },
        None => Look {
            what: "document store".to_owned(),
            found: "no mongod on the PATH, none built yet".to_owned(),
            good: true,
            advice: "./pitboss up builds one (once, a few minutes)".to_owned(),
        },
    });
    looks.push(python_for_tests(layout));
    looks.push(room(checkout)?);
    looks.push(memory());
    looks.extend(taken_ports(checkout).await?);
    Ok(looks)
}

fn tool(finding: &tools::Finding) -> Look {
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
    Look { what: finding.tool.name.to_owned(), found, good, advice: advice.unwrap_or_default() }
}

/// Never a failure, because `up` does not need it.
fn python_for_tests(layout: &Layout) -> Look {
    if python::is_prepared(layout) {
        let found = python::interpreter(layout).display().to_string();
        let what = tools::PYTHON.name.to_owned();
        return Look { what, found, good: true, advice: String::new() };
    }
    let look = tool(&tools::examine_python());
    let found = if look.good { look.found } else { "missing; only ./pitboss test needs it".to_owned() };
    Look { found, good: true, ..look }
}

fn room(checkout: &Checkout) -> Result<Look> {
    let needed = prepare::disk_bytes_needed(&checkout.layout);
    let (folder, free) = prepare::least_room(&checkout.layout)?;
    Ok(Look {
        what: "disk".to_owned(),
        found: format!("{} free at {}, {} needed", gibibytes(free), folder.display(), gibibytes(needed)),
        good: free >= needed,
        advice: if free >= needed { String::new() } else { "make room".to_owned() },
    })
}

fn memory() -> Look {
    let free = tools::available_memory_bytes();
    let good = free >= prepare::MEMORY_BYTES_NEEDED;
    Look {
        what: "memory".to_owned(),
        found: format!("{} available, {} needed", gibibytes(free), gibibytes(prepare::MEMORY_BYTES_NEEDED)),
        good,
        advice: if good { String::new() } else { "close something large".to_owned() },
    }
}

async fn taken_ports(checkout: &Checkout) -> Result<Vec<Look>> {
    let base = checkout.ports()?.base();
    let running = Client::new(&checkout.layout).status().await.is_ok();
    let what = format!("ports from {base}");
    if running {
        let found = "held by this platform, which is running".to_owned();
        return Ok(vec![Look { what, found, good: true, advice: String::new() }]);
    }
    let wanted = prepare::all_ports(checkout.ports()?);
    let taken = ports::in_use(wanted.iter().map(|(part, port)| (part.as_str(), *port)));
    if taken.is_empty() {
        return Ok(vec![Look { what, found: "free".to_owned(), good: true, advice: String::new() }]);
    }
    let one = |port: ports::PortInUse| Look {
        what: format!("port {}", port.port),
        found: port.to_string(),
        good: false,
        advice: "end that process, or use --port-base".to_owned(),
    };
    Ok(taken.into_iter().map(one).collect())
}

fn gibibytes(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}

fn table(looks: &[Look], output: &Output) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(output.columns).unwrap_or(u16::MAX));
    table.set_header(["", "WHAT", "FOUND", "WHAT TO DO"]);
    for look in looks {
        table.add_row([if look.good { "✓" } else { "✗" }, &look.what, &look.found, &look.advice]);
    }
    table
}
