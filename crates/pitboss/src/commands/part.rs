//! `pitboss start | stop | restart | kill | freeze | thaw`: acts on one part and reports the result.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use runtime::control::{Action, Client};
use runtime::part::PartState;

use crate::checkout::Checkout;
use crate::output::Output;

/// Deadline for a part to be ready, or to end.
const DEADLINE: Duration = Duration::from_secs(60);

/// Which part.
#[derive(Debug, Args)]
pub struct PartArgs {
    /// The part: gateway, user, game, payment, analytics, notification, recorder, lagwatch, partners, kafka, mongo, redis
    part: String,
}

/// Carries out the action and waits for its effect: a started part is ready, a stopped part has ended.
///
/// # Errors
/// When the part is unknown (exit code 2), the platform is not up (69), or the effect does not occur in time.
pub async fn run(action: Action, args: &PartArgs, checkout: &Checkout, output: &Output) -> Result<ExitCode> {
    let client = Client::new(&checkout.layout);
    let name = &args.part;
    client.act(action, name).await?;
    let done = match action {
        Action::Start | Action::Restart | Action::Thaw => {
            client.wait_ready(std::slice::from_ref(name), DEADLINE, |_| {}).await?;
            if action == Action::Thaw { "goes on" } else { "is ready" }
        }
        Action::Stop => {
            client.wait_state(name, &[PartState::Stopped], DEADLINE).await?;
            "is stopped and stays so (./pitboss start)"
        }
        Action::Kill => "was killed and comes back",
        Action::Freeze => "is frozen and stays so (./pitboss thaw)",
    };
    if output.json {
        let status = client.status().await?;
        output.line(&serde_json::to_string(&status.part(name))?);
    } else {
        output.line(&format!("{name} {done}"));
    }
    Ok(ExitCode::SUCCESS)
}
