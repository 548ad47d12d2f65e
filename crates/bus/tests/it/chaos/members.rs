//! The members of the chaos test, and the actions on them. It counts observed events, not attempted ones.

use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use bus::Config;
use contracts::Group;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::Rng as _;
use rand::rngs::StdRng;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use super::Action;
use super::member::{self, Work};
use crate::support::{DEADLINE, physical, raw_consumer};

/// Minimum number of awake members, so that enough remain for a rebalance.
const AWAKE_MIN: usize = 3;

/// Observed events.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// Processes that got an assignment, except those at the start of the run.
    pub(super) joined: usize,
    /// Processes that left in order on request, during the run.
    pub(super) left: usize,
    /// Processes that SIGKILL ended.
    pub(super) killed: usize,
    /// Processes that were frozen until the group removed them, and then resumed.
    pub(super) frozen_and_resumed: usize,
    /// Processes that ended in another way.
    pub(super) ended_badly: Vec<String>,
}

struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    frozen_since: Option<Instant>,
}

impl Process {
    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        kill(pid, signal).expect("our own child can be signalled");
    }

    fn is_ready(&self) -> bool {
        member::ready_file(&self.log).exists()
    }
}

pub(super) struct Members {
    config: Config,
    folder: PathBuf,
    work: Work,
    members: Vec<Process>,
    leaving: Vec<Process>,
    started: usize,
    started_with: usize,
    observed: Observed,
    observer: BaseConsumer,
}

impl Members {
    pub(super) fn new(config: Config, folder: PathBuf, work: Work) -> Self {
        let observer = raw_consumer(&config, "observer");
        let (members, leaving) = (Vec::new(), Vec::new());
        let observed = Observed::default();
        Self { config, folder, work, members, leaving, started: 0, started_with: 0, observed, observer }
    }

    /// Starts the first members and waits until they are ready.
    pub(super) async fn start_with(&mut self, count: usize) {
        for _ in 0..count {
            self.join();
        }
        self.started_with = count;
        testkit::eventually("members to get an assignment", DEADLINE, || async {
            (self.awake_and_ready().len() >= count).then_some(())
        })
        .await;
    }

    fn join(&mut self) {
        self.started += 1;
        let name = format!("member-{}", self.started);
        let config = Config { client_id: name.clone(), ..self.config.clone() };
        let log = self.folder.join(format!("{name}.log"));
        let child = member::start(&config, &log, self.work);
        self.members.push(Process { name, child, log, frozen_since: None });
    }

    fn awake_and_ready(&self) -> Vec<usize> {
        let is_awake = |process: &Process| process.frozen_since.is_none() && process.is_ready();
        self.members
            .iter()
            .enumerate()
            .filter(|(_, process)| is_awake(process))
            .map(|(index, _)| index)
            .collect()
    }

    pub(super) async fn act(&mut self, action: Action, random: &mut StdRng) {
        if action == Action::Join {
            self.join();
            return;
        }
        if self.awake_and_ready().len() <= AWAKE_MIN {
            self.join();
            self.wait_for_spare_members().await;
        }
        let candidates = self.awake_and_ready();
        let index = candidates[random.random_range(0..candidates.len())];
        match action {
            Action::Freeze => {
                self.members[index].signal(Signal::SIGSTOP);
                self.members[index].frozen_since = Some(Instant::now());
            }
            Action::Leave => {
                let process = self.remove(index);
                process.signal(Signal::SIGTERM);
                self.leaving.push(process);
            }
            Action::Kill => {
                let mut process = self.remove(index);
                process.signal(Signal::SIGKILL);
                let status = process.child.wait().expect("our own child");
                if status.signal() == Some(Signal::SIGKILL as i32) {
                    self.observed.killed += 1;
                }
            }
            Action::Join => {}
        }
    }

    /// Also resumes removed members, because a rebalance that waits for them would never end.
    async fn wait_for_spare_members(&mut self) {
        let began = Instant::now();
        while self.awake_and_ready().len() <= AWAKE_MIN {
            assert!(began.elapsed() < DEADLINE, "too few members get an assignment");
            self.resume_removed();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn remove(&mut self, index: usize) -> Process {
        let process = self.members.remove(index);
        if process.is_ready() {
            self.observed.joined += 1;
        }
        process
    }

    /// Resumes frozen members that the group has removed after the session time-out.
    pub(super) fn resume_removed(&mut self) {
        if self.members.iter().all(|process| process.frozen_since.is_none()) {
            return;
        }
        let Some(members) = self.group_members() else { return };
        let session = Duration::from_millis(u64::from(self.config.session_timeout_ms));
        for process in &mut self.members {
            let is_expired = process.frozen_since.is_some_and(|since| since.elapsed() > session);
            if is_expired && !members.contains(&process.name) {
                process.signal(Signal::SIGCONT);
                process.frozen_since = None;
                self.observed.frozen_and_resumed += 1;
            }
        }
    }

    pub(super) async fn resume_all(&mut self) {
        let began = Instant::now();
        while self.members.iter().any(|process| process.frozen_since.is_some()) {
            assert!(began.elapsed() < DEADLINE, "the group does not remove frozen members");
            self.resume_removed();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until every process has had its first assignment, so that the last ones that joined are counted, too.
    pub(super) async fn wait_until_ready(&self) {
        testkit::eventually("the last members to get an assignment", DEADLINE, || async {
            self.members.iter().all(Process::is_ready).then_some(())
        })
        .await;
    }

    /// Returns the client ids of the group's present members, according to the broker.
    fn group_members(&self) -> Option<Vec<String>> {
        let group = physical(&self.config, Group::Game.as_str());
        let list = self.observer.fetch_group_list(Some(&group), Duration::from_secs(5)).ok()?;
        let found = list.groups().iter().find(|found| found.name() == group)?;
        Some(found.members().iter().map(|member| member.client_id().to_owned()).collect())
    }

    /// Requests all members to leave, and waits for their exit.
    pub(super) async fn stop_all(mut self) -> Observed {
        for process in std::mem::take(&mut self.leaving) {
            let name = process.name.clone();
            match ended(process).await {
                Ok(()) => self.observed.left += 1,
                Err(how) => self.observed.ended_badly.push(format!("{name} (requested to leave): {how}")),
            }
        }
        while !self.members.is_empty() {
            let process = self.remove(0);
            if !process.is_ready() {
                // It may not handle the signal yet, so its exit proves nothing
                process.signal(Signal::SIGKILL);
            }
            process.signal(Signal::SIGTERM);
            let (name, was_ready) = (process.name.clone(), process.is_ready());
            if let (Err(how), true) = (ended(process).await, was_ready) {
                self.observed.ended_badly.push(format!("{name} (at the end): {how}"));
            }
        }
        let mut observed = std::mem::take(&mut self.observed);
        // The first members were ready, and were counted when they were removed.
        observed.joined -= self.started_with;
        observed
    }
}

/// Waits for the exit of a process after a request to leave.
async fn ended(mut process: Process) -> Result<(), String> {
    let began = Instant::now();
    loop {
        match process.child.try_wait().expect("our own child") {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(status.to_string()),
            None if began.elapsed() > DEADLINE => {
                process.signal(Signal::SIGKILL);
                return Err(format!("still running after {DEADLINE:?}"));
            }
            None => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

impl Drop for Members {
    /// Kills all processes, so that a failed test leaves none behind.
    fn drop(&mut self) {
        for mut process in self.members.drain(..).chain(self.leaving.drain(..)) {
            process.child.kill().ok();
            process.child.wait().ok();
        }
    }
}
