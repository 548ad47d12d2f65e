//! What a reporter knows of the process that it reports for. It is passed in one variable of its environment.

use std::path::PathBuf;

use sentry::protocol::SessionUpdate;
use serde::{Deserialize, Serialize};

/// Facts about a process, fixed at its start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Facts {
    /// Name of the service.
    pub(super) service: String,
    pub(super) release: String,
    pub(super) environment: String,
    /// Where the report is sent.
    pub(super) dsn: String,
    /// Absolute path of the folder that keeps reports until they are sent.
    pub(super) folder: PathBuf,
    /// Process id of the process. No other process may use the socket.
    pub(super) process_id: u32,
    /// The session of the process as it began, if it has one.
    pub(super) session: Option<SessionUpdate<'static>>,
}
