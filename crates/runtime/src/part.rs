//! Description of a part: what to run, what it needs first, when it is ready. Also its status at run time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::RuntimeError;

/// Kind of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A third-party server: Kafka, MongoDB, Redis.
    Infrastructure,
    /// One of our services.
    Service,
}

/// Check that a part is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "probe")]
pub enum Probe {
    /// The part is ready as soon as its program runs.
    Running,
    /// A port accepts connections.
    Tcp {
        /// host:port
        address: String,
    },
    /// `GET path` answers 200.
    Http {
        /// host:port
        address: String,
        /// The path.
        path: String,
    },
    /// The broker answers a metadata request and names a broker.
    Kafka {
        /// host:port
        address: String,
    },
    /// The server answers `hello` and accepts writes.
    Mongo {
        /// host:port
        address: String,
    },
    /// The server answers PING with PONG.
    Redis {
        /// host:port
        address: String,
    },
}

/// Everything that the supervisor needs to run a part.
///
/// Two equal specs mean the same process. The next `up` restarts a part whose spec changed and leaves the others alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartSpec {
    /// Name that people use: `game`, `kafka`.
    pub name: String,
    /// Kind of the part.
    pub kind: Kind,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Its whole environment. Nothing else is inherited, so that two terminals start the same process.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Working directory.
    pub cwd: PathBuf,
    /// Parts that must be ready before it starts. A restart after its death does not wait for them.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Ports that it listens on.
    #[serde(default)]
    pub ports: Vec<u16>,
    /// Address for people.
    pub address: String,
    /// Its version.
    pub version: String,
    /// Check that it is ready.
    pub ready: Probe,
    /// Time that it may take to end before it is killed.
    pub stop_deadline_ms: u64,
    /// Length and modification time of the program file, so that a rebuilt program is restarted.
    #[serde(default)]
    pub fingerprint: String,
}

/// State of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartState {
    /// Stopped, or never started. It stays so until a command starts it.
    Stopped,
    /// Waits until the parts that it needs are ready.
    Waiting,
    /// Runs, but is not ready yet.
    Starting,
    /// Runs and is ready.
    Ready,
    /// Runs and was ready, but reports that it is not ready now.
    Unready,
    /// Frozen until a command thaws it.
    Frozen,
    /// Was asked to shut down.
    Stopping,
    /// Died, and is restarted soon.
    Restarting,
    /// Died five times in a minute. It is still restarted, after longer and longer pauses.
    CrashLooping,
}

impl PartState {
    /// Name of the state in output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Unready => "unready",
            Self::Frozen => "frozen",
            Self::Stopping => "stopping",
            Self::Restarting => "restarting",
            Self::CrashLooping => "crash-looping",
        }
    }
}

/// Status of a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartStatus {
    /// Name that people use.
    pub name: String,
    /// Kind of the part.
    pub kind: Kind,
    /// Address for people.
    pub address: String,
    /// Process id, if its program runs.
    pub pid: Option<i32>,
    /// Its version.
    pub version: String,
    /// Its state.
    pub state: PartState,
    /// Peak memory of this process (VmHWM), or 0 if it does not run.
    pub memory_bytes: u64,
    /// Number of restarts after a death.
    pub restarts: u32,
    /// Cause of its last end, unless a command ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<String>,
}

/// Output of `status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Name of the runtime. This one is `local`.
    pub runtime: String,
    /// Parts in start order.
    pub parts: Vec<PartStatus>,
}

impl Status {
    /// The part of that name.
    #[must_use]
    pub fn part(&self, name: &str) -> Option<&PartStatus> {
        self.parts.iter().find(|p| p.name == name)
    }

    /// Returns `true` if there are parts and all of them are ready.
    #[must_use]
    pub fn all_ready(&self) -> bool {
        !self.parts.is_empty() && self.parts.iter().all(|p| p.state == PartState::Ready)
    }
}

/// Returns the names of the parts in an order in which each comes after the parts that it needs.
///
/// # Errors
/// When two parts have one name, a needed part is missing, or parts need each other in a cycle.
pub fn start_order(parts: &[PartSpec]) -> Result<Vec<String>, RuntimeError> {
    let names: BTreeSet<&str> = parts.iter().map(|p| p.name.as_str()).collect();
    if names.len() != parts.len() {
        return Err(RuntimeError::Plan("two parts have the same name".to_owned()));
    }
    for part in parts {
        if let Some(lacking) = part.needs.iter().find(|need| !names.contains(need.as_str())) {
            return Err(RuntimeError::Plan(format!(
                "{} needs {lacking}, which is not a part of the plan",
                part.name
            )));
        }
    }
    let mut order: Vec<String> = Vec::with_capacity(parts.len());
    while order.len() < parts.len() {
        let before = order.len();
        for part in parts {
            if !order.contains(&part.name) && part.needs.iter().all(|need| order.contains(need)) {
                order.push(part.name.clone());
            }
        }
        if order.len() == before {
            let cycle: Vec<&str> =
                parts.iter().filter(|p| !order.contains(&p.name)).map(|p| p.name.as_str()).collect();
            return Err(RuntimeError::Plan(format!(
                "these parts need each other in a cycle: {}",
                cycle.join(", ")
            )));
        }
    }
    Ok(order)
}

/// Base environment of all processes: no proxy, no Java options, no tokens.
pub(crate) fn base_environment() -> BTreeMap<String, String> {
    let kept = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR"];
    kept.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?))).collect()
}

/// Identifies a program file by its length and modification time.
pub(crate) fn fingerprint(program: &Path) -> String {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(program)
        .map(|m| format!("{}-{}-{}", m.len(), m.mtime(), m.mtime_nsec()))
        .unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A part that needs other parts.
    pub(crate) fn spec(name: &str, needs: &[&str]) -> PartSpec {
        PartSpec {
            name: name.to_owned(),
            kind: Kind::Service,
            program: "/bin/true".into(),
            args: Vec::new(),
            env: BTreeMap::new(),
            cwd: "/".into(),
            needs: needs.iter().map(|n| (*n).to_owned()).collect(),
            ports: Vec::new(),
            address: String::new(),
            version: "1".to_owned(),
            ready: Probe::Running,
            stop_deadline_ms: 1_000,
            fingerprint: String::new(),
        }
    }

    #[test]
    fn parts_start_after_those_they_need() {
        let parts = [spec("game", &["kafka", "mongo"]), spec("mongo", &[]), spec("kafka", &[])];
        assert_eq!(start_order(&parts).unwrap(), ["mongo", "kafka", "game"]);
    }

    #[test]
    fn invalid_plan_names_the_problem() {
        let error = |parts: &[PartSpec]| start_order(parts).unwrap_err().to_string();
        assert!(error(&[spec("a", &["b"]), spec("b", &["a"]), spec("c", &[])]).contains("cycle: a, b"));
        assert!(error(&[spec("a", &["kafka"])]).contains("a needs kafka"));
        assert!(error(&[spec("a", &[]), spec("a", &[])]).contains("same name"));
    }
}
