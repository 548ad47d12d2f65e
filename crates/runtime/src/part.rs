//! One part: what to run, what it needs first, when it is ready; and what is told of it while it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::RuntimeError;

/// What kind of part it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A server that is not ours: Kafka, MongoDB, Redis.
    Infrastructure,
    /// A service of ours.
    Service,
}

/// How it is found out that a part can be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "probe")]
pub enum Probe {
    /// It is ready as soon as its program runs.
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
    /// The broker answers a metadata request and names itself.
    Kafka {
        /// host:port
        address: String,
    },
    /// The server answers a ping.
    Mongo {
        /// host:port
        address: String,
    },
    /// The server answers PONG.
    Redis {
        /// host:port
        address: String,
    },
}

/// Everything that the supervisor needs to know to run a part.
///
/// Two specs that are equal mean the same process: a part whose spec changed is restarted by the next `up`, one whose spec did
/// not is left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartSpec {
    /// The name that people use: `game`, `kafka`.
    pub name: String,
    /// What kind of part it is.
    pub kind: Kind,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Its whole environment: nothing else is inherited, so that two terminals start the same process.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Where it runs.
    pub cwd: PathBuf,
    /// The parts that must be ready before it is started for the first time.
    #[serde(default)]
    pub needs: Vec<String>,
    /// The ports that it will listen on.
    #[serde(default)]
    pub ports: Vec<u16>,
    /// Where people find it.
    pub address: String,
    /// Its version.
    pub version: String,
    /// When it is ready.
    pub ready: Probe,
    /// How long it may take to end before it is killed.
    pub stop_deadline_ms: u64,
    /// What the program file is made of (length and time of change): a rebuilt program is another part.
    #[serde(default)]
    pub fingerprint: String,
}

/// What a part is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartState {
    /// It was stopped, or never started; it stays so until told.
    Stopped,
    /// It will be started when what it needs is ready.
    Waiting,
    /// It runs and is not ready yet.
    Starting,
    /// It runs and is ready.
    Ready,
    /// It runs, was ready, and says that it is not at the moment.
    Unready,
    /// It was frozen; it stays so until told.
    Frozen,
    /// It was told to end.
    Stopping,
    /// It died and will be started again in a moment.
    Restarting,
    /// It died five times in a minute; it is still tried again, ever more slowly.
    CrashLooping,
}

impl PartState {
    /// As it is printed.
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

/// What is told of a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartStatus {
    /// The name that people use.
    pub name: String,
    /// What kind of part it is.
    pub kind: Kind,
    /// Where people find it.
    pub address: String,
    /// Its process, where its program runs.
    pub pid: Option<i32>,
    /// Its version.
    pub version: String,
    /// What it is doing.
    pub state: PartState,
    /// The most memory that this process ever held (VmHWM); 0 where it does not run.
    pub memory_bytes: u64,
    /// How often it was started again after it died.
    pub restarts: u32,
    /// How it ended the last time, where it did not do so on command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<String>,
}

/// What `status` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Which runtime it is; this one is `local`.
    pub runtime: String,
    /// The parts in the order in which they start.
    pub parts: Vec<PartStatus>,
}

impl Status {
    /// The part of that name.
    #[must_use]
    pub fn part(&self, name: &str) -> Option<&PartStatus> {
        self.parts.iter().find(|p| p.name == name)
    }

    /// Whether there are parts and every one of them is ready.
    #[must_use]
    pub fn all_ready(&self) -> bool {
        !self.parts.is_empty() && self.parts.iter().all(|p| p.state == PartState::Ready)
    }
}

/// The parts in an order in which each comes after what it needs.
///
/// # Errors
/// When two have one name, one needs what is not there, or they need each other in a circle.
pub fn start_order(parts: &[PartSpec]) -> Result<Vec<String>, RuntimeError> {
    let names: BTreeSet<&str> = parts.iter().map(|p| p.name.as_str()).collect();
    if names.len() != parts.len() {
        return Err(RuntimeError::Plan("two parts have the same name".to_owned()));
    }
    for part in parts {
        if let Some(lacking) = part.needs.iter().find(|need| !names.contains(need.as_str())) {
            return Err(RuntimeError::Plan(format!(
                "{} needs {lacking}, which is not among the parts",
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
            let circle: Vec<&str> =
                parts.iter().filter(|p| !order.contains(&p.name)).map(|p| p.name.as_str()).collect();
            return Err(RuntimeError::Plan(format!(
                "these need each other in a circle: {}",
                circle.join(", ")
            )));
        }
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::tests::spec;

    #[test]
    fn each_comes_after_what_it_needs() {
        let parts = [spec("game", &["kafka", "mongo"]), spec("mongo", &[]), spec("kafka", &[])];
        assert_eq!(start_order(&parts).unwrap(), ["mongo", "kafka", "game"]);
    }

    #[test]
    fn wrong_plans_are_named() {
        let told = |parts: &[PartSpec]| start_order(parts).unwrap_err().to_string();
        assert!(told(&[spec("a", &["b"]), spec("b", &["a"]), spec("c", &[])]).contains("circle: a, b"));
        assert!(told(&[spec("a", &["kafka"])]).contains("a needs kafka"));
        assert!(told(&[spec("a", &[]), spec("a", &[])]).contains("same name"));
    }
}
