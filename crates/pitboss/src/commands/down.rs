//! `pitboss down`: ends all processes of the platform, in every state.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use runtime::launch::{self, Ended};
use runtime::pids::Lock;
use serde_json::json;

use crate::commands::Context;

/// Arguments of `down`.
#[derive(Debug, Args)]
pub struct DownArgs {
    /// Also delete all data: players, money, topics, envelopes, logs. Secrets and fetched programs are kept
    #[arg(long)]
    pub volumes: bool,
}

impl DownArgs {
    /// Stops everything.
    pub async fn run(&self, context: &Context) -> Result<ExitCode> {
        let (checkout, output) = (context.checkout()?, &context.output);
        let layout = &checkout.layout;
        let (mut ended, mut data_deleted) = (Ended::Nothing, false);
        if layout.state().exists() {
            layout.create()?;
            let _lock = Lock::of_command(layout)?;
            ended = launch::end(layout).await?;
            checkout.clear_running();
            if self.volumes {
                delete(&layout.all_data())?;
                delete(&layout.state().join("logs"))?;
                layout.create()?;
                data_deleted = true;
            }
        }
        let result = match ended {
            Ended::Nothing => "nothing runs".to_owned(),
            Ended::InOrder => "stopped".to_owned(),
            Ended::LeftBehind(names) => {
                format!("stopped the leftovers of an interrupted command: {}", names.join(", "))
            }
        };
        if output.json {
            output.line(&json!({ "result": result, "data_deleted": data_deleted }).to_string());
        } else {
            output.line(&result);
            if data_deleted {
                output.line("deleted the data");
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn delete(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot delete {}", folder.display()))
        }
        _ => Ok(()),
    }
}
