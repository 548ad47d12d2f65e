//! The life of a reporter: it waits for the crash of its parent, reports it and ends. Without a crash it ends with its parent.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime};

use crash_context::CrashContext;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::connection::{Connection, Crashed};
use super::dump;
use super::event::{self, Crash};
use super::facts::Facts;
use super::folder::Folder;
use super::send::{ATTEMPTS, ONCE, Sent, send};

/// Longest time that a crashed process is held. A dump takes less than a second, and the attempt to send before the death five at most.
/// After it something hangs (a disk, a thread in the kernel), and a service that starts again is worth more than the report.
const HELD_MAX: Duration = Duration::from_secs(20);
/// Pauses between the rounds in which waiting reports are sent. The last one repeats, as long as there are any. In the first one the
/// report of the previous process settles.
const ROUNDS: [Duration; 4] = [
    Duration::from_secs(70),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(3_600),
];

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
    let held = hold(facts.process_id);
    let crash = look_at(&crashed, facts.process_id);
    let ends_with_process = ends_with_process(facts.process_id, &crash.status);
    // If it cannot be encoded, the end of the connection lets the process end, too
    let (event_id, envelope) = event::envelope(&facts, crash)?;
    let stored = Folder::at(facts.folder.clone(), &facts.service).store(event_id, &envelope);
    // The process ends only when it is released, and it need not wait for Sentry
    let early = if ends_with_process { send(&facts.dsn, &envelope, &ONCE) } else { Sent::Failed };
    let released = connection.release();
    drop(held);
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

/// Begins to hold the process, until the sender is dropped or it takes too long. Then this reporter ends, and the process with it.
fn hold(process_id: u32) -> SyncSender<()> {
    let (held, released) = sync_channel(1);
    let watch = move || {
        if !is_released(&released, HELD_MAX) {
            // The writer of the minidump has suspended the process, and can no longer continue it
            if let Ok(id) = i32::try_from(process_id) {
                kill(Pid::from_raw(id), Signal::SIGCONT).ok();
            }
            process::exit(1);
        }
    };
    // Without the thread the process is held as long as it takes
    thread::Builder::new().name("held".to_owned()).spawn(watch).ok();
    held
}

fn is_released(released: &Receiver<()>, held_max: Duration) -> bool {
    released.recv_timeout(held_max) != Err(RecvTimeoutError::Timeout)
}

/// Sends the reports that earlier processes left, beside the waiting for a crash. Usually there are none, and nothing is started.
fn send_waiting(facts: &Facts) {
    let folder = Folder::at(facts.folder.clone(), &facts.service);
    if folder.is_empty() {
        return;
    }
    let dsn = facts.dsn.clone();
    let work = move || {
        let [.., last] = ROUNDS;
        let mut pauses = ROUNDS.into_iter();
        loop {
            send_round(&folder, &dsn);
            if folder.is_empty() {
                return;
            }
            thread::sleep(pauses.next().unwrap_or(last));
        }
    };
    // Without the thread they wait for the next process
    thread::Builder::new().name("send-waiting".to_owned()).spawn(work).ok();
}

/// Sends the reports whose own reporters have given up, until one fails.
fn send_round(folder: &Folder, dsn: &str) {
    for report in folder.waiting(SystemTime::now()) {
        let Ok(envelope) = fs::read(&report) else { continue };
        let sent = send(dsn, &envelope, &ATTEMPTS);
        settle(&report, sent);
        if sent == Sent::Failed {
            return;
        }
    }
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

    #[test]
    fn process_is_held_for_a_limited_time() {
        let (held, released) = sync_channel(1);
        assert!(!is_released(&released, Duration::from_millis(1)), "it hangs");
        drop(held);
        assert!(is_released(&released, Duration::from_secs(60)));
    }

    #[test]
    fn report_of_the_previous_process_is_settled_in_the_second_round() {
        let folder = std::env::temp_dir().join(format!("pitboss-rounds-{}", uuid::Uuid::new_v4().simple()));
        let reports = Folder::at(folder.clone(), "payment");
        reports.store(uuid::Uuid::new_v4(), b"{}\n").unwrap();
        let stored_at = SystemTime::now();
        let (now, next) = (reports.waiting(stored_at).len(), reports.waiting(stored_at + ROUNDS[0]).len());
        fs::remove_dir_all(folder).unwrap();
        assert_eq!((now, next), (0, 1));
    }
}
