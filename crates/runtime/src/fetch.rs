//! Running the programs that fetch and build: everything they say goes to a log, their progress to whoever watches.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use crate::error::LOG_LINES_SHOWN;
use crate::logfile::{LOG_BYTES_MAX, LogWriter, tail};
use crate::{RuntimeError, process};

/// No line of progress is longer.
const LINE_BYTES_MAX: usize = 4 << 10;

/// Hears each line that a program says, also the ones that it ends with a carriage return to write over them.
pub type Told<'a> = dyn Fn(&str) + Send + Sync + 'a;

/// What is run.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// What it is, in words.
    pub what: &'a str,
    /// Where everything that it says is kept.
    pub log: &'a Path,
    /// How long it may take.
    pub deadline: Duration,
}

/// Runs a program to its end. It is killed when this is dropped, so an interrupted command leaves nothing behind.
///
/// # Errors
/// When it cannot be started, fails or takes too long; the message names the log and shows its end.
pub async fn run(mut command: Command, job: &Job<'_>, told: &Told<'_>) -> Result<(), RuntimeError> {
    let failed = |why: String| RuntimeError::Fetch {
        what: job.what.to_owned(),
        why,
        log: job.log.to_owned(),
        tail: tail(job.log, LOG_LINES_SHOWN),
    };
    drop(std::fs::remove_file(job.log));
    let (reader, writer) = std::io::pipe().map_err(|e| RuntimeError::io("cannot make a pipe", e))?;
    let doubled = writer.try_clone().map_err(|e| RuntimeError::io("cannot double a pipe", e))?;
    command.stdin(Stdio::null()).stdout(writer).stderr(doubled).kill_on_drop(true);
    let mut child = command.spawn().map_err(|e| failed(format!("cannot be started: {e}")))?;
    drop(command);
    let output = tokio::net::unix::pipe::Receiver::from_owned_fd(reader.into())
        .map_err(|e| RuntimeError::io("cannot read a pipe", e))?;
    let both = async {
        let (logged, status) = tokio::join!(copy(output, job.log, told), child.wait());
        logged?;
        status
    };
    match tokio::time::timeout(job.deadline, both).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(failed(process::how_it_ended(status))),
        Ok(Err(e)) => Err(RuntimeError::io(format!("{} cannot be followed", job.what), e)),
        Err(_) => Err(failed(format!("not done after {} s", job.deadline.as_secs()))),
    }
}

async fn copy(mut output: impl AsyncRead + Unpin, log: &Path, told: &Told<'_>) -> std::io::Result<()> {
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
                    told(String::from_utf8_lossy(&line).trim());
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
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn a_failure_names_the_log_and_shows_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("x.log");
        let job = Job { what: "fetching", log: &log, deadline: Duration::from_secs(20) };
        let error = run(shell("echo first; echo no route >&2; exit 3"), &job, &|_| {}).await.unwrap_err();
        assert_eq!(error.exit_code(), 69);
        let text = error.to_string();
        assert!(text.starts_with("fetching failed: exit code 3") && text.contains("x.log"), "{text}");
        assert!(text.contains("| no route"), "{text}");
    }

    #[tokio::test]
    async fn progress_is_told_and_time_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("x.log");
        let lines = Mutex::new(Vec::new());
        let job = Job { what: "x", log: &log, deadline: Duration::from_secs(20) };
        run(shell("printf '1/2\\r2/2\\ndone\\n'"), &job, &|l| lines.lock().unwrap().push(l.to_owned()))
            .await
            .unwrap();
        assert_eq!(*lines.lock().unwrap(), ["1/2", "2/2", "done"]);
        let job = Job { what: "x", log: &log, deadline: Duration::from_millis(200) };
        let error = run(shell("exec sleep 100"), &job, &|_| {}).await.unwrap_err().to_string();
        assert!(error.contains("not done after"), "{error}");
    }
}
