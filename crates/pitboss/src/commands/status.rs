//! `pitboss status`: shows the state of every part and of the copies for a real Sentry and for Spotlight. Exit code 0 only if all parts
//! are ready, even if Sentry accepts no copy.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use comfy_table::{Cell, CellAlignment, Color, ColumnConstraint, Table};
use console::Term;
use contracts::parts::Part;
use runtime::RuntimeError;
use runtime::control::Client;
use runtime::part::{Kind, PartState, PartStatus, Status};
use serde::{Deserialize, Serialize};

use crate::checkout::Checkout;
use crate::commands::Context;
use crate::output::{Output, borderless_table, counted};

/// Place of the state in the table, and the width of its longest name.
const STATE_COLUMN: usize = 1;
const STATE_COLUMNS: usize = "crash-looping".len();
/// Spaces around the content of a cell.
const CELL_PADDING: usize = 2;

/// Interval at which a watched status is drawn.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// Deadline for the recorder's answer, without which the status is shown too.
const RECORDER_DEADLINE: Duration = Duration::from_secs(1);

/// State of one project's copies for a real Sentry, or of those for the second witness, as the recorder reports it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Forwarding {
    /// The project.
    pub project: String,
    /// Copies that Sentry accepted.
    pub sent: u64,
    /// Items that were left out because their category is rate-limited.
    pub left_out: u64,
    /// Copies that were answered with an error, such as for a wrong DSN.
    pub refused: u64,
    /// Copies that were dropped because the queue was full.
    pub dropped_queue_full: u64,
    /// Copies that were dropped because a rate limit covers them as a whole.
    pub dropped_rate_limited: u64,
    /// Copies that were refused, or not answered in time.
    pub dropped_failed: u64,
    /// Quantities that were lost with the dropped copies, by category and reason.
    #[serde(default)]
    pub dropped: BTreeMap<String, BTreeMap<String, u64>>,
    /// The last failure.
    pub last_error: Option<ForwardingError>,
}

/// Failure of a copy.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ForwardingError {
    /// Time, in seconds since the epoch.
    pub at: f64,
    /// HTTP status of the answer, if there was one.
    pub status: Option<u16>,
    /// Reason given by Sentry or by the network.
    pub reason: String,
}

/// Output of `status --json`.
#[derive(Serialize)]
struct StatusJson<'a> {
    #[serde(flatten)]
    status: &'a Status,
    /// Absent if nothing is forwarded, or the recorder does not answer.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    forward: &'a [Forwarding],
    /// Absent without `up --spotlight`, or if the recorder does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    second_witness: Option<&'a Forwarding>,
}

/// Copies of the recorder, by their target.
#[derive(Clone, Debug, Default, Deserialize)]
struct Copies {
    /// Those for a real Sentry.
    #[serde(default)]
    forward: Vec<Forwarding>,
    /// Those for the second witness.
    second_witness: Option<Forwarding>,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Refresh every second, until interrupted
    #[arg(long)]
    watch: bool,
}

impl StatusArgs {
    /// Prints the status.
    pub async fn run(&self, context: &Context) -> Result<ExitCode> {
        let (checkout, output) = (context.checkout()?, &context.output);
        let client = Client::new(&checkout.layout);
        loop {
            let status = match client.status().await {
                Ok(status) => status,
                Err(RuntimeError::NotRunning) => Status { runtime: "local".to_owned(), parts: Vec::new() },
                Err(error) => return Err(error.into()),
            };
            let code = if status.all_ready() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
            let copies = match status.part(Part::Recorder.as_str()) {
                Some(_) => copies(&checkout).await.unwrap_or_default(),
                None => Copies::default(),
            };
            if self.watch && !output.json {
                // Without a terminal, the tables are printed one after the other.
                drop(Term::stdout().clear_screen());
            }
            print(&status, &copies, output)?;
            if !self.watch {
                return Ok(code);
            }
            tokio::select! {
                () = tokio::time::sleep(WATCH_INTERVAL) => {}
                _ = tokio::signal::ctrl_c() => return Ok(code),
            }
        }
    }
}

/// Reads the state of the copies from the recorder. `None` on any failure, because the recorder's own line shows its state.
async fn copies(checkout: &Checkout) -> Option<Copies> {
    let client = reqwest::Client::builder().no_proxy().timeout(RECORDER_DEADLINE).build().ok()?;
    let port = checkout.ports().ok()?.recorder_query();
    let answer = client.get(format!("http://127.0.0.1:{port}/api/v1/status")).send().await.ok()?;
    answer.json().await.ok()
}

fn print(status: &Status, copies: &Copies, output: &Output) -> Result<()> {
    let Copies { forward, second_witness } = copies;
    if output.json {
        let second_witness = second_witness.as_ref();
        output.line(&serde_json::to_string(&StatusJson { status, forward, second_witness })?);
    } else if status.parts.is_empty() {
        output.problem(&RuntimeError::NotRunning.to_string(), 1);
    } else {
        output.line(&text(status, output));
        if !forward.is_empty() {
            output.line(&format!("\ncopies for a real Sentry:\n{}", forward_text(forward, output)));
        }
        if let Some(state) = second_witness {
            let state = std::slice::from_ref(state);
            output.line(&format!("\ncopies for Spotlight:\n{}", forward_text(state, output)));
        }
    }
    Ok(())
}

/// The state of the copies: tables, or a few lines for each project on a narrow output.
fn forward_text(forward: &[Forwarding], output: &Output) -> String {
    if !output.is_narrow() {
        let table = forward_table(forward, output);
        return match losses_table(forward, output) {
            Some(losses) => format!("{table}\n\nlost with these copies:\n{losses}"),
            None => table.to_string(),
        };
    }
    let mut lines = Vec::new();
    for state in forward {
        lines.push(state.project.clone());
        lines.push(format!("  {} sent, {} left out", state.sent, counted(state.left_out, "item")));
        lines.push(format!(
            "  {} limited, {} refused, other losses: {}",
            state.dropped_rate_limited,
            state.refused,
            other_losses(state)
        ));
        lines.extend(losses(state).map(|(category, reason, quantity)| {
            format!("  lost {quantity} of category {category}: {reason}")
        }));
        lines.push(format!("  last error: {}", last_error(state)));
    }
    output.cut(&lines)
}

/// Losses in the dropped copies of a project: category, reason and quantity.
fn losses(state: &Forwarding) -> impl Iterator<Item = (&str, &str, u64)> {
    state.dropped.iter().flat_map(|(category, reasons)| {
        reasons.iter().map(move |(reason, quantity)| (category.as_str(), reason.as_str(), *quantity))
    })
}

/// The losses of all projects. `None` if nothing was lost.
fn losses_table(forward: &[Forwarding], output: &Output) -> Option<Table> {
    let mut table = borderless_table(output.columns, &["PROJECT", "CATEGORY", "REASON", "QUANTITY"]);
    for state in forward {
        for (category, reason, quantity) in losses(state) {
            table.add_row(vec![
                Cell::new(&state.project),
                Cell::new(category),
                Cell::new(reason),
                Cell::new(quantity).set_alignment(CellAlignment::Right),
            ]);
        }
    }
    never_split_names(&mut table);
    (!table.is_empty()).then_some(table)
}

/// Keeps the first column as wide as its content. Other columns are wrapped instead.
fn never_split_names(table: &mut Table) {
    if let Some(column) = table.column_mut(0) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
}

const fn other_losses(state: &Forwarding) -> u64 {
    state.dropped_queue_full + state.dropped_failed.saturating_sub(state.refused)
}

fn last_error(state: &Forwarding) -> String {
    match &state.last_error {
        None => "–".to_owned(),
        Some(ForwardingError { status: Some(status), reason, .. }) => format!("{status} {reason}"),
        Some(ForwardingError { status: None, reason, .. }) => reason.clone(),
    }
}

fn forward_table(forward: &[Forwarding], output: &Output) -> Table {
    let header = ["PROJECT", "SENT", "ITEMS LEFT OUT", "LIMITED", "REFUSED", "OTHER LOSSES", "LAST ERROR"];
    let mut table = borderless_table(output.columns, &header);
    for state in forward {
        let error = Cell::new(last_error(state));
        table.add_row(vec![
            Cell::new(&state.project),
            Cell::new(state.sent),
            Cell::new(state.left_out),
            Cell::new(state.dropped_rate_limited),
            Cell::new(state.refused),
            Cell::new(other_losses(state)),
            if output.colours && state.last_error.is_some() { error.fg(Color::Red) } else { error },
        ]);
    }
    never_split_names(&mut table);
    table
}

/// The parts: a table, or a few lines for each part on an output on which every form of the table would wrap.
#[must_use]
pub fn text(status: &Status, output: &Output) -> String {
    if !output.is_narrow() {
        let tables = [row, short_row].map(|row| table(status, output, row));
        if let Some(table) = tables.iter().find(|table| fits(table, output.columns)) {
            return table.to_string();
        }
    }
    let lines = status.parts.iter().flat_map(|part| {
        let pid = part.pid.map_or_else(|| "–".to_owned(), |pid| pid.to_string());
        [
            format!("{}  {}", name_text(part), state_text(part)),
            format!("  {}", part.address),
            format!("  pid {pid}, peak memory {}", mebibytes(part.memory_bytes)),
            format!("  {}, version {}", counted(part.restarts, "restart"), part.version),
        ]
    });
    output.cut(&lines.collect::<Vec<_>>())
}

/// Name of a part, with a mark if it is a server.
fn name_text(part: &PartStatus) -> String {
    let kind = if part.kind == Kind::Infrastructure { "·" } else { "" };
    format!("{}{kind}", part.name)
}

/// State of a part, with the cause of a death.
fn state_text(part: &PartStatus) -> String {
    match (&part.last_exit, part.state) {
        (Some(cause), PartState::CrashLooping | PartState::Restarting) => {
            format!("{} ({cause})", part.state.as_str())
        }
        _ => part.state.as_str().to_owned(),
    }
}

/// Returns true if nothing but the state, which may have a long cause, is wrapped.
fn fits(table: &Table, columns: usize) -> bool {
    let widths = table.column_max_content_widths().into_iter().enumerate().map(|(column, width)| {
        let width = usize::from(width);
        if column == STATE_COLUMN { width.min(STATE_COLUMNS) } else { width }
    });
    widths.map(|width| width + CELL_PADDING).sum::<usize>() <= columns
}

fn table(status: &Status, output: &Output, row: fn(&PartStatus, bool) -> Vec<Cell>) -> Table {
    let header = ["PART", "STATE", "ADDRESS", "PID", "PEAK MEMORY", "RESTARTS", "VERSION"];
    let mut table = borderless_table(output.columns, &header);
    status.parts.iter().for_each(|part| {
        table.add_row(row(part, output.colours));
    });
    for column in [3, 4, 5] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    never_split_names(&mut table);
    table
}

/// The row without the scheme of the address and the time of the commit, which the release has before its hash.
fn short_row(part: &PartStatus, colours: bool) -> Vec<Cell> {
    let address = part.address.strip_prefix("http://").unwrap_or(&part.address).to_owned();
    let without_time = part.version.split_once('+').and_then(|(version, build)| {
        let (_, hash) = build.rsplit_once('.')?;
        Some(format!("{version}+{hash}"))
    });
    let version = without_time.unwrap_or_else(|| part.version.clone());
    row(&PartStatus { address, version, ..part.clone() }, colours)
}

fn row(part: &PartStatus, colours: bool) -> Vec<Cell> {
    let colour = match part.state {
        PartState::Ready => Color::Green,
        PartState::Stopped | PartState::Frozen => Color::Blue,
        PartState::CrashLooping | PartState::Restarting | PartState::Unready => Color::Red,
        PartState::Waiting | PartState::Starting | PartState::Stopping => Color::Yellow,
    };
    let state = Cell::new(state_text(part));
    vec![
        Cell::new(name_text(part)),
        if colours { state.fg(colour) } else { state },
        Cell::new(&part.address),
        Cell::new(part.pid.map_or_else(|| "–".to_owned(), |pid| pid.to_string())),
        Cell::new(mebibytes(part.memory_bytes)),
        Cell::new(part.restarts),
        Cell::new(&part.version),
    ]
}

/// Bytes in a form for people.
#[must_use]
pub fn mebibytes(bytes: u64) -> String {
    match bytes {
        0 => "–".to_owned(),
        _ => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
    }
}

#[cfg(test)]
mod tests;
