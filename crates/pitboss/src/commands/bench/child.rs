//! Child processes that clean up when this command is interrupted.

use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

/// Time in which an interrupted child has to clean up. It is longer than the deadline of any part.
const END_DEADLINE: Duration = Duration::from_secs(120);

/// Runs a command to its end, or until `interrupted` is ready.
///
/// # Errors
/// When the command cannot be started, or when it was interrupted. The child has ended then.
pub(super) async fn run(command: &mut Command, interrupted: impl Future<Output = ()>) -> Result<ExitStatus> {
    let mut child = command.kill_on_drop(true).spawn().context("cannot start a child process")?;
    tokio::select! {
        status = child.wait() => return status.context("cannot wait for a child process"),
        () = interrupted => {}
    }
    end(&mut child).await?;
    bail!("interrupted")
}

/// Asks a child to end, and kills it after [`END_DEADLINE`].
async fn end(child: &mut Child) -> Result<()> {
    let pid = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(pid) = pid
        && let Err(errno) = kill(Pid::from_raw(pid), Signal::SIGTERM)
    {
        tracing::debug!("cannot signal a child that has probably just ended: {errno}");
    }
    match tokio::time::timeout(END_DEADLINE, child.wait()).await {
        Ok(status) => status.map(drop).context("cannot wait for a child process"),
        Err(_) => child.kill().await.context("cannot kill a child process"),
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::process::Stdio;

    use tokio::io::{AsyncBufReadExt as _, BufReader};

    use super::*;

    #[tokio::test]
    async fn exit_status_of_a_child_is_returned() {
        let status = run(Command::new("sh").args(["-c", "exit 3"]), pending()).await.unwrap();
        assert_eq!(status.code(), Some(3));
        let missing = run(&mut Command::new("/missing/program"), pending()).await.unwrap_err();
        assert_eq!(missing.to_string(), "cannot start a child process");
    }

    #[tokio::test]
    async fn interrupt_ends_a_child() {
        let error = run(Command::new("sleep").arg("3600"), ready(())).await.unwrap_err();
        assert_eq!(error.to_string(), "interrupted");
    }

    #[tokio::test]
    async fn child_is_asked_to_end_before_it_is_killed() {
        let script = "trap 'echo stopped; exit' TERM; echo began; while :; do sleep 0.05; done";
        let mut command = Command::new("sh");
        let mut child =
            command.args(["-c", script]).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("began"));
        end(&mut child).await.unwrap();
        assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("stopped"));
        end(&mut child).await.unwrap();
    }
}
