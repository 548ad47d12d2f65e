//! The life of a reporter: it waits for the crash of its parent, reports it and ends. Without a crash it ends with its parent.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread;
use std::time::SystemTime;

use crash_context::CrashContext;

use super::connection::{Connection, Crashed};
use super::dump;
use super::event::{self, Crash};
use super::facts::Facts;
use super::folder::Folder;
use super::send::{ATTEMPTS, ONCE, Sent, send};

/// Reason why a reporter ended early. Nobody reads it but the exit code, because a reporter has no output.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReporterError {
    #[error("the facts about the process are missing or malformed")]
    Facts(#[from] serde_json::Error),
    #[error("the connection with the process failed, or the report could not be encoded")]
    Connection(#[from] std::io::Error),
}

/// Runs the reporter of one process.
pub(super) fn run(socket: &str, facts: &str) -> Result<(), ReporterError> {
    // So that `ps` tells it from the service. It does not matter if the kernel refuses
    nix::sys::prctl::set_name(c"crash-reporter").ok();
    let facts: Facts = serde_json::from_str(facts)?;
    let connection = Connection::accept(socket, facts.process_id)?;
    send_waiting(&facts);
    let Some(crashed) = connection.wait()? else { return Ok(()) };
    let crash = look_at(&crashed, facts.process_id);
    let ends_with_process = ends_with_process(facts.process_id, &crash.status);
    // If it cannot be encoded, the end of the connection lets the process end, too
    let (event_id, envelope) = event::envelope(&facts, crash)?;
    let stored = Folder::at(facts.folder.clone()).store(event_id, &envelope);
    // The process ends only when it is released, and it need not wait for Sentry
    let early = if ends_with_process { send(&facts.dsn, &envelope, &ONCE) } else { Sent::Failed };
    let released = connection.release();
    let sent = if early == Sent::Failed { send(&facts.dsn, &envelope, &ATTEMPTS) } else { early };
    if let Ok(report) = stored {
        settle(&report, sent);
    }
    Ok(released?)
}

/// Returns true if the kernel ends this reporter as soon as the process has ended: in a container whose first process is the service,
/// or a small one that only waits for the service.
fn ends_with_process(process_id: u32, status: &str) -> bool {
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    process_id == 1 || parent.is_some_and(|parent| parent.trim() == "1")
}

/// Reads everything of the process while it waits in its signal handler.
fn look_at(crashed: &Crashed, process_id: u32) -> Crash {
    let Crashed { context, message } = crashed;
    Crash {
        at: SystemTime::now(),
        // The kernel's numbers of signals are small
        signal: i32::try_from(context.siginfo.ssi_signo).unwrap_or_default(),
        code: context.siginfo.ssi_code,
        thread_id: context.tid,
        message: *message,
        status: fs::read_to_string(format!("/proc/{process_id}/status")).unwrap_or_default(),
        dump: dump_of(context),
    }
}

/// The minidump. A defect of its writer, which reads the memory of a broken process, must not cost the rest of the report.
fn dump_of(context: &CrashContext) -> Result<Vec<u8>, String> {
    match catch_unwind(AssertUnwindSafe(|| dump::write(context))) {
        Ok(written) => written.map_err(|error| error.to_string()),
        Err(_) => Err("the writer of the minidump panicked".to_owned()),
    }
}

/// Sends the reports that earlier processes left, beside the waiting for a crash. Usually there are none, and nothing is started.
fn send_waiting(facts: &Facts) {
    let waiting = Folder::at(facts.folder.clone()).waiting(SystemTime::now());
    if waiting.is_empty() {
        return;
    }
    let dsn = facts.dsn.clone();
    let work = move || {
        for report in waiting {
            let Ok(envelope) = fs::read(&report) else { continue };
            let sent = send(&dsn, &envelope, &ATTEMPTS);
            settle(&report, sent);
            if sent == Sent::Failed {
                return;
            }
        }
    };
    // Without the thread they wait for the next process
    thread::Builder::new().name("send-waiting".to_owned()).spawn(work).ok();
}

/// Deletes a report that need not be sent again.
fn settle(report: &Path, sent: Sent) {
    if sent != Sent::Failed {
        // If it cannot be deleted it is sent again, and its id shows that it is the same
        fs::remove_file(report).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_of_a_container_takes_its_reporter_along() {
        assert!(ends_with_process(1, "Name:\tpayment\nPPid:\t0\n"));
        assert!(ends_with_process(7, "Name:\tpayment\nPPid:\t1\n"));
        assert!(!ends_with_process(41, "Name:\tpayment\nPPid:\t11\n"));
        assert!(!ends_with_process(41, ""));
    }
}
