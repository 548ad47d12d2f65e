//! `pitboss secrets --env`: the secrets of this platform as variables, for the compose file and other programs.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use contracts::parts::{Part, sentry_projects};
use runtime::secrets::Secrets;

use crate::checkout::Checkout;
use crate::output::Output;

/// In which form.
#[derive(Debug, Args)]
pub struct SecretsArgs {
    /// As NAME=value lines, for an env file
    #[arg(long, required = true)]
    env: bool,
}

/// Prints the secrets; makes them first where there are none.
///
/// # Errors
/// When they cannot be made or read.
pub fn run(args: &SecretsArgs, checkout: &Checkout, output: &Output) -> Result<ExitCode> {
    debug_assert!(args.env, "clap demands it");
    checkout.layout.create()?;
    let secrets = Secrets::load_or_make(&checkout.layout)?;
    let variables = variables(&secrets, checkout.ports()?.http(Part::Recorder));
    if output.json {
        output.line(&serde_json::to_string(&variables)?);
    } else {
        variables.iter().for_each(|(name, value)| output.line(&format!("{name}={value}")));
    }
    Ok(ExitCode::SUCCESS)
}

fn variables(secrets: &Secrets, ingest_port: u16) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::from([
        ("PITBOSS__SECURITY__OPERATOR_TOKEN".to_owned(), secrets.operator_token.clone()),
        ("PITBOSS__SECURITY__JWT_SECRET".to_owned(), secrets.jwt_secret.clone()),
        ("PITBOSS__SECURITY__WEBHOOK_SECRET".to_owned(), secrets.webhook_secret.clone()),
        ("PITBOSS__SECURITY__PUBLIC_KEYS".to_owned(), secrets.public_keys()),
    ]);
    for (id, name) in sentry_projects() {
        let suffix = name.to_ascii_uppercase().replace('-', "_");
        variables
            .insert(format!("SENTRY_KEY_{suffix}"), secrets.dsn_keys.get(name).cloned().unwrap_or_default());
        variables.insert(format!("SENTRY_DSN_{suffix}"), secrets.dsn(name, id, ingest_port));
    }
    variables
}
