//! The process of the bare chain. It owns its topics and its database, and deletes them when its standard input ends. So it does
//! that also if this process is killed.

use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use runtime::os_process::ProcessId;
use runtime::{Layout, RuntimeError};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use uuid::Uuid;

use crate::cargo;
use crate::steps::Steps;
use crate::target::Target;

/// Name of the program, of its process in reports, and the beginning of the names of its topics.
pub(super) const PROGRAM: &str = cargo::BARE_CHAIN;
/// Time in which it creates its topics and joins its group.
const READY_DEADLINE: Duration = Duration::from_secs(60);
/// Time in which it deletes them.
const END_DEADLINE: Duration = Duration::from_secs(60);

/// The running program.
#[derive(Debug)]
pub(super) struct Program {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Program {
    /// Builds the program if the programs are those of this checkout.
    pub(super) async fn build(layout: &Layout) -> Result<()> {
        if layout.programs() != layout.root().join("target").join("debug") {
            return Ok(());
        }
        let mut steps = Steps::default();
        let step = steps.begin("bare chain");
        cargo::build_bare_chain(layout, &|line| step.progress(line)).await?;
        steps.end(step, "");
        Ok(())
    }

    /// Starts the program with the broker and the store of the platform.
    ///
    /// # Errors
    /// When it has not been built (exit code 69), or cannot be started.
    pub(super) fn start(layout: &Layout, target: &Target) -> Result<Self> {
        let path = layout.programs().join(PROGRAM);
        if !path.is_file() {
            let what = format!("{} has not been built", path.display());
            let advice = format!("cargo build --workspace --bin {PROGRAM}");
            return Err(RuntimeError::Missing { what, advice }.into());
        }
        let addresses = target.bootstrap_servers().zip(target.mongo_uri());
        let (kafka, mongo) = addresses.context("the addresses of the broker and the store are unknown")?;
        let name = format!("{PROGRAM}-{}", Uuid::now_v7().simple());
        let mut command = Command::new(path);
        command.args(["--kafka", &kafka, "--mongo", &mongo, "--name", &name]);
        Self::spawn(&mut command)
    }

    fn spawn(command: &mut Command) -> Result<Self> {
        // A process group of its own: on Ctrl-C this process ends it, after its last bets.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut child = command.spawn().context("cannot start the bare chain")?;
        let output = child.stdout.take().context("the bare chain has no standard output")?;
        Ok(Self { child, output: BufReader::new(output) })
    }

    /// Waits until it answers bets, and returns its address.
    ///
    /// # Errors
    /// When it ends before, or needs too long.
    pub(super) async fn ready(&mut self) -> Result<SocketAddr> {
        let mut line = String::new();
        let read = tokio::time::timeout(READY_DEADLINE, self.output.read_line(&mut line)).await;
        read.with_context(|| format!("the bare chain is not ready after {} s", READY_DEADLINE.as_secs()))?
            .context("cannot read the output of the bare chain")?;
        line.trim().parse::<SocketAddr>().context("the bare chain did not start (its message is above)")
    }

    /// The process.
    ///
    /// # Errors
    /// When it has ended.
    pub(super) fn process(&self) -> Result<ProcessId> {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok());
        pid.and_then(ProcessId::of).context("the bare chain has ended")
    }

    /// Ends the program, which deletes its topics and its database.
    ///
    /// # Errors
    /// When it failed, or had to be killed. Its topics and its database may be left then.
    pub(super) async fn stop(mut self) -> Result<()> {
        match self.end(END_DEADLINE).await? {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("the bare chain failed ({status}, its message is above)"),
            None => bail!("the bare chain did not end within {} s, so it was killed", END_DEADLINE.as_secs()),
        }
    }

    /// Closes the program's standard input and waits for its end. Kills it at the deadline.
    async fn end(&mut self, deadline: Duration) -> Result<Option<ExitStatus>> {
        drop(self.child.stdin.take());
        match tokio::time::timeout(deadline, self.child.wait()).await {
            Ok(status) => status.map(Some).context("cannot wait for the bare chain"),
            Err(_) => {
                self.child.kill().await.context("cannot kill the bare chain")?;
                Ok(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Program {
        Program::spawn(Command::new("sh").args(["-c", script])).unwrap()
    }

    #[tokio::test]
    async fn program_ends_with_its_standard_input() {
        let mut program = shell("echo 127.0.0.1:80; cat >/dev/null; exit 0");
        assert_eq!(program.ready().await.unwrap(), SocketAddr::from(([127, 0, 0, 1], 80)));
        assert!(program.process().is_ok());
        program.stop().await.unwrap();
    }

    #[tokio::test]
    async fn program_that_fails_is_an_error() {
        let mut program = shell("exit 3");
        assert!(program.ready().await.unwrap_err().to_string().contains("did not start"));
        assert!(program.stop().await.unwrap_err().to_string().contains("failed (exit status: 3"));
    }

    #[tokio::test]
    async fn program_that_does_not_end_is_killed() {
        let mut program = shell("exec sleep 3600");
        assert_eq!(program.end(Duration::from_millis(50)).await.unwrap(), None);
        assert!(program.process().is_err());
    }
}
