//! The secrets of one local platform: made once, never printed, readable by the owner only.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contracts::parts::sentry_projects;
use rand::TryRngCore;
use rand::rngs::OsRng;
use serde::{Deserialize, Serialize};

use crate::layout::write_private;
use crate::{Layout, RuntimeError};

/// All secrets; `Debug` shows none of them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secrets {
    /// Signs the sessions' tokens.
    pub jwt_secret: String,
    /// Lets its holder do what players may not: faults, forgetting, being exempt from the limit per address.
    pub operator_token: String,
    /// Signs the card provider's webhooks.
    pub webhook_secret: String,
    /// The public key of each Sentry project, by the project's name.
    pub dsn_keys: BTreeMap<String, String>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

/// One project as the recorder is told of it.
#[derive(Debug, Serialize)]
struct Project<'a> {
    id: u32,
    name: &'a str,
    public_key: &'a str,
}

impl Secrets {
    /// The secrets of this platform, made now where there are none. A project that is new gets its key, the others keep theirs.
    ///
    /// # Errors
    /// When they cannot be read, are readable by others, or cannot be written.
    pub fn load_or_make(layout: &Layout) -> Result<Self, RuntimeError> {
        let path = layout.secrets().join("secrets.json");
        let old = match std::fs::read(&path) {
            Ok(text) => {
                refuse_if_shared(&path)?;
                let parsed = serde_json::from_slice::<Self>(&text);
                Some(
                    parsed
                        .map_err(|e| RuntimeError::Refused(format!("{} is damaged: {e}", path.display())))?,
                )
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => return Err(RuntimeError::io(format!("cannot read {}", path.display()), e)),
        };
        let mut secrets = match &old {
            Some(old) => old.clone(),
            None => Self {
                jwt_secret: random_text()?,
                operator_token: random_text()?,
                webhook_secret: random_text()?,
                dsn_keys: BTreeMap::new(),
            },
        };
        for (_, name) in sentry_projects() {
            if !secrets.dsn_keys.contains_key(name) {
                secrets.dsn_keys.insert(name.to_owned(), random_key()?);
            }
        }
        if old.as_ref() != Some(&secrets) {
            write_private(&path, &json(&secrets)?)?;
        }
        secrets.write_projects(layout)?;
        write_where_different(&layout.secrets().join("operator-token"), secrets.operator_token.as_bytes())?;
        Ok(secrets)
    }

    /// The secrets, where they were made before.
    #[must_use]
    pub fn load(layout: &Layout) -> Option<Self> {
        let text = std::fs::read(layout.secrets().join("secrets.json")).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// The file that tells the recorder which projects there are.
    #[must_use]
    pub fn projects_file(layout: &Layout) -> PathBuf {
        layout.secrets().join("projects.json")
    }

    fn write_projects(&self, layout: &Layout) -> Result<(), RuntimeError> {
        let path = Self::projects_file(layout);
        let key = |name: &str| self.dsn_keys.get(name).map_or("", String::as_str);
        let all = sentry_projects();
        let projects: Vec<Project<'_>> =
            all.iter().map(|(id, name)| Project { id: *id, name, public_key: key(name) }).collect();
        write_where_different(&path, &json(&projects)?)
    }

    /// The public keys of all projects: a trace from outside that names one of them is continued.
    #[must_use]
    pub fn public_keys(&self) -> String {
        self.dsn_keys.values().map(String::as_str).collect::<Vec<_>>().join(",")
    }

    /// The DSN of a project, at the recorder's ingest port.
    #[must_use]
    pub fn dsn(&self, project: &str, project_id: u32, ingest_port: u16) -> String {
        let key = self.dsn_keys.get(project).map_or("", String::as_str);
        format!("http://{key}@127.0.0.1:{ingest_port}/{project_id}")
    }
}

fn write_where_different(path: &std::path::Path, text: &[u8]) -> Result<(), RuntimeError> {
    if std::fs::read(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    write_private(path, text)
}

fn json<T: Serialize>(value: &T) -> Result<Vec<u8>, RuntimeError> {
    serde_json::to_vec_pretty(value)
        .map_err(|e| RuntimeError::io("cannot write secrets", std::io::Error::other(e)))
}

fn refuse_if_shared(path: &std::path::Path) -> Result<(), RuntimeError> {
    let mode = std::fs::metadata(path).map_err(RuntimeError::file("read", path))?.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let path = path.display();
    Err(RuntimeError::Refused(format!(
        "{path} can be read by others (mode {:o}): chmod 600 {path}, or remove it and have new secrets made",
        mode & 0o777
    )))
}

fn random<const N: usize>() -> Result<[u8; N], RuntimeError> {
    let mut bytes = [0; N];
    OsRng
        .try_fill_bytes(&mut bytes)
        .map_err(|e| RuntimeError::io("no randomness", std::io::Error::other(e)))?;
    Ok(bytes)
}

fn random_text() -> Result<String, RuntimeError> {
    Ok(URL_SAFE_NO_PAD.encode(random::<32>()?))
}

/// 32 hexadecimal digits, as Sentry's own public keys are.
fn random_key() -> Result<String, RuntimeError> {
    Ok(hex::encode(random::<16>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> (tempfile::TempDir, Layout) {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path(), None, None);
        layout.create().unwrap();
        (folder, layout)
    }

    #[test]
    fn made_once_and_readable_by_the_owner_only() {
        let (_folder, layout) = layout();
        let made = Secrets::load_or_make(&layout).unwrap();
        assert_eq!(Secrets::load_or_make(&layout).unwrap(), made);
        for file in [layout.secrets().join("secrets.json"), Secrets::projects_file(&layout)] {
            assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(std::fs::metadata(layout.secrets()).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(!format!("{made:?}").contains(&made.jwt_secret));
    }

    #[test]
    fn the_recorder_is_told_of_every_project() {
        let (_folder, layout) = layout();
        let secrets = Secrets::load_or_make(&layout).unwrap();
        let text = std::fs::read_to_string(Secrets::projects_file(&layout)).unwrap();
        let projects: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        assert_eq!(projects.len(), sentry_projects().len());
        let game = projects.iter().find(|p| p["name"] == "game").unwrap();
        assert_eq!(game["public_key"], secrets.dsn_keys["game"].as_str());
        let dsn = secrets.dsn("game", 3, 8101);
        assert_eq!(dsn, format!("http://{}@127.0.0.1:8101/3", secrets.dsn_keys["game"]));
    }

    #[test]
    fn secrets_that_others_can_read_are_refused() {
        let (_folder, layout) = layout();
        Secrets::load_or_make(&layout).unwrap();
        let path = layout.secrets().join("secrets.json");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Secrets::load_or_make(&layout).unwrap_err().to_string().contains("mode 644"));
    }
}
