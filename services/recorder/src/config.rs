//! Everything that can be set; `defaults.toml` documents each field's default.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use chassis::config::{Drain, Http, Ops, Secret, ServiceConfig};
use serde::{Deserialize, Serialize};
use validator::Validate;

use crate::body;

/// Name of the query listener among the edges.
pub const QUERY: &str = "query.address";

/// The recorder's configuration.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
pub struct Config {
    /// The ingest listener: what SDKs talk to.
    #[validate(nested)]
    pub http: Http,
    /// The query listener: what people and tests talk to; it answers while ingest plays dead.
    #[validate(nested)]
    pub query: Http,
    /// Liveness, readiness, metrics, version.
    pub ops: Ops,
    /// The orderly end.
    #[serde(default)]
    #[validate(nested)]
    pub drain: Drain,
    /// Where things are kept.
    #[validate(nested)]
    pub recorder: Recorder,
    /// How large things may be.
    #[validate(nested)]
    pub limits: Limits,
    /// Who may do what.
    #[serde(default)]
    pub security: Security,
    /// DSNs of a real Sentry by project name, for copies; `PITBOSS_FORWARD_DSN_<SERVICE>` adds to them.
    #[serde(default)]
    pub forward: BTreeMap<String, Secret>,
}

/// `[recorder]`.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
pub struct Recorder {
    /// Directory of the segments and of the index; made where it is not there.
    pub data_dir: PathBuf,
    /// JSON list of `{id, name, public_key}`: who may send.
    pub projects_file: PathBuf,
    /// A segment that has reached this size is followed by a new one.
    #[validate(range(min = 4_096))]
    pub segment_bytes: u64,
    /// The oldest segments are deleted while all together are larger than this.
    #[validate(range(min = 8_192))]
    pub retention_bytes: u64,
    /// Envelopes are gathered this long for one transaction of the index, unless a query waits for it.
    #[validate(range(max = 10_000))]
    pub index_gather_ms: u64,
    /// Answers 200 before anything is kept. It breaks the recorder's one promise and exists so that the test of that
    /// promise can be seen to fail.
    #[serde(default)]
    pub answer_before_write: bool,
}

/// `[limits]`.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, Validate)]
pub struct Limits {
    /// The largest compressed body, as it comes. What is not compressed may be as large as an envelope.
    #[validate(range(min = 1, max = 134_217_728))]
    pub body_bytes_max: usize,
    /// The largest envelope, decompressed. It is read piece by piece.
    #[validate(range(min = 1, max = 260_000_000))]
    pub envelope_bytes_max: usize,
    /// What is read into memory of an envelope: events, spans, logs and metrics, but no attachments. A few of them are in
    /// memory at a time.
    #[validate(range(min = 1, max = 16_777_216))]
    pub memory_bytes_max: usize,
    /// Bodies on their way that do not fit into memory wait in files; all of them together.
    #[validate(range(min = 1))]
    pub spool_bytes_max: u64,
}

impl Limits {
    /// How far an envelope is read.
    #[must_use]
    pub fn body(&self) -> body::Limits {
        body::Limits {
            envelope_bytes_max: self.envelope_bytes_max,
            memory_bytes_max: self.memory_bytes_max.min(self.envelope_bytes_max),
        }
    }
}

/// `[security]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Security {
    /// Who carries it may forget everything and may let ingest play dead. Empty: nobody.
    #[serde(default)]
    pub operator_token: Secret,
}

impl ServiceConfig for Config {
    fn http(&self) -> &Http {
        &self.http
    }

    fn ops(&self) -> &Ops {
        &self.ops
    }

    fn drain(&self) -> &Drain {
        &self.drain
    }

    fn more_addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        vec![(QUERY, self.query.address)]
    }
}
