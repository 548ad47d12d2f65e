//! Configuration of recorder. Its own defaults are in `defaults.toml`, those of shared sections in their crates.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use chassis::config::{Http, Secret, ServiceConfig};
use serde::{Deserialize, Serialize};
use validator::Validate;

use crate::body;

/// Name of the query listener among the listeners of the process ([`chassis::Listeners`]).
pub const QUERY: &str = "query.address";

/// All settings of recorder.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
pub struct Config {
    /// Query listener for people and tests. It answers even while ingest simulates an outage.
    #[validate(nested)]
    pub query: Http,
    /// Storage settings.
    #[validate(nested)]
    pub recorder: Recorder,
    /// Size limits.
    #[validate(nested)]
    pub limits: Limits,
    /// File and line of frames.
    pub symbols: Symbols,
    /// Evaluation of the alert rules.
    #[validate(nested)]
    pub alerts: Alerts,
    /// Access control.
    #[serde(default)]
    pub security: Security,
    /// DSNs of a real Sentry by project name, for copies. `PITBOSS_FORWARD_DSN_<SERVICE>` adds to them and overrides them.
    #[serde(default)]
    pub forward: BTreeMap<String, Secret>,
}

/// Section `[recorder]`.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
pub struct Recorder {
    /// Directory of the segments and the index. The recorder creates it when it is missing.
    pub data_dir: PathBuf,
    /// JSON list of `{id, name, public_key}`: the projects that may send.
    pub projects_file: PathBuf,
    /// Size at which a new segment is started.
    #[validate(range(min = 4_096))]
    pub segment_bytes: u64,
    /// Total size of the segments above which the oldest are deleted.
    #[validate(range(min = 8_192))]
    pub retention_bytes: u64,
    /// Time for gathering envelopes into one transaction of the index. A waiting query ends it early.
    #[validate(range(max = 10_000))]
    pub index_gather_ms: u64,
    /// Folders with the files of the modules that minidumps name: programs and shared libraries, with colons between them. A file is
    /// used if it has the build id of the module. Without folders, stacks are scanned and frames have no names. Folders in these
    /// folders are not searched.
    #[serde(default)]
    pub module_folders: String,
    /// Time after which a new, regressed or escalating issue is ongoing.
    #[validate(range(min = 1, max = 31_536_000))]
    pub ongoing_after_s: u64,
    /// Address of a second witness on this machine, which gets a copy of every envelope. `./pitboss up --spotlight` sets it.
    #[serde(default)]
    pub second_witness: Option<SocketAddr>,
    /// Answers 200 before the envelope is stored. This breaks the recorder's guarantee on purpose, so that the test of the
    /// guarantee can be shown to fail.
    #[serde(default)]
    pub answer_before_write: bool,
}

/// Section `[limits]`.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, Validate)]
pub struct Limits {
    /// Largest compressed body. An uncompressed body may be as large as an envelope.
    #[validate(range(min = 1, max = 134_217_728))]
    pub body_bytes_max: usize,
    /// Largest decompressed envelope. It is read piece by piece.
    #[validate(range(min = 1, max = 260_000_000))]
    pub envelope_bytes_max: usize,
    /// Largest part of an envelope that is read into memory: events, spans, logs and metrics, but no attachments. A few
    /// envelopes are in memory at a time.
    #[validate(range(min = 1, max = 16_777_216))]
    pub memory_bytes_max: usize,
    /// Total size of the incoming bodies that wait in files because they do not fit into memory.
    #[validate(range(min = 1))]
    pub spool_bytes_max: u64,
}

impl Limits {
    /// Returns the limits for opening a body.
    #[must_use]
    pub fn body(&self) -> body::Limits {
        body::Limits {
            envelope_bytes_max: self.envelope_bytes_max,
            memory_bytes_max: self.memory_bytes_max.min(self.envelope_bytes_max),
        }
    }
}

/// Section `[symbols]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Symbols {
    /// Folder of the tables that `recorder symbols` made of the programs. An empty path: frames are shown as they were sent.
    pub folder: PathBuf,
}

/// Section `[alerts]`.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, Validate)]
pub struct Alerts {
    /// Whether the rules are evaluated.
    pub enabled: bool,
    /// Time between two rounds. A rule with an interval of a minute is evaluated in each sixth round. A test makes it shorter.
    #[validate(range(min = 10, max = 60_000))]
    pub round_ms: u64,
}

/// Section `[security]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Security {
    /// Token that permits deleting all envelopes and simulating outages of ingest. An empty token disables both.
    #[serde(default)]
    pub operator_token: Secret,
    /// Secret that signs the changes of feature flags. An empty secret refuses all changes.
    #[serde(default)]
    pub flag_hook_secret: Secret,
}

impl ServiceConfig for Config {
    fn more_addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        vec![(QUERY, self.query.address)]
    }

    fn more_connections_max(&self) -> usize {
        self.query.connections_max
    }
}
