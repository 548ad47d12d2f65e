//! Runs the programs that fetch and build. Their output goes to a log, and their progress to a callback.

mod group;

use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::time::error::Elapsed;

use crate::error::LOG_LINES_SHOWN;
use crate::logfile::{LOG_BYTES_MAX, LogWriter, tail};
use crate::{Layout, RuntimeError, child, os_process};
pub use group::{Group, kill_leftovers};

/// Maximum length of a progress line. The rest of a longer line is ignored.
const LINE_BYTES_MAX: usize = 4 << 10;

/// Callback for each line of a program's output, including lines that end with a carriage return and are overwritten.
pub type OnLine<'a> = dyn Fn(&str) + Send + Sync + 'a;

/// Description of a run.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// Description of the work, for messages.
    pub what: &'a str,
    /// Log of all output.
    pub log: &'a Path,
    /// Time limit.
    pub deadline: Duration,
}

impl Job<'_> {
    fn failed(&self, reason: String) -> RuntimeError {
        RuntimeError::Fetch {
            what: self.what.to_owned(),
            reason,
            log: self.log.to_owned(),
            tail: tail(self.log, LOG_LINES_SHOWN),
        }
    }

    fn outcome(&self, ended: Result<std::io::Result<ExitStatus>, Elapsed>) -> Result<(), RuntimeError> {
        match ended {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(self.failed(os_process::describe_exit(status))),
            Ok(Err(e)) => Err(RuntimeError::io(format!("cannot read the output of {}", self.what), e)),
            Err(_) => Err(self.failed(format!("not finished within {} s", self.deadline.as_secs()))),
        }
    }
}

/// Returns a command for [`run`] that the kernel kills together with this process. Arguments added to it are the program's own.
#[must_use]
pub fn bound(program: impl AsRef<OsStr>) -> Command {
    Command::from(child::bound(program))
}

/// Runs a program (of [`bound`]) to its end.
///
/// Dropping this future kills the program with everything that it started. When this process is killed, the kernel kills the
/// program, and the next command kills what the program had started. So an interrupted command leaves nothing behind.
///
/// # Errors
/// When it cannot be started, fails or takes too long. The message names the log and shows its end.
pub async fn run(
    layout: &Layout,
    mut command: Command,
    job: &Job<'_>,
    on_line: &OnLine<'_>,
) -> Result<(), RuntimeError> {
    drop(std::fs::remove_file(job.log));
    let (reader, writer) = std::io::pipe().map_err(|e| RuntimeError::io("cannot create a pipe", e))?;
    let duplicate = writer.try_clone().map_err(|e| RuntimeError::io("cannot duplicate a pipe", e))?;
    command.stdin(Stdio::null()).stdout(writer).stderr(duplicate).kill_on_drop(true);
    let mut child = command.spawn().map_err(|e| job.failed(format!("cannot be started: {e}")))?;
    drop(command);
    let pid = child.id().and_then(|id| i32::try_from(id).ok());
    let group = pid.map(|pid| Group::of(layout, job.what, pid)).transpose()?;
    let output = tokio::net::unix::pipe::Receiver::from_owned_fd(reader.into())
        .map_err(|e| RuntimeError::io("cannot read a pipe", e))?;
    let both = async {
        let (logged, status) = tokio::join!(copy(output, job.log, on_line), child.wait());
        logged?;
        status
    };
    let ended = tokio::time::timeout(job.deadline, both).await;
    if matches!(ended, Ok(Ok(_))) {
        group.into_iter().for_each(Group::ended);
    }
    job.outcome(ended)
}

/// Runs a program that must not be killed in the middle. It finishes even if this process ends, so it writes to its log only.
pub async fn run_detached(mut command: Command, job: &Job<'_>) -> Result<(), RuntimeError> {
    let log = File::create(job.log).map_err(RuntimeError::file("write", job.log))?;
    let duplicate = log.try_clone().map_err(RuntimeError::file("write", job.log))?;
    command.stdin(Stdio::null()).stdout(log).stderr(duplicate).process_group(0);
    let mut child = command.spawn().map_err(|e| job.failed(format!("cannot be started: {e}")))?;
    job.outcome(tokio::time::timeout(job.deadline, child.wait()).await)
}

async fn copy(mut output: impl AsyncRead + Unpin, log: &Path, on_line: &OnLine<'_>) -> std::io::Result<()> {
    let mut log = LogWriter::open(log, LOG_BYTES_MAX)?;
    let mut buffer = vec![0; 16 << 10];
    let mut line = Vec::new();
    loop {
        let length = output.read(&mut buffer).await?;
        let bytes = buffer.get(..length).unwrap_or_default();
        log.append(bytes)?;
        for byte in bytes {
            match byte {
                b'\n' | b'\r' => {
                    on_line(String::from_utf8_lossy(&line).trim());
                    line.clear();
                }
                _ if line.len() < LINE_BYTES_MAX => line.push(*byte),
                _ => {}
            }
        }
        if length == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]).process_group(0);
        command
    }

    fn layout(folder: &tempfile::TempDir) -> Layout {
        let layout = Layout::new(folder.path(), None, None);
        layout.create().unwrap();
        layout
    }

    #[tokio::test]
    async fn failure_names_log_and_shows_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let (layout, log) = (layout(&folder), folder.path().join("x.log"));
        let job = Job { what: "fetching", log: &log, deadline: Duration::from_secs(20) };
        let fails = || shell("echo first; echo no route >&2; exit 3");
        let errors = [run(&layout, fails(), &job, &|_| {}).await, run_detached(fails(), &job).await]
            .map(Result::unwrap_err);
        for error in errors {
            assert_eq!(error.exit_code(), 69);
            let text = error.to_string();
            assert!(text.starts_with("fetching failed: exit code 3") && text.contains("x.log"), "{text}");
            assert!(text.contains("| no route"), "{text}");
        }
    }

    #[tokio::test]
    async fn progress_is_reported_and_time_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let (layout, log) = (layout(&folder), folder.path().join("x.log"));
        let lines = Mutex::new(Vec::new());
        let job = Job { what: "x", log: &log, deadline: Duration::from_secs(20) };
        let on_line = |line: &str| lines.lock().unwrap().push(line.to_owned());
        run(&layout, shell("printf '1/2\\r2/2\\ndone\\n'"), &job, &on_line).await.unwrap();
        assert_eq!(*lines.lock().unwrap(), ["1/2", "2/2", "done"]);
        let job = Job { what: "x", log: &log, deadline: Duration::from_millis(200) };
        let error = run(&layout, shell("exec sleep 100"), &job, &|_| {}).await.unwrap_err().to_string();
        assert!(error.contains("not finished within"), "{error}");
        let left = std::fs::read_dir(layout.run()).unwrap().count();
        assert_eq!(left, 0, "the record of an ended program is deleted");
    }
}
