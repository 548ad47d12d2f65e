//! Protocol between a command and the supervisor: a request and a response, one line of JSON each, over a Unix socket.
//!
//! The socket is in the state folder. It is reached through its folder's descriptor (`/proc/self/fd/…`), because a socket's path
//! may have only 107 bytes and a checkout's path may be longer.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::part::{PartSpec, PartState, Status};
pub use crate::supervisor_state::Applied;
use crate::{Layout, RuntimeError, logfile};

/// Maximum length of a line.
const LINE_BYTES_MAX: u64 = 4 << 20;

/// Deadline for an answer of the supervisor, which does nothing that blocks. Only shutting down takes longer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);
/// Deadline for shutting down everything. Each part has its own deadline, after which it is killed.
const END_DEADLINE: Duration = Duration::from_secs(90);
/// Interval between two checks of a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Request to the supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Request {
    /// Return the status of every part.
    Status,
    /// Apply this plan.
    Apply {
        /// The parts.
        parts: Vec<PartSpec>,
        /// Leave running parts alone that are not in the plan.
        keep_others: bool,
    },
    /// Act on one part.
    Part {
        /// The action.
        action: Action,
        /// Name of the part.
        name: String,
    },
    /// Shut a part down and take it out of the plan, unless another part needs it.
    Remove {
        /// Name of the part.
        name: String,
    },
    /// Shut down everything, including the supervisor. Answered when all parts have ended.
    ShutDown,
}

/// Action on one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Start a stopped part.
    Start,
    /// Shut down in order. The part stays down.
    Stop,
    /// Shut down in order and start again.
    Restart,
    /// Kill. The part is restarted.
    Kill,
    /// Freeze until thawed.
    Freeze,
    /// Thaw.
    Thaw,
}

/// Response of the supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    /// Answer to [`Request::Status`].
    Status(Status),
    /// Answer to [`Request::Apply`].
    Applied(Applied),
    /// Answer to every other request that was carried out.
    Done,
    /// Reason why the request was refused.
    Refused(String),
    /// The part is unknown. Names of the known parts.
    UnknownPart(String),
}

fn socket(layout: &Layout) -> Result<(File, PathBuf), RuntimeError> {
    let folder = File::open(layout.run()).map_err(RuntimeError::file("open", &layout.run()))?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/control.sock", folder.as_raw_fd()));
    Ok((folder, path))
}

/// Listens in place of an earlier supervisor. Only the holder of the supervisor's lock may call this.
pub(crate) fn listen(layout: &Layout) -> Result<UnixListener, RuntimeError> {
    let (_folder, path) = socket(layout)?;
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            return Err(RuntimeError::io("cannot remove the old socket", e));
        }
        _ => {}
    }
    UnixListener::bind(&path).map_err(|e| RuntimeError::io("cannot create the control socket", e))
}

/// Reads one bounded line of JSON.
pub(crate) async fn read_line<T: for<'de> Deserialize<'de>>(stream: &mut UnixStream) -> io::Result<T> {
    let mut line = Vec::new();
    BufReader::new(stream.take(LINE_BYTES_MAX)).read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    serde_json::from_slice(&line).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

/// Writes one line of JSON.
pub(crate) async fn write_line<T: Serialize>(stream: &mut UnixStream, value: &T) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    stream.flush().await
}

/// Client of the supervisor, for commands.
#[derive(Clone, Debug)]
pub struct Client {
    layout: Layout,
}

impl Client {
    /// Creates a client for the supervisor of this platform, whether or not it runs.
    #[must_use]
    pub fn new(layout: &Layout) -> Self {
        Self { layout: layout.clone() }
    }

    async fn send(&self, request: &Request, deadline: Duration) -> Result<Response, RuntimeError> {
        let (_folder, path) = socket(&self.layout).map_err(|_| RuntimeError::NotRunning)?;
        let exchange = async {
            let mut stream = UnixStream::connect(&path).await?;
            write_line(&mut stream, request).await?;
            read_line::<Response>(&mut stream).await
        };
        match tokio::time::timeout(deadline, exchange).await {
            Ok(Ok(Response::Refused(reason))) => Err(RuntimeError::Refused(reason)),
            Ok(Ok(Response::UnknownPart(known))) => {
                let name =
                    if let Request::Part { name, .. } = request { name.clone() } else { String::new() };
                Err(RuntimeError::UnknownPart { name, known })
            }
            Ok(Ok(response)) => Ok(response),
            Ok(Err(e)) => match e.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Err(RuntimeError::NotRunning),
                _ => Err(RuntimeError::io("the supervisor does not answer", e)),
            },
            Err(_) => Err(RuntimeError::io(
                "the supervisor does not answer",
                io::Error::from(io::ErrorKind::TimedOut),
            )),
        }
    }

    /// Returns the status of every part.
    ///
    /// # Errors
    /// [`RuntimeError::NotRunning`] when there is no supervisor.
    pub async fn status(&self) -> Result<Status, RuntimeError> {
        match self.send(&Request::Status, ANSWER_DEADLINE).await? {
            Response::Status(status) => Ok(status),
            other => Err(unexpected(&other)),
        }
    }

    /// Applies a plan, see [`Request::Apply`].
    pub async fn apply(&self, parts: Vec<PartSpec>, keep_others: bool) -> Result<Applied, RuntimeError> {
        match self.send(&Request::Apply { parts, keep_others }, ANSWER_DEADLINE).await? {
            Response::Applied(applied) => Ok(applied),
            other => Err(unexpected(&other)),
        }
    }

    /// Acts on one part. Returns as soon as the action has begun.
    pub async fn act(&self, action: Action, name: &str) -> Result<(), RuntimeError> {
        match self.send(&Request::Part { action, name: name.to_owned() }, ANSWER_DEADLINE).await? {
            Response::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Shuts a part down and takes it out of the plan. Returns when it has ended. A part that is not there is no error.
    pub async fn remove(&self, name: &str, deadline: Duration) -> Result<(), RuntimeError> {
        match self.send(&Request::Remove { name: name.to_owned() }, ANSWER_DEADLINE).await {
            Ok(Response::Done) => {}
            Ok(other) => return Err(unexpected(&other)),
            Err(RuntimeError::UnknownPart { .. }) => return Ok(()),
            Err(error) => return Err(error),
        }
        let until = tokio::time::Instant::now() + deadline;
        loop {
            let status = self.status().await?;
            if status.part(name).is_none() {
                return Ok(());
            }
            if tokio::time::Instant::now() > until {
                return Err(self.not_ready(&status, &[name.to_owned()], deadline));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Shuts down everything, including the supervisor. Returns when all parts have ended.
    pub async fn shut_down(&self) -> Result<(), RuntimeError> {
        match self.send(&Request::ShutDown, END_DEADLINE).await? {
            Response::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Waits until all `names` are ready. When one of them has died, the error shows the end of that part's log.
    pub async fn wait_ready(
        &self,
        names: &[String],
        deadline: Duration,
        mut progress: impl FnMut(&Status),
    ) -> Result<Status, RuntimeError> {
        let until = tokio::time::Instant::now() + deadline;
        loop {
            let status = self.status().await?;
            progress(&status);
            let waited_for = || status.parts.iter().filter(|p| names.contains(&p.name));
            for part in waited_for() {
                let dead = matches!(part.state, PartState::Restarting | PartState::CrashLooping);
                if let (true, Some(cause)) = (dead, &part.last_exit) {
                    let log = self.layout.log(&part.name);
                    let tail = logfile::tail(&log, crate::error::LOG_LINES_SHOWN);
                    return Err(RuntimeError::DiedAtStart {
                        part: part.name.clone(),
                        cause: cause.clone(),
                        log,
                        tail,
                    });
                }
            }
            if waited_for().count() == names.len() && waited_for().all(|p| p.state == PartState::Ready) {
                return Ok(status);
            }
            if tokio::time::Instant::now() > until {
                return Err(self.not_ready(&status, names, deadline));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    fn not_ready(&self, status: &Status, names: &[String], deadline: Duration) -> RuntimeError {
        let late = names.iter().find(|n| status.part(n).is_none_or(|p| p.state != PartState::Ready));
        let part = late.cloned().unwrap_or_default();
        let state = status.part(&part).map_or("unknown to the supervisor", |p| p.state.as_str()).to_owned();
        let log = self.layout.log(&part);
        let tail = logfile::tail(&log, crate::error::LOG_LINES_SHOWN);
        RuntimeError::NotReady { part, waited_s: deadline.as_secs(), state, log, tail }
    }

    /// Waits until the part is in one of the states, or fails at the deadline.
    pub async fn wait_state(
        &self,
        name: &str,
        states: &[PartState],
        deadline: Duration,
    ) -> Result<Status, RuntimeError> {
        let until = tokio::time::Instant::now() + deadline;
        loop {
            let status = self.status().await?;
            if status.part(name).is_some_and(|p| states.contains(&p.state)) {
                return Ok(status);
            }
            if tokio::time::Instant::now() > until {
                return Err(self.not_ready(&status, &[name.to_owned()], deadline));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

fn unexpected(response: &Response) -> RuntimeError {
    RuntimeError::Refused(format!("the supervisor sent an unexpected response: {response:?}"))
}
