//! `pitboss logs <part>`: prints the end of a part's log, and follows it on request.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use runtime::RuntimeError;
use runtime::logfile::{self, Follower};

use crate::checkout::Checkout;
use crate::output::Output;

/// Interval at which a followed log is read.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(200);

/// Which log, and how much of it.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The part, or `supervisor`
    part: String,
    /// Go on with what is added, until interrupted
    #[arg(short, long)]
    follow: bool,
    /// How many last lines
    #[arg(short = 'n', long, default_value_t = 50)]
    lines: usize,
}

/// Prints the log.
///
/// # Errors
/// When there is no such log (exit code 2).
pub async fn run(args: &LogsArgs, checkout: &Checkout, output: &Output) -> Result<ExitCode> {
    let path = checkout.layout.log(&args.part);
    // A part's name is not a path, so nothing outside the folder of logs is read.
    let is_name = args.part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if !is_name || !path.is_file() {
        return Err(RuntimeError::UnknownPart { name: args.part.clone(), known: known(checkout) }.into());
    }
    let mut follower = Follower::from_end(&path);
    logfile::tail(&path, args.lines).iter().for_each(|line| output.line(line));
    if !args.follow {
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        output.text(&String::from_utf8_lossy(&follower.read_new()?));
        tokio::select! {
            () = tokio::time::sleep(FOLLOW_INTERVAL) => {}
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
        }
    }
}

fn known(checkout: &Checkout) -> String {
    let files = std::fs::read_dir(checkout.layout.state().join("logs")).into_iter().flatten().flatten();
    let names = files.filter_map(|file| Some(file.file_name().to_str()?.strip_suffix(".log")?.to_owned()));
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    if names.is_empty() { "none yet".to_owned() } else { names.join(", ") }
}
