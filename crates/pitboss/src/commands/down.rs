//! `pitboss down`: ends all processes of the platform, whatever state it is in.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use runtime::launch::{self, Ended};
use runtime::pids::Lock;

use crate::checkout::Checkout;
use crate::output::Output;

/// What to forget with it.
#[derive(Debug, Args)]
pub struct DownArgs {
    /// Forget the data too: players, money, topics, envelopes, logs. Secrets and fetched programs stay
    #[arg(long)]
    pub volumes: bool,
}

/// Stops everything.
///
/// # Errors
/// When a killed process does not disappear.
pub async fn run(args: &DownArgs, checkout: &Checkout, output: &Output) -> Result<ExitCode> {
    let layout = &checkout.layout;
    if !layout.state().exists() {
        output.line("nothing runs");
        return Ok(ExitCode::SUCCESS);
    }
    layout.create()?;
    let _lock = Lock::of_command(layout)?;
    let ended = launch::end(layout).await?;
    checkout.clear_running();
    output.line(&match ended {
        Ended::Nothing => "nothing runs".to_owned(),
        Ended::InOrder => "stopped".to_owned(),
        Ended::LeftBehind(names) => {
            format!("stopped what an interrupted command had left: {}", names.join(", "))
        }
    });
    if args.volumes {
        forget(&layout.all_data())?;
        forget(&layout.state().join("logs"))?;
        layout.create()?;
        output.line("forgot the data");
    }
    Ok(ExitCode::SUCCESS)
}

fn forget(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}
