//! `pitboss supervise` (hidden): the process that watches all parts.

use std::process::ExitCode;
use std::sync::Mutex;

use anyhow::{Context, Result};
use clap::Args;
use runtime::logfile::{LOG_BYTES_MAX, LogWriter};
use runtime::process::ProcessId;
use runtime::{Layout, RuntimeError, pids, supervisor};

use crate::cli::Folder;

/// Where it runs, and until when.
#[derive(Debug, Args)]
pub struct SuperviseArgs {
    #[arg(long)]
    root: Folder,
    #[arg(long)]
    state: Folder,
    #[arg(long)]
    tools: Folder,
    /// The process whose end is the end of everything
    #[arg(long)]
    end_with: Option<ProcessId>,
}

/// Runs the supervisor in its own session until it is asked to end.
///
/// # Errors
/// When another supervisor runs this platform, or the state folder cannot be used.
pub fn run(args: &SuperviseArgs) -> Result<ExitCode> {
    // EPERM means that the process leads its group already, which is separate enough. Any other error is a bug in `launch`.
    match nix::unistd::setsid() {
        Ok(_) | Err(nix::errno::Errno::EPERM) => {}
        Err(errno) => return Err(RuntimeError::io("cannot leave the terminal's session", errno).into()),
    }
    let layout = Layout::new(&args.root, Some(args.state.clone()), Some(args.tools.clone()));
    let log = LogWriter::open(&layout.log(pids::SUPERVISOR), LOG_BYTES_MAX)
        .context("cannot write the supervisor's log")?;
    tracing_subscriber::fmt().with_ansi(false).with_target(false).with_writer(Mutex::new(log)).init();
    // One thread, see `runtime::supervisor`.
    let tasks = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tasks
        .block_on(supervisor::run(&layout, args.end_with.clone()))
        .inspect_err(|e| tracing::error!("{e}"))?;
    Ok(ExitCode::SUCCESS)
}
