//! Native crashes: a signal that kills the process is reported by another process, with a minidump and the trace that was open.
//!
//! A process that overflows its stack or aborts cannot report itself. [`start`] therefore starts the program a second time as its
//! reporter, which waits on a socket for the crash of its parent and costs no wake-up (ADR 24). The steps of a crash:
//!
//! 1. The signal handler sends what the crashed thread worked on (`work.rs`). It allocates nothing and takes no lock.
//! 2. The reporter reads the stopped process and writes a minidump without the environment and without data on its stacks (`dump.rs`).
//! 3. The reporter stores the report in the crash folder (`folder.rs`). The process dies by its signal, and the supervisor restarts it.
//! 4. The reporter sends the report and deletes it (`send.rs`). What could not be sent is sent by the reporter of the next process.
//!
//! A process that is killed with SIGKILL, also by the kernel for lack of memory, has no report: nothing of it runs any more.

mod connection;
mod dump;
mod event;
mod facts;
mod folder;
mod reporter;
mod send;
mod work;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use std::os::unix::process::CommandExt as _;

use minidumper_child::{ClientHandle, MinidumperChild};

pub use work::shown;

use crate::config::Config;
use crate::sessions;
use facts::Facts;

/// Variable that makes a program the reporter of its parent. Its value is the name of the socket.
const SOCKET_VARIABLE: &str = "PITBOSS_CRASH_REPORTER_SOCKET";
/// Variable with the facts about the parent, which is all that a reporter knows.
const FACTS_VARIABLE: &str = "PITBOSS_CRASH_REPORTER_FACTS";
/// Longest wait for the reporter at the start of a process.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// Twice the pause between two pings. The reporter needs none, because it sees the end of the connection, so they are half a year apart.
const STALE: Duration = Duration::from_secs(365 * 24 * 3_600);

/// Reason why a process has no reporter.
#[derive(Debug, thiserror::Error)]
pub enum CrashError {
    /// The working directory, which a relative crash folder belongs to, does not exist.
    #[error("cannot find the crash folder")]
    Folder(#[source] std::io::Error),
    /// The facts about the process could not be encoded.
    #[error("cannot describe the process to its crash reporter")]
    Facts(#[source] serde_json::Error),
    /// The reporter did not start, or did not answer within two seconds.
    #[error("cannot start the crash reporter")]
    Start(#[source] Box<minidumper_child::Error>),
}

/// The running reporter of this process. Native crashes are reported until this is dropped.
#[must_use = "dropping it ends the reports of crashes"]
pub struct CrashReporter {
    _handle: ClientHandle,
}

impl std::fmt::Debug for CrashReporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CrashReporter").finish_non_exhaustive()
    }
}

/// Runs the reporter if this process was started as one. Then the caller must return the code at once, because it is no service.
///
/// Call it first in `main`, before anything is read, bound or started.
#[must_use]
pub fn report_if_asked() -> Option<ExitCode> {
    let socket = std::env::var_os(SOCKET_VARIABLE)?;
    let facts = std::env::var(FACTS_VARIABLE).unwrap_or_default();
    let reported = socket.to_str().is_some_and(|socket| reporter::run(socket, &facts).is_ok());
    Some(if reported { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Starts the reporter of this process, which keeps reports in `folder` until they are sent. `None` without a DSN.
///
/// It waits until the reporter answers, some tens of milliseconds. Call it after [`crate::init`] and before the async runtime exists.
///
/// # Errors
/// When the reporter does not start. The process then works as usual, and its crashes are not reported.
pub fn start(config: &Config, folder: &Path) -> Result<Option<CrashReporter>, CrashError> {
    let Some(dsn) = &config.dsn else { return Ok(None) };
    let facts = Facts {
        service: config.service.clone(),
        release: config.release.clone(),
        environment: config.environment.clone(),
        dsn: dsn.clone(),
        folder: std::path::absolute(folder).map_err(CrashError::Folder)?,
        process_id: std::process::id(),
        session: sessions::of_process(),
    };
    let facts = serde_json::to_string(&facts).map_err(CrashError::Facts)?;
    let handle = MinidumperChild::new()
        .with_server_env_var(SOCKET_VARIABLE.to_owned())
        .with_server_stale_timeout(STALE)
        .with_client_connect_timeout(CONNECT_MAX)
        .on_process(move |command| prepare(command, OsStr::new(&facts)))
        // The crate wants one of them. They would run in its own server, which is not used.
        .on_message(|_, _| {})
        .on_crash(|context, sender| {
            // There is nobody to tell, and the report is of use without the trace, too.
            sender.send_message(work::MESSAGE, &work::of_thread(context.tid)).ok();
        })
        .spawn()
        .map_err(|error| CrashError::Start(Box::new(error)))?;
    Ok(Some(CrashReporter { _handle: handle }))
}

/// The reporter gets nothing that it does not need: no secrets, no terminal, no log pipe. It has its own process group, so that a
/// signal for the service's group does not end it while it sends.
fn prepare(command: &mut Command, facts: &OsStr) {
    command.env_clear().env(FACTS_VARIABLE, facts).env("MALLOC_ARENA_MAX", "1");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.current_dir("/").process_group(0);
}

/// Folder of the crash reports below the working directory of a process. In the local platform that is its folder of data.
#[must_use]
pub fn default_folder() -> PathBuf {
    PathBuf::from("crashes")
}
