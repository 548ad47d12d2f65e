//! The processes of the bare chain. One of them owns the topics and the database, and deletes them when its standard input ends. So
//! it does that also if this process is killed. Another one can settle the bets of the first (`settler.rs`).

use std::net::SocketAddr;
use std::path::PathBuf;
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
/// Time in which it creates its topics, or joins its group, which may have to wait for the end of a killed member's session.
const READY_DEADLINE: Duration = Duration::from_secs(60);
/// Time in which it deletes its topics and its database.
const END_DEADLINE: Duration = Duration::from_secs(60);
/// Line by which a settler tells that it has joined its group.
const JOINED: &str = "joined";
/// What a program says that ended before its first line.
const NOT_STARTED: &str = "the bare chain did not start (its message is above)";

/// What a process of the chain does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Everything.
    Chain,
    /// Topics, database, listener and answers.
    Front,
    /// Settling alone, for a front.
    Settler,
}

/// A bare chain, of which no process needs to run yet.
#[derive(Clone, Debug)]
pub(super) struct Launch {
    path: PathBuf,
    kafka: String,
    mongo: String,
    name: String,
    /// Further arguments of each process.
    more: Vec<String>,
}

/// A running process of the chain.
#[derive(Debug)]
pub(super) struct Program {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Role {
    /// Name of the role for the program.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Chain => "chain",
            Self::Front => "front",
            Self::Settler => "settler",
        }
    }
}

impl Launch {
    /// A chain with a name of its own, and with the broker and the store of the platform. Builds the program if the programs are those
    /// of this checkout.
    ///
    /// # Errors
    /// When the program cannot be built, or has not been built elsewhere (exit code 69).
    pub(super) async fn of(layout: &Layout, target: &Target) -> Result<Self> {
        build(layout).await?;
        let path = layout.programs().join(PROGRAM);
        if !path.is_file() {
            let what = format!("{} has not been built", path.display());
            let advice = format!("cargo build --workspace --bin {PROGRAM}");
            return Err(RuntimeError::Missing { what, advice }.into());
        }
        let addresses = target.bootstrap_servers().zip(target.mongo_uri());
        let (kafka, mongo) = addresses.context("the addresses of the broker and the store are unknown")?;
        let name = format!("{PROGRAM}-{}", Uuid::now_v7().simple());
        Ok(Self { path, kafka, mongo, name, more: Vec::new() })
    }

    /// The same, which writes only this many documents of each bet: before its outcome, and none beside it.
    #[must_use]
    pub(super) fn with_writes(self, writes: u8) -> Self {
        let writes = ["--writes-before-answer", &writes.to_string(), "--writes-after-answer", "0"];
        Self { more: writes.map(str::to_owned).to_vec(), ..self }
    }

    /// The same, which writes the documents of one bet of a player after the other, and those of all players at the same time. The
    /// first of two is an account, by compare-and-set.
    #[must_use]
    pub(super) fn in_order_of_players(mut self) -> Self {
        self.more.extend(["--order", "player"].map(str::to_owned));
        self
    }

    /// Settings of a client of the platform for the chain's topics, which have the platform's names in a namespace.
    pub(super) fn kafka(&self, platform: bus::Config) -> bus::Config {
        bus::Config { namespace: self.name.clone(), ..platform }
    }

    /// Starts a process.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start(&self, role: Role) -> Result<Program> {
        let Self { path, kafka, mongo, name, more } = self;
        let mut command = Command::new(path);
        command
            .args(["--kafka", kafka, "--mongo", mongo, "--name", name, "--role", role.as_str()])
            .args(more);
        Program::spawn(&mut command)
    }
}

async fn build(layout: &Layout) -> Result<()> {
    if layout.programs() != layout.root().join("target").join("debug") {
        return Ok(());
    }
    let mut steps = Steps::default();
    let step = steps.begin("bare chain");
    cargo::build_bare_chain(layout, &|line| step.progress(line)).await?;
    steps.end(step, "");
    Ok(())
}

impl Program {
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
        self.line().await?.trim().parse::<SocketAddr>().context(NOT_STARTED)
    }

    /// Waits until a settler has joined its group.
    ///
    /// # Errors
    /// When it ends before, or needs too long.
    pub(super) async fn joined(&mut self) -> Result<()> {
        if self.line().await?.trim() == JOINED { Ok(()) } else { bail!(NOT_STARTED) }
    }

    /// The next line of its output. Empty if it has ended.
    async fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let read = tokio::time::timeout(READY_DEADLINE, self.output.read_line(&mut line)).await;
        read.with_context(|| format!("the bare chain is not ready after {} s", READY_DEADLINE.as_secs()))?
            .context("cannot read the output of the bare chain")?;
        Ok(line)
    }

    /// Checks that it still runs.
    ///
    /// # Errors
    /// When it has ended.
    pub(super) fn check(&mut self) -> Result<()> {
        match self.child.try_wait().context("cannot ask for the bare chain")? {
            Some(status) => bail!("the bare chain ended too early ({status}, its message is above)"),
            None => Ok(()),
        }
    }

    /// Kills the process (SIGKILL), and waits for its end. What it owns is left.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub(super) async fn kill(&mut self) -> Result<()> {
        self.child.kill().await.context("cannot kill the bare chain")
    }

    /// The process.
    ///
    /// # Errors
    /// When it has ended.
    pub(super) fn process(&self) -> Result<ProcessId> {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok());
        pid.and_then(ProcessId::of).context("the bare chain has ended")
    }

    /// Ends the program, which deletes the topics and the database that it owns.
    ///
    /// # Errors
    /// When it failed, or had to be killed. Its topics and its database may be left then.
    pub(super) async fn stop(&mut self) -> Result<()> {
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
                self.kill().await?;
                Ok(None)
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A program that runs this script.
    pub(in crate::commands::bench) fn shell(script: &str) -> Program {
        Program::spawn(Command::new("sh").args(["-c", script])).unwrap()
    }

    /// A chain without a program.
    pub(in crate::commands::bench) fn launch() -> Launch {
        Launch {
            path: "barechain".into(),
            kafka: "127.0.0.1:1".to_owned(),
            mongo: "mongodb://127.0.0.1:2".to_owned(),
            name: "barechain-7".to_owned(),
            more: Vec::new(),
        }
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

    #[tokio::test]
    async fn settler_joins_and_can_be_killed() {
        let mut program = shell("echo joined; exec cat");
        program.joined().await.unwrap();
        program.check().unwrap();
        program.kill().await.unwrap();
        assert!(program.check().unwrap_err().to_string().contains("ended too early (signal: 9"));
        let mut wrong = shell("echo 127.0.0.1:80");
        assert!(wrong.joined().await.unwrap_err().to_string().contains("did not start"));
    }

    #[test]
    fn processes_of_a_chain_share_its_name() {
        let chain = launch().with_writes(2);
        let writes = ["--writes-before-answer", "2", "--writes-after-answer", "0"];
        assert_eq!(chain.more, writes);
        let ordered = chain.clone().in_order_of_players();
        assert_eq!(ordered.more, [&writes[..], &["--order", "player"]].concat());
        assert_eq!(ordered.name, chain.name);
        assert_eq!(chain.kafka(bus::Config::default()).namespace, chain.name);
    }
}
