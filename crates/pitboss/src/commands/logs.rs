//! `pitboss logs <part>`: prints the end of a part's log, and follows it on request.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use runtime::RuntimeError;
use runtime::logfile::{self, Follower};
use serde_json::json;

use crate::checkout::Checkout;
use crate::commands::Context;
use crate::output::Output;

/// Interval at which a followed log is read.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(200);

/// Arguments of `logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Name of the part, or `supervisor`
    part: String,
    /// Print new lines as they are written, until interrupted
    #[arg(short, long)]
    follow: bool,
    /// Number of lines to show
    #[arg(short = 'n', long, default_value_t = 50)]
    lines: usize,
}

impl LogsArgs {
    /// Prints the log, with `--json` as one object a line.
    ///
    /// # Errors
    /// When there is no such log (exit code 2).
    pub async fn run(&self, context: &Context) -> Result<ExitCode> {
        let (checkout, output) = (context.checkout()?, &context.output);
        let path = checkout.layout.log(&self.part);
        // A part's name is not a path, so nothing outside the folder of logs is read.
        let is_name = self.part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        if !is_name || !path.is_file() {
            let name = self.part.clone();
            return Err(RuntimeError::UnknownPart { name, known: known(&checkout) }.into());
        }
        let mut follower = Follower::from_end(&path);
        logfile::tail(&path, self.lines).iter().for_each(|line| self.print(line, output));
        if !self.follow {
            return Ok(ExitCode::SUCCESS);
        }
        let mut unfinished: Vec<u8> = Vec::new();
        loop {
            unfinished.extend(follower.read_new()?);
            if !output.json {
                output.text(&String::from_utf8_lossy(&std::mem::take(&mut unfinished)));
            }
            while let Some(end) = unfinished.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = unfinished.drain(..=end).collect();
                self.print(String::from_utf8_lossy(&line).trim_end(), output);
            }
            tokio::select! {
                () = tokio::time::sleep(FOLLOW_INTERVAL) => {}
                _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
            }
        }
    }

    fn print(&self, line: &str, output: &Output) {
        if output.json {
            output.line(&json!({ "part": self.part, "line": line }).to_string());
        } else {
            output.line(line);
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
