//! Secrets of one local platform: generated once, never printed, readable by the owner only, and passed to their readers only.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contracts::parts::{Part, sentry_projects};
use rand::TryRngCore;
use rand::rngs::OsRng;
use serde::{Deserialize, Serialize};

use crate::layout::{write_private, write_with_mode};
use crate::{Layout, RuntimeError};

/// All secrets. `Debug` shows none of them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secrets {
    /// Key that signs session tokens.
    pub jwt_secret: String,
    /// Operator's token, for what players may not do: cause faults, delete envelopes, be exempt from the limit per address.
    pub operator_token: String,
    /// Key that signs the card provider's webhooks.
    pub webhook_secret: String,
    /// Token of requests between our services. Older platforms have none, so it is generated for them.
    #[serde(default)]
    pub internal_token: String,
    /// Key that signs the faults of one request. Older platforms have none, so it is generated for them.
    #[serde(default)]
    pub fault_secret: String,
    /// Key that signs the records of changed faults. Older platforms have none, so it is generated for them.
    #[serde(default)]
    pub flag_hook_secret: String,
    /// Public key of each Sentry project, by the project's name.
    pub dsn_keys: BTreeMap<String, String>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

/// Entry of one project in the recorder's file.
#[derive(Debug, Serialize)]
struct Project<'a> {
    id: u32,
    name: &'a str,
    public_key: &'a str,
}

impl Secrets {
    /// Loads the secrets and generates missing ones. A new project gets a key, and the others keep theirs.
    pub fn load_or_create(layout: &Layout) -> Result<Self, RuntimeError> {
        let path = layout.secrets().join("secrets.json");
        let old = match std::fs::read(&path) {
            Ok(text) => {
                refuse_if_shared(&path)?;
                let parsed = serde_json::from_slice::<Self>(&text);
                Some(parsed.map_err(|e| {
                    RuntimeError::Refused(format!(
                        "{} is damaged: restore it, or delete it to generate new secrets ({e})",
                        path.display()
                    ))
                })?)
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
                internal_token: String::new(),
                fault_secret: String::new(),
                flag_hook_secret: String::new(),
                dsn_keys: BTreeMap::new(),
            },
        };
        let later = [&mut secrets.internal_token, &mut secrets.fault_secret, &mut secrets.flag_hook_secret];
        for secret in later {
            if secret.is_empty() {
                *secret = random_text()?;
            }
        }
        for (_, name) in sentry_projects() {
            if !secrets.dsn_keys.contains_key(name) {
                secrets.dsn_keys.insert(name.to_owned(), random_key()?);
            }
        }
        if old.as_ref() != Some(&secrets) {
            write_private(&path, &json(&secrets)?)?;
        }
        secrets.write_projects(layout)?;
        write_if_changed(&layout.secrets().join("operator-token"), secrets.operator_token.as_bytes())?;
        Ok(secrets)
    }

    /// Loads the secrets, if they were generated before.
    #[must_use]
    pub fn load(layout: &Layout) -> Option<Self> {
        let text = std::fs::read(layout.secrets().join("secrets.json")).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// File that lists the projects for the recorder.
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
        let text = json(&projects)?;
        // It holds no secret, and a container's user has to read it. Its folder is still the owner's alone.
        if std::fs::read(&path).is_ok_and(|old| old == text) && mode_of(&path)? == PUBLIC_MODE {
            return Ok(());
        }
        write_with_mode(&path, &text, PUBLIC_MODE)
    }

    /// Secrets that this service reads, by variable. It gets no others.
    #[must_use]
    pub fn read_by(&self, part: Part) -> Vec<(&'static str, String)> {
        let all = [
            (OPERATOR_TOKEN, &self.operator_token, &[Part::Gateway, Part::Recorder][..]),
            (JWT_SECRET, &self.jwt_secret, &[Part::Gateway]),
            (WEBHOOK_SECRET, &self.webhook_secret, &[Part::Payment]),
            (INTERNAL_TOKEN, &self.internal_token, &INTERNAL),
            (FAULT_SECRET, &self.fault_secret, &FAULTY),
            (FLAG_HOOK_SECRET, &self.flag_hook_secret, &[Part::Recorder]),
        ];
        all.into_iter()
            .filter(|(_, _, readers)| readers.contains(&part))
            .map(|(name, secret, _)| (name, secret.clone()))
            .collect()
    }

    /// Public keys of all projects. A trace from outside that names one of them is continued.
    #[must_use]
    pub fn public_keys(&self) -> String {
        self.dsn_keys.values().map(String::as_str).collect::<Vec<_>>().join(",")
    }

    /// DSN of a project, at the recorder's ingest port.
    #[must_use]
    pub fn dsn(&self, project: &str, project_id: u32, ingest_port: u16) -> String {
        let key = self.dsn_keys.get(project).map_or("", String::as_str);
        format!("http://{key}@127.0.0.1:{ingest_port}/{project_id}")
    }
}

/// Returns true if this service has the internal token.
#[must_use]
pub fn has_internal_token(part: Part) -> bool {
    INTERNAL.contains(&part)
}

/// Services that send or receive internal requests.
const INTERNAL: [Part; 7] = [
    Part::Gateway,
    Part::User,
    Part::Game,
    Part::Payment,
    Part::Analytics,
    Part::Notification,
    Part::Partners,
];
/// Services in which faults act, and the gateway, which signs the faults of one request.
const FAULTY: [Part; 7] = [
    Part::Gateway,
    Part::User,
    Part::Game,
    Part::Payment,
    Part::Analytics,
    Part::Notification,
    Part::Partners,
];
/// Variables of the secrets.
const OPERATOR_TOKEN: &str = "PITBOSS__SECURITY__OPERATOR_TOKEN";
const JWT_SECRET: &str = "PITBOSS__SECURITY__JWT_SECRET";
const WEBHOOK_SECRET: &str = "PITBOSS__SECURITY__WEBHOOK_SECRET";
const INTERNAL_TOKEN: &str = "PITBOSS__SECURITY__INTERNAL_TOKEN";
const FAULT_SECRET: &str = "PITBOSS__FAULTS__SECRET";
const FLAG_HOOK_SECRET: &str = "PITBOSS__SECURITY__FLAG_HOOK_SECRET";
/// Previous signing key of the card provider. An operator sets it during a key change. The runtime generates none.
pub(crate) const WEBHOOK_SECRET_OLD: &str = "PITBOSS__SECURITY__WEBHOOK_SECRET_OLD";
/// Variables of all generated secrets. A service that may read one must be in [`Secrets::read_by`].
pub const VARIABLES: [&str; 6] =
    [OPERATOR_TOKEN, JWT_SECRET, WEBHOOK_SECRET, INTERNAL_TOKEN, FAULT_SECRET, FLAG_HOOK_SECRET];

/// Readable by every user who can enter the folder.
const PUBLIC_MODE: u32 = 0o644;

fn mode_of(path: &std::path::Path) -> Result<u32, RuntimeError> {
    let metadata = std::fs::metadata(path).map_err(RuntimeError::file("read", path))?;
    Ok(metadata.permissions().mode() & 0o777)
}

fn write_if_changed(path: &std::path::Path, text: &[u8]) -> Result<(), RuntimeError> {
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
    let mode = mode_of(path)?;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let path = path.display();
    Err(RuntimeError::Refused(format!(
        "{path} is readable by other users (mode {mode:o}): run chmod 600 {path}, or delete it to generate new secrets"
    )))
}

fn random<const N: usize>() -> Result<[u8; N], RuntimeError> {
    let mut bytes = [0; N];
    OsRng
        .try_fill_bytes(&mut bytes)
        .map_err(|e| RuntimeError::io("cannot read random bytes", std::io::Error::other(e)))?;
    Ok(bytes)
}

fn random_text() -> Result<String, RuntimeError> {
    Ok(URL_SAFE_NO_PAD.encode(random::<32>()?))
}

/// Returns 32 hexadecimal digits, like Sentry's own public keys.
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
    fn secrets_are_created_once_and_private() {
        let (_folder, layout) = layout();
        let created = Secrets::load_or_create(&layout).unwrap();
        assert_eq!(Secrets::load_or_create(&layout).unwrap(), created);
        for file in ["secrets.json", "operator-token"] {
            assert_eq!(mode_of(&layout.secrets().join(file)).unwrap(), 0o600, "{file}");
        }
        assert_eq!(mode_of(&layout.secrets()).unwrap(), 0o700);
        assert!(!format!("{created:?}").contains(&created.jwt_secret));
    }

    #[test]
    fn projects_file_becomes_readable_by_containers() {
        let (_folder, layout) = layout();
        Secrets::load_or_create(&layout).unwrap();
        let file = Secrets::projects_file(&layout);
        assert_eq!(mode_of(&file).unwrap(), 0o644);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        Secrets::load_or_create(&layout).unwrap();
        assert_eq!(mode_of(&file).unwrap(), 0o644);
    }

    #[test]
    fn failed_write_leaves_no_draft() {
        let (_folder, layout) = layout();
        // A container engine creates such a folder when the file that it has to mount is missing.
        std::fs::create_dir(Secrets::projects_file(&layout)).unwrap();
        Secrets::load_or_create(&layout).unwrap_err();
        let names = std::fs::read_dir(layout.secrets()).unwrap().map(|e| e.unwrap().file_name());
        let drafts: Vec<_> = names.filter(|name| name.to_string_lossy().contains(".tmp")).collect();
        assert!(drafts.is_empty(), "{drafts:?}");
    }

    #[test]
    fn missing_secrets_are_added() {
        let (_folder, layout) = layout();
        let created = Secrets::load_or_create(&layout).unwrap();
        let mut old = serde_json::to_value(&created).unwrap();
        for name in ["internal_token", "fault_secret", "flag_hook_secret"] {
            old.as_object_mut().unwrap().remove(name);
        }
        write_private(&layout.secrets().join("secrets.json"), &json(&old).unwrap()).unwrap();
        let now = Secrets::load_or_create(&layout).unwrap();
        assert!(now.internal_token.len() >= 32 && now.internal_token != created.internal_token);
        assert!(now.fault_secret.len() >= 32 && now.fault_secret != created.fault_secret);
        assert!(now.flag_hook_secret.len() >= 32 && now.flag_hook_secret != created.flag_hook_secret);
        let Secrets { internal_token, fault_secret, flag_hook_secret, .. } = created.clone();
        assert_eq!(Secrets { internal_token, fault_secret, flag_hook_secret, ..now }, created);
    }

    #[test]
    fn service_gets_only_the_secrets_it_reads() {
        let (_folder, layout) = layout();
        let secrets = Secrets::load_or_create(&layout).unwrap();
        let names = |part| secrets.read_by(part).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(Part::Gateway), [OPERATOR_TOKEN, JWT_SECRET, INTERNAL_TOKEN, FAULT_SECRET]);
        assert_eq!(names(Part::Payment), [WEBHOOK_SECRET, INTERNAL_TOKEN, FAULT_SECRET]);
        assert_eq!(names(Part::Recorder), [OPERATOR_TOKEN, FLAG_HOOK_SECRET]);
        for part in [Part::User, Part::Game, Part::Analytics, Part::Notification, Part::Partners] {
            assert_eq!(names(part), [INTERNAL_TOKEN, FAULT_SECRET], "{part}");
        }
        assert!(names(Part::Lagwatch).is_empty() && names(Part::Wire).is_empty());
    }

    #[test]
    fn projects_file_lists_every_project() {
        let (_folder, layout) = layout();
        let secrets = Secrets::load_or_create(&layout).unwrap();
        let text = std::fs::read_to_string(Secrets::projects_file(&layout)).unwrap();
        let projects: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        assert_eq!(projects.len(), sentry_projects().len());
        let game = projects.iter().find(|p| p["name"] == "game").unwrap();
        assert_eq!(game["public_key"], secrets.dsn_keys["game"].as_str());
        let dsn = secrets.dsn("game", 3, 8101);
        assert_eq!(dsn, format!("http://{}@127.0.0.1:8101/3", secrets.dsn_keys["game"]));
    }

    #[test]
    fn shared_secrets_file_is_refused() {
        let (_folder, layout) = layout();
        Secrets::load_or_create(&layout).unwrap();
        let path = layout.secrets().join("secrets.json");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Secrets::load_or_create(&layout).unwrap_err().to_string().contains("mode 644"));
    }
}
