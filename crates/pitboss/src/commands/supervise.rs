//! `pitboss supervise` (hidden): the process that watches all parts.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;

use anyhow::{Context, Result};
use clap::Args;
use runtime::logfile::{LOG_BYTES_MAX, LogWriter};
use runtime::os_process::ProcessId;
use runtime::{Layout, RuntimeError, pids, supervisor};

use crate::actuators;

/// Arguments of `supervise`.
#[derive(Debug, Args)]
pub struct SuperviseArgs {
    #[arg(long)]
    root: PathBuf,
    #[arg(long)]
    state: PathBuf,
    #[arg(long)]
    tools: PathBuf,
    /// Process with whose end the platform shuts down
    #[arg(long)]
    end_with: Option<ProcessId>,
}

impl SuperviseArgs {
    /// Runs the supervisor in its own session until it is asked to end.
    pub fn run(&self) -> Result<ExitCode> {
        // EPERM means that the process leads its group already, which is separate enough. Any other error is a bug in `launch`.
        match nix::unistd::setsid() {
            Ok(_) | Err(nix::errno::Errno::EPERM) => {}
            Err(errno) => return Err(RuntimeError::io("cannot leave the terminal's session", errno).into()),
        }
        let layout = Layout::new(&self.root, Some(self.state.clone()), Some(self.tools.clone()));
        let log = LogWriter::open(&layout.log(pids::SUPERVISOR), LOG_BYTES_MAX)
            .context("cannot write the supervisor's log")?;
        tracing_subscriber::fmt().with_ansi(false).with_target(false).with_writer(Mutex::new(log)).init();
        // One thread, see `runtime::supervisor`.
        let tasks = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        tasks
            .block_on(supervisor::run(&layout, self.end_with.clone(), || actuators::start(&layout)))
            .inspect_err(|e| tracing::error!("the supervisor failed: {e}"))?;
        Ok(ExitCode::SUCCESS)
    }
}
