//! State folder with a real supervisor, for the tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use runtime::control::Client;
use runtime::os_process::ProcessId;
use runtime::part::{Kind, PartSpec, PartState, PartStatus, Probe};
use runtime::{Layout, pids};

/// Generous, because the machine that runs the tests may be busy with building.
pub(crate) const SOON: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

pub(crate) struct Stage {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) layout: Layout,
    pub(crate) client: Client,
}

impl Stage {
    /// A folder without a supervisor.
    pub(crate) fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path(), None, None);
        layout.create().unwrap();
        let client = Client::new(&layout);
        Self { folder, layout, client }
    }

    /// A folder with a supervisor that answers.
    pub(crate) async fn with_supervisor() -> Self {
        let stage = Self::empty();
        stage.start_supervisor(None).await;
        stage
    }

    /// A folder with a supervisor and a ready part `game`, and the part's process id.
    pub(crate) async fn with_game() -> (Self, i32) {
        let stage = Self::with_supervisor().await;
        stage.client.apply(vec![sleeper("game")], false).await.unwrap();
        let pid = stage.until_state("game", PartState::Ready).await.pid.unwrap();
        (stage, pid)
    }

    /// Starts the supervisor as `up` does, but from the program and not from this test.
    pub(crate) async fn start_supervisor(&self, end_with: Option<&ProcessId>) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pitboss"));
        command
            .arg("supervise")
            .arg("--root")
            .arg(self.layout.root())
            .arg("--state")
            .arg(self.layout.state());
        command.arg("--tools").arg(self.layout.tools());
        if let Some(process) = end_with {
            command.args(["--end-with", &process.to_string()]);
        }
        let mut child = command.spawn().unwrap();
        // A separate thread reaps it, as init does for the real one.
        std::thread::spawn(move || child.wait());
        until("the supervisor answers", async || self.client.status().await.is_ok()).await;
    }

    /// The command line on this folder.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pitboss"));
        command
            .args(args)
            .env("PITBOSS_STATE", self.layout.state())
            .env("PITBOSS_ROOT", checkout())
            .env_remove("PITBOSS_PORT_BASE");
        command
    }

    /// Runs the command line on this folder.
    pub(crate) fn cli(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs a command that must exit with this code, and returns its output.
    pub(crate) fn run(&self, args: &[&str], code: i32) -> String {
        expect_exit(&self.cli(args), code)
    }

    pub(crate) async fn part(&self, name: &str) -> PartStatus {
        self.client.status().await.unwrap().part(name).unwrap().clone()
    }

    /// Waits for a state, and returns the status that has it.
    pub(crate) async fn until_state(&self, name: &str, state: PartState) -> PartStatus {
        let began = Instant::now();
        loop {
            let part = self.part(name).await;
            if part.state == state {
                return part;
            }
            assert!(began.elapsed() < SOON, "not within {SOON:?}: {name} is {}: {part:?}", state.as_str());
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    pub(crate) fn supervisor(&self) -> ProcessId {
        pids::recorded(&self.layout).into_iter().find(|r| r.name == pids::SUPERVISOR).unwrap().process
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // A test that failed half way must not leave processes. All of them end with the supervisor.
        if let Some(supervisor) =
            pids::recorded(&self.layout).into_iter().find(|r| r.name == pids::SUPERVISOR)
            && supervisor.process.is_alive()
        {
            signal(supervisor.process.pid, Signal::SIGKILL);
        }
    }
}

/// Checkout of these sources.
pub(crate) fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Complete output of a command that must have exited with this code.
pub(crate) fn expect_exit(output: &Output, code: i32) -> String {
    let text = [output.stdout.as_slice(), &output.stderr].map(String::from_utf8_lossy).concat();
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

pub(crate) fn signal(pid: i32, signal: Signal) {
    // The test itself checks whether the process received it.
    drop(kill(Pid::from_raw(pid), signal).map_err(|errno| errno.to_string()));
}

/// A part that runs a line of shell.
pub(crate) fn shell(name: &str, script: &str) -> PartSpec {
    PartSpec {
        name: name.to_owned(),
        kind: Kind::Service,
        program: "/bin/sh".into(),
        args: vec!["-c".to_owned(), script.to_owned()],
        env: BTreeMap::from([("PATH".to_owned(), std::env::var("PATH").unwrap())]),
        cwd: "/".into(),
        needs: Vec::new(),
        ports: Vec::new(),
        address: String::new(),
        version: "1".to_owned(),
        ready: Probe::Running,
        // Long enough for a shell on a busy machine. A part that does not end by itself sets its own.
        stop_deadline_ms: 120_000,
        fingerprint: String::new(),
    }
}

/// A part that only sleeps.
pub(crate) fn sleeper(name: &str) -> PartSpec {
    shell(name, "exec sleep 1000")
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !condition().await {
        assert!(began.elapsed() < SOON, "not within {SOON:?}: {what}");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// State of a process in the kernel: `S`, `T`, …, or `None` if it has ended.
pub(crate) fn kernel_state(pid: i32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim().chars().next()
}

/// Returns `true` if the process runs. A zombie does not.
pub(crate) fn lives(pid: i32) -> bool {
    kernel_state(pid).is_some_and(|state| state != 'Z')
}
