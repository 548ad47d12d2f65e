//! `pitboss start | stop | restart | kill | freeze | thaw`: acts on one part and reports the result.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use runtime::control::{Action, Client};
use runtime::part::PartState;

use crate::commands::Context;

/// Deadline for a part to be ready, or to end.
const DEADLINE: Duration = Duration::from_secs(60);

/// Arguments of the commands that act on one part.
#[derive(Debug, Args)]
pub struct PartArgs {
    /// Name of the part: gateway, user, game, payment, analytics, notification, recorder, lagwatch, partners, wire, kafka, mongo, redis,
    /// spotlight
    part: String,
}

impl PartArgs {
    /// Carries out the action and waits for its effect: a started part is ready, a stopped part has ended.
    ///
    /// # Errors
    /// When the part is unknown (exit code 2), the platform is not up (69), or the effect does not occur in time.
    pub async fn run(&self, action: Action, context: &Context) -> Result<ExitCode> {
        let client = Client::new(&context.checkout()?.layout);
        let name = &self.part;
        client.act(action, name).await?;
        let result = match action {
            Action::Start | Action::Restart | Action::Thaw => {
                client.wait_ready(std::slice::from_ref(name), DEADLINE, |_| {}).await?;
                if action == Action::Thaw { "was resumed" } else { "is ready" }
            }
            Action::Stop => {
                client.wait_state(name, &[PartState::Stopped], DEADLINE).await?;
                "is stopped until you start it: ./pitboss start"
            }
            Action::Kill => "was killed, and the supervisor restarts it",
            Action::Freeze => "is frozen until you resume it: ./pitboss thaw",
        };
        if context.output.json {
            let status = client.status().await?;
            context.output.line(&serde_json::to_string(&status.part(name))?);
        } else {
            context.output.line(&format!("{name} {result}"));
        }
        Ok(ExitCode::SUCCESS)
    }
}
