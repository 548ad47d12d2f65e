//! Settings by which a platform sends copies of its telemetry, and changes of its faults, to a real Sentry.
//!
//! That costs CPU time and depends on the network, so the platforms that a benchmark starts do not do it. An older build, which may
//! know other settings, has them empty as well.

use std::collections::BTreeSet;

use anyhow::Result;
use runtime::{Layout, dotenv, services};

use crate::checkout::{FLAG_HOOK_SECRET_VARIABLE, FLAG_HOOK_URL_VARIABLE};

/// What the help of a benchmark that starts platforms says about it.
pub(super) const HELP: &str = "Nothing of its platforms is sent to a real Sentry: their PITBOSS_FORWARD_DSN_* and PITBOSS_FLAG_HOOK_* are empty, whatever .env and the terminal set.";

/// Names of these settings in the `.env` of the checkout and in the terminal. They have to be empty in the commands of its platform.
///
/// # Errors
/// When `.env` cannot be read.
pub(super) fn settings(layout: &Layout) -> Result<BTreeSet<String>> {
    let dotenv = dotenv::read(&layout.root().join(".env"))?;
    let terminal = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    Ok(among(dotenv.into_keys().chain(terminal)))
}

/// Those of the names that are such a setting, and those of flag changes.
fn among(names: impl Iterator<Item = String>) -> BTreeSet<String> {
    let mut all: BTreeSet<String> = names.filter(|name| services::is_forwarding(name)).collect();
    all.extend([FLAG_HOOK_URL_VARIABLE, FLAG_HOOK_SECRET_VARIABLE].map(str::to_owned));
    all
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn settings_of_copies_are_found() {
        let names = ["PATH", "PITBOSS__FORWARD__GAME", "PITBOSS_FORWARD_DSN_USER", "SENTRY_ENVIRONMENT"];
        let found = among(names.map(str::to_owned).into_iter());
        let expected = [
            "PITBOSS_FLAG_HOOK_SECRET",
            "PITBOSS_FLAG_HOOK_URL",
            "PITBOSS_FORWARD_DSN_USER",
            "PITBOSS__FORWARD__GAME",
        ];
        assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn file_of_the_checkout_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path(), None, None);
        assert!(settings(&layout).is_ok(), "there is no file");
        let file = folder.path().join(".env");
        fs::write(&file, "PITBOSS_FORWARD_DSN_GAME=https://k@o1.example/2\n").unwrap();
        assert!(settings(&layout).unwrap().contains("PITBOSS_FORWARD_DSN_GAME"));
        fs::write(&file, "no setting\n").unwrap();
        assert!(settings(&layout).is_err());
    }
}
