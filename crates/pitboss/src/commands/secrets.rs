//! `pitboss secrets --env`: writes the platform's secrets as variables to a file, for the compose file and other programs.
//!
//! It guarantees that only the owner can read the file from its first byte, that a file from another source is never replaced,
//! and that a terminal never shows a secret.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use contracts::parts::{Part, sentry_projects};
use runtime::layout::write_private;
use runtime::secrets::Secrets;
use serde_json::json;

use crate::commands::Context;

/// First line of every file that this command writes. Only such a file may be replaced.
const HEADING: &str = "# Secrets of a local platform, made by `./pitboss secrets --env`. For its owner only.";
/// Argument that stands for standard output.
const STANDARD_OUTPUT: &str = "-";

/// Arguments of `secrets`.
#[derive(Debug, Args)]
pub struct SecretsArgs {
    /// Write NAME=value lines to this file (mode 0600) [default: .pitboss/secrets/compose.env]. `-` writes to a pipe
    #[arg(long, required = true, num_args = 0..=1, value_name = "FILE")]
    env: Option<Option<PathBuf>>,
}

impl SecretsArgs {
    /// Writes the secrets, and generates them first if there are none.
    ///
    /// # Errors
    /// When they cannot be generated, read or written, a file from another source is in the way, or the output is a terminal.
    pub fn run(&self, context: &Context) -> Result<ExitCode> {
        let (checkout, output) = (context.checkout()?, &context.output);
        let file = self.env.clone().flatten();
        let to_standard_output = file.as_deref() == Some(Path::new(STANDARD_OUTPUT));
        if to_standard_output && std::io::stdout().is_terminal() {
            bail!("secrets are not shown on a terminal: omit the `-` to write them to a file");
        }
        checkout.layout.create()?;
        let secrets = Secrets::load_or_create(&checkout.layout)?;
        let variables = variables(&secrets, checkout.ports()?.http(Part::Recorder));
        if to_standard_output {
            output.line(lines(&variables).trim_end());
            return Ok(ExitCode::SUCCESS);
        }
        let file = file.unwrap_or_else(|| checkout.layout.secrets().join("compose.env"));
        write(&file, &variables)?;
        if output.json {
            output.line(&json!({ "file": file }).to_string());
        } else {
            output.line(&format!("wrote {} variables to {}", variables.len(), file.display()));
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn lines(variables: &BTreeMap<String, String>) -> String {
    let lines = variables.iter().map(|(name, value)| format!("{name}={value}\n"));
    std::iter::once(format!("{HEADING}\n")).chain(lines).collect()
}

fn write(file: &Path, variables: &BTreeMap<String, String>) -> Result<()> {
    let is_foreign = match std::fs::read(file) {
        Ok(old) => !old.starts_with(HEADING.as_bytes()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(_) => true,
    };
    if is_foreign {
        bail!("{} was not written by this command and is not replaced: name another file", file.display());
    }
    Ok(write_private(file, lines(variables).as_bytes())?)
}

fn variables(secrets: &Secrets, ingest_port: u16) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::from([
        ("PITBOSS__SECURITY__OPERATOR_TOKEN".to_owned(), secrets.operator_token.clone()),
        ("PITBOSS__SECURITY__JWT_SECRET".to_owned(), secrets.jwt_secret.clone()),
        ("PITBOSS__SECURITY__WEBHOOK_SECRET".to_owned(), secrets.webhook_secret.clone()),
        ("PITBOSS__SECURITY__INTERNAL_TOKEN".to_owned(), secrets.internal_token.clone()),
        ("PITBOSS__FAULTS__SECRET".to_owned(), secrets.fault_secret.clone()),
        ("PITBOSS__SECURITY__FLAG_HOOK_SECRET".to_owned(), secrets.flag_hook_secret.clone()),
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn file_is_private_and_foreign_file_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let variables = BTreeMap::from([("A".to_owned(), "secret".to_owned())]);
        let file = folder.path().join("compose.env");
        write(&file, &variables).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        write(&file, &variables).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(std::fs::read_to_string(&file).unwrap().ends_with("\nA=secret\n"));
        for foreign in ["", "RUST_LOG=info\n"] {
            let dotenv = folder.path().join(".env");
            std::fs::write(&dotenv, foreign).unwrap();
            assert!(write(&dotenv, &variables).unwrap_err().to_string().contains("is not replaced"));
            assert_eq!(std::fs::read_to_string(&dotenv).unwrap(), foreign);
        }
    }

    #[test]
    fn unreadable_file_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        // A link to itself, which not even root can read.
        let file = folder.path().join("compose.env");
        std::os::unix::fs::symlink(&file, &file).unwrap();
        let variables = BTreeMap::from([("A".to_owned(), "secret".to_owned())]);
        assert!(write(&file, &variables).unwrap_err().to_string().contains("is not replaced"));
        assert!(file.is_symlink());
    }

    #[test]
    fn variables_have_every_secret_of_every_service() {
        let folder = tempfile::tempdir().unwrap();
        let layout = runtime::Layout::new(folder.path(), None, None);
        layout.create().unwrap();
        let secrets = Secrets::load_or_create(&layout).unwrap();
        let variables = variables(&secrets, 8101);
        for part in Part::SERVICES {
            for (name, secret) in secrets.read_by(*part) {
                assert_eq!(variables.get(name), Some(&secret), "{name} of {part}");
            }
        }
    }
}
