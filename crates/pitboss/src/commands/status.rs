//! `pitboss status`: what every part is doing. Exit code 0 only when all are ready.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use comfy_table::{Cell, CellAlignment, Color, ContentArrangement, Table, presets};
use console::Term;
use runtime::RuntimeError;
use runtime::control::Client;
use runtime::part::{Kind, PartState, PartStatus, Status};

use crate::checkout::Checkout;
use crate::output::Output;

/// How often a watched status is drawn again.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// Once, or again and again.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Draw it again every second, until interrupted
    #[arg(long)]
    watch: bool,
}

/// Prints it.
///
/// # Errors
/// When the supervisor does not answer.
pub async fn run(args: &StatusArgs, checkout: &Checkout, output: &Output) -> Result<ExitCode> {
    let client = Client::new(&checkout.layout);
    loop {
        let status = match client.status().await {
            Ok(status) => status,
            Err(RuntimeError::NotRunning) => Status { runtime: "local".to_owned(), parts: Vec::new() },
            Err(error) => return Err(error.into()),
        };
        let ready = status.all_ready();
        if args.watch && !output.json {
            // A reader that is no terminal gets one table after the other.
            drop(Term::stdout().clear_screen());
        }
        print(&status, output)?;
        let code = if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        if !args.watch {
            return Ok(code);
        }
        tokio::select! {
            () = tokio::time::sleep(WATCH_INTERVAL) => {}
            _ = tokio::signal::ctrl_c() => return Ok(code),
        }
    }
}

fn print(status: &Status, output: &Output) -> Result<()> {
    if output.json {
        output.line(&serde_json::to_string(status)?);
    } else if status.parts.is_empty() {
        output.problem("the platform is not running; start it with ./pitboss up");
    } else {
        output.line(&table(status, output).to_string());
    }
    Ok(())
}

/// The parts as a table.
#[must_use]
pub fn table(status: &Status, output: &Output) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(output.columns).unwrap_or(u16::MAX));
    table.set_header(["PART", "STATE", "ADDRESS", "PID", "PEAK MEMORY", "RESTARTS", "VERSION"]);
    status.parts.iter().for_each(|part| {
        table.add_row(row(part, output.colours));
    });
    for column in [3, 4, 5] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn row(part: &PartStatus, colours: bool) -> Vec<Cell> {
    let colour = match part.state {
        PartState::Ready => Color::Green,
        PartState::Stopped | PartState::Frozen => Color::Blue,
        PartState::CrashLooping | PartState::Restarting | PartState::Unready => Color::Red,
        PartState::Waiting | PartState::Starting | PartState::Stopping => Color::Yellow,
    };
    let text = match (&part.last_exit, part.state) {
        (Some(how), PartState::CrashLooping | PartState::Restarting) => {
            format!("{} ({how})", part.state.as_str())
        }
        _ => part.state.as_str().to_owned(),
    };
    let state = Cell::new(text);
    let kind = if part.kind == Kind::Infrastructure { "·" } else { "" };
    vec![
        Cell::new(format!("{}{kind}", part.name)),
        if colours { state.fg(colour) } else { state },
        Cell::new(&part.address),
        Cell::new(part.pid.map_or_else(|| "–".to_owned(), |pid| pid.to_string())),
        Cell::new(mebibytes(part.memory_bytes)),
        Cell::new(part.restarts),
        Cell::new(&part.version),
    ]
}

/// Bytes as people read them.
#[must_use]
pub fn mebibytes(bytes: u64) -> String {
    match bytes {
        0 => "–".to_owned(),
        _ => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
    }
}
