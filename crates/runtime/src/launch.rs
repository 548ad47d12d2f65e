//! Starts the supervisor, and ends the platform whatever state it is in.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::control::Client;
use crate::error::LOG_LINES_SHOWN;
use crate::os_process::ProcessId;
use crate::pids::{self, SUPERVISOR};
use crate::{Layout, RuntimeError, fetch, logfile, os_process};

/// Name of the hidden subcommand that runs [`crate::supervisor::run`].
pub const SUPERVISE: &str = "supervise";
/// Deadline for the supervisor's first answer.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// Starts the supervisor and waits until it answers. It runs in its own session, so that closing a terminal does not end it. When
/// the process `end_with` ends, the supervisor shuts everything down.
pub async fn start(layout: &Layout, end_with: Option<&ProcessId>) -> Result<Client, RuntimeError> {
    let log = layout.log(SUPERVISOR);
    let output = OpenOptions::new().append(true).create(true).mode(0o600).open(&log);
    let output = output.map_err(RuntimeError::file("write", &log))?;
    let duplicate = output.try_clone().map_err(RuntimeError::file("write", &log))?;
    let mut command = tokio::process::Command::new("/proc/self/exe");
    command.arg(SUPERVISE).arg("--root").arg(layout.root()).arg("--state").arg(layout.state());
    command.arg("--tools").arg(layout.tools());
    if let Some(process) = end_with {
        command.args(["--end-with", &process.to_string()]);
    }
    command.current_dir("/").stdin(Stdio::null()).stdout(output).stderr(duplicate);
    let mut child = command.spawn().map_err(|e| RuntimeError::io("cannot start the supervisor", e))?;
    let client = Client::new(layout);
    let until = tokio::time::Instant::now() + START_DEADLINE;
    loop {
        if client.status().await.is_ok() {
            return Ok(client);
        }
        let ended = child.try_wait().ok().flatten();
        if ended.is_some() || tokio::time::Instant::now() > until {
            let cause = ended.map_or_else(|| "it does not answer".to_owned(), os_process::describe_exit);
            let tail = logfile::tail(&log, LOG_LINES_SHOWN);
            return Err(RuntimeError::DiedAtStart { part: "the supervisor".to_owned(), cause, log, tail });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Result of [`end`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Nothing was running.
    Nothing,
    /// Everything was shut down in order.
    InOrder,
    /// There was no supervisor, or it did not answer. These processes were left behind and have been killed.
    LeftBehind(Vec<String>),
}

/// Ends the platform, whatever state it is in. None of its processes runs when this returns.
pub async fn end(layout: &Layout) -> Result<Ended, RuntimeError> {
    let fetching = fetch::kill_leftovers(layout).await;
    if pids::supervisor_lives(layout)? {
        match Client::new(layout).shut_down().await {
            Ok(()) => return fetching.map(|_| Ended::InOrder),
            Err(error) => tracing::warn!("the supervisor does not end in good order: {error}"),
        }
        kill_supervisor(layout).await?;
    }
    let mut left = pids::clean_up(layout).await?;
    left.extend(fetching?);
    Ok(if left.is_empty() { Ended::Nothing } else { Ended::LeftBehind(left) })
}

async fn kill_supervisor(layout: &Layout) -> Result<(), RuntimeError> {
    let supervisor =
        pids::recorded(layout).into_iter().find(|r| r.name == SUPERVISOR && r.process.is_alive());
    if let Some(supervisor) = supervisor
        && let Err(errno) = kill(Pid::from_raw(supervisor.process.pid), Signal::SIGKILL)
    {
        tracing::debug!("cannot signal a process that has probably just ended: {errno}");
    }
    let until = tokio::time::Instant::now() + START_DEADLINE;
    while pids::supervisor_lives(layout)? {
        if tokio::time::Instant::now() > until {
            return Err(RuntimeError::Refused("the supervisor neither answers nor ends".to_owned()));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
