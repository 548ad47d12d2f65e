//! The flag file: which faults are armed, for whom, with which values, and until when.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{FaultId, ReadSite, ScopeKind, Values, flag_file};

mod lock;

/// Largest size of a flag file in bytes. Ours have a few kilobytes.
const BYTES_MAX: u64 = 1024 * 1024;

/// Traffic that a fault concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All traffic.
    All,
    /// A share of the traffic in percent, from 1 to 100. The same key always gets the same answer.
    SharePercent(u8),
    /// All traffic of processes with this release.
    Release(String),
    /// One player.
    Player(String),
    /// All traffic of the service with this name.
    Service(String),
}

/// One armed fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Armed {
    /// The fault.
    pub id: FaultId,
    /// Traffic that it concerns.
    pub scope: Scope,
    /// Values of its parameters.
    pub values: Values,
    /// Milliseconds since 1970 at which it expires.
    pub expires_at_ms: Option<i64>,
}

/// A flag that cannot be armed as it is written. It counts as off, and the other flags work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidFlag {
    /// Name of the flag, cut after 64 characters. It need not be a fault.
    pub name: String,
    /// Reason why it is invalid.
    pub reason: String,
    /// Name and content as they are in the file.
    pub(crate) written: (String, serde_json::Value),
}

/// Content of the flag file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The armed faults, expired ones too. Each fault occurs once.
    pub armed: Vec<Armed>,
    /// Reads that answer "off" although their fault is armed: at most one of each fault.
    pub ineffective: Vec<ReadSite>,
    /// The flags that are invalid. A change of other flags keeps them as they are.
    pub invalid: Vec<InvalidFlag>,
    /// Flags that arm nothing and were changed by an operator, by name, as in the file. A change of other flags keeps them, and
    /// arming replaces them.
    pub unarmed: BTreeMap<String, serde_json::Value>,
}

/// Reason why a flag file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file system refused.
    #[error("cannot {action} the flag file {}: {source}", .path.display())]
    File {
        /// `read`, `write` or `lock`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
    /// The content is not a flag file.
    #[error("the flag file {} is invalid: {reason}", .path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Reason why it is invalid.
        reason: String,
    },
}

impl fmt::Display for InvalidFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "flag `{}`: {}", self.name, self.reason)
    }
}

impl Armed {
    /// Returns true if the fault has expired.
    #[must_use]
    pub fn is_expired(&self, now_ms: i64) -> bool {
        self.expires_at_ms.is_some_and(|at_ms| now_ms >= at_ms)
    }
}

impl Scope {
    /// Kind of the traffic.
    #[must_use]
    pub const fn kind(&self) -> ScopeKind {
        match self {
            Self::All => ScopeKind::All,
            Self::SharePercent(_) => ScopeKind::Share,
            Self::Release(_) => ScopeKind::Release,
            Self::Player(_) => ScopeKind::Player,
            Self::Service(_) => ScopeKind::Service,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::SharePercent(percent) => write!(f, "share {percent} %"),
            Self::Release(release) => write!(f, "release {release}"),
            Self::Player(player_id) => write!(f, "player {player_id}"),
            Self::Service(service) => write!(f, "service {service}"),
        }
    }
}

impl State {
    /// Reads a flag file. A missing file is a state in which nothing is armed. Of each invalid flag the state has the reason.
    ///
    /// # Errors
    /// When the file cannot be read or is no flag file.
    pub fn read(path: &Path) -> Result<Self, StateError> {
        let failed = |source| StateError::File { action: "read", path: path.to_owned(), source };
        let text = match read_bounded(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(failed(error)),
        };
        flag_file::parse(&text).map_err(|reason| StateError::Invalid { path: path.to_owned(), reason })
    }

    /// Replaces a flag file at once: a reader sees the old content or the new one. Only its owner may read it.
    ///
    /// It is not synced to the disk, because the processes that read it end with the machine, too. It excludes no other writer:
    /// [`State::update`] does.
    ///
    /// # Errors
    /// When a scope is invalid, a fault is armed twice, or the file cannot be written. No draft is left behind then.
    pub fn write(&self, path: &Path) -> Result<(), StateError> {
        let text = flag_file::render(self)
            .map_err(|reason| StateError::Invalid { path: path.to_owned(), reason })?;
        let draft = draft_of(path);
        let replace = || -> io::Result<()> {
            // `create_new` neither follows a link nor inherits the mode of an old file.
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
            file.write_all(text.as_bytes())?;
            fs::rename(&draft, path)
        };
        replace().map_err(|source| {
            drop(fs::remove_file(&draft));
            StateError::File { action: "write", path: path.to_owned(), source }
        })
    }

    /// Changes a flag file while no other process or thread does, and returns what `change` returned.
    ///
    /// `change` gets the state without expired faults. The file is written only if the state differs from that in the file. It
    /// waits up to two seconds for another change.
    ///
    /// # Errors
    /// When the file cannot be read or written, or another change does not end in time. The file is unchanged then.
    pub fn update<T>(path: &Path, change: impl FnOnce(&mut Self) -> T) -> Result<T, StateError> {
        let _lock = lock::take(path)?;
        let before = Self::read(path)?;
        let mut after = before.clone();
        after.drop_expired(crate::now_ms());
        let changed = change(&mut after);
        if after != before {
            after.write(path)?;
        }
        Ok(changed)
    }

    /// Disarms all faults under the lock of [`State::update`], and returns those that were armed.
    ///
    /// Invalid flags and those that an operator has changed are removed, and an invalid file is replaced.
    ///
    /// # Errors
    /// When the file cannot be written, or another change does not end in time.
    pub fn disarm_all(path: &Path) -> Result<Vec<Armed>, StateError> {
        let _lock = lock::take(path)?;
        let mut before = Self::read(path).unwrap_or_default();
        before.drop_expired(crate::now_ms());
        if path.exists() {
            Self::default().write(path)?;
        }
        Ok(before.armed)
    }

    fn drop_expired(&mut self, now_ms: i64) {
        let Self { armed, ineffective, .. } = self;
        armed.retain(|armed| !armed.is_expired(now_ms));
        ineffective.retain(|site| armed.iter().any(|armed| armed.id == site.fault));
    }

    /// Arms a fault. It replaces an earlier state of the same fault, also an invalid or disabled one.
    pub fn arm(&mut self, armed: Armed) {
        self.disarm(armed.id);
        self.unarmed.remove(armed.id.as_str());
        self.armed.push(armed);
    }

    /// Lets one read of an armed fault answer "off", while its other reads act. It ends when the fault is armed again or disarmed.
    ///
    /// A row that holds in spite of that does not prove this read. `./pitboss verify --sabotage=reads` finds such rows.
    pub fn make_ineffective(&mut self, site: ReadSite) {
        self.ineffective.retain(|known| known.fault != site.fault);
        self.ineffective.push(site);
    }

    /// Disarms a fault. Returns true if it was armed, or if its flag was invalid.
    pub fn disarm(&mut self, id: FaultId) -> bool {
        let before = self.armed.len() + self.invalid.len();
        self.armed.retain(|armed| armed.id != id);
        self.ineffective.retain(|site| site.fault != id);
        self.invalid.retain(|flag| flag.written.0 != id.as_str());
        self.armed.len() + self.invalid.len() < before
    }
}

/// A name beside the file that no other writer uses, in this process or another.
fn draft_of(path: &Path) -> PathBuf {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let number = WRITES.fetch_add(1, Ordering::Relaxed);
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.{number}.{}.tmp", std::process::id(), crate::now_ms()));
    PathBuf::from(name)
}

fn read_bounded(path: &Path) -> io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    fs::File::open(path)?.take(BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it has more than {BYTES_MAX} bytes"),
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
