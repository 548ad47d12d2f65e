//! Supervisor: the one process that watches all parts and carries out the decisions of `supervisor_state`.
//!
//! It runs on one thread, because the kernel binds a part's life to the *thread* that started it, and this one lives as long as
//! the supervisor. Every wait is a task in one set, and every task ends in an event.

mod companion;
mod part_io;

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::control::{Action, Request, Response, listen, read_line, write_line};
use crate::os_process::{
    ProcessId, describe_exit, has_become_its_program, has_loaded_its_program, memory_peak_bytes,
};
use crate::part::{Probe, Status};
use crate::pids::{self, Lock, Recorded};
use crate::policy::RestartPolicy;
use crate::supervisor_state::{Effect, ProcessSignal, SupervisorState};
use crate::{Layout, RuntimeError, child, probe};
pub use companion::{Companion, CompanionWork};

/// Interval at which the supervisor checks for a reason to end, such as a removed state folder.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(2);
/// Time limit for taking the lock, which another command holds for a moment when it checks for a supervisor.
const LOCK_DEADLINE: Duration = Duration::from_secs(1);

enum Event {
    Connected(UnixStream, UnixListener),
    Requested(UnixStream, Request),
    Ended { name: String, generation: u64, status: std::io::Result<ExitStatus> },
    Probed { name: String, generation: u64, ready: bool },
    CompanionEnded,
    Done,
}

/// Runs until it is asked to end, or the process `end_with` has ended. When it returns, all its processes have ended.
///
/// `companion` starts the work beside the parts, if there is any, as soon as this is the only supervisor of the platform.
pub async fn run(
    layout: &Layout,
    end_with: Option<ProcessId>,
    companion: impl FnOnce() -> Option<Companion>,
) -> Result<(), RuntimeError> {
    let lock = take_lock(layout).await?;
    let left = pids::clean_up(layout).await?;
    if !left.is_empty() {
        tracing::warn!(parts = left.join(", "), "killed what an earlier supervisor left behind");
    }
    let listener = listen(layout)?;
    let mut supervisor = Supervisor {
        layout: layout.clone(),
        end_with,
        state: SupervisorState::new(RestartPolicy::default()),
        began: Instant::now(),
        tasks: JoinSet::new(),
        companion: None,
        waits_for_companion: false,
        shutdown_clients: Vec::new(),
        recorded: Vec::new(),
    };
    supervisor.record(true)?;
    tracing::info!(pid = std::process::id(), "the supervisor has started");
    supervisor.companion = companion();
    supervisor.tasks.spawn(accept(listener));
    let outcome = supervisor.handle_events().await;
    supervisor.tasks.abort_all();
    drop(std::fs::remove_file(layout.run().join("control.sock")));
    pids::record(layout, &[]).or_else(|e| if layout.run().exists() { Err(e) } else { Ok(()) })?;
    // The lock is released before the answer, because the client may start the platform again as soon as it is answered.
    drop(lock);
    for mut stream in std::mem::take(&mut supervisor.shutdown_clients) {
        drop(write_line(&mut stream, &Response::Done).await);
    }
    tracing::info!("the supervisor has shut down");
    outcome
}

async fn take_lock(layout: &Layout) -> Result<Lock, RuntimeError> {
    let until = Instant::now() + LOCK_DEADLINE;
    loop {
        if let Some(lock) = Lock::of_supervisor(layout)? {
            return Ok(lock);
        }
        if Instant::now() > until {
            return Err(RuntimeError::Refused("another supervisor runs this platform".to_owned()));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn accept(listener: UnixListener) -> Event {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return Event::Connected(stream, listener),
            // For example for lack of descriptors. It retries after a moment.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

struct Supervisor {
    layout: Layout,
    /// Test run that the platform serves. Once it has ended, no process will request the shutdown.
    end_with: Option<ProcessId>,
    state: SupervisorState,
    began: Instant,
    tasks: JoinSet<Event>,
    /// Work beside the parts, until it is asked to end.
    companion: Option<Companion>,
    /// The shutdown begins when the companion has ended.
    waits_for_companion: bool,
    /// Clients that wait for the end of the shutdown.
    shutdown_clients: Vec<UnixStream>,
    recorded: Vec<(String, i32)>,
}

impl Supervisor {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    async fn handle_events(&mut self) -> Result<(), RuntimeError> {
        let mut terminate =
            signal(SignalKind::terminate()).map_err(|e| RuntimeError::io("cannot listen for signals", e))?;
        let mut interrupt =
            signal(SignalKind::interrupt()).map_err(|e| RuntimeError::io("cannot listen for signals", e))?;
        let mut housekeeping = tokio::time::interval(HOUSEKEEPING_INTERVAL);
        loop {
            self.apply_effects();
            self.record(false).unwrap_or_else(|e| tracing::error!("cannot write process ids: {e}"));
            if self.state.finished() {
                return Ok(());
            }
            let now_ms = self.now_ms();
            let pause = self.state.next_wake_ms().map(|at| Duration::from_millis(at.saturating_sub(now_ms)));
            tokio::select! {
                Some(event) = self.tasks.join_next() => match event {
                    Ok(event) => self.handle(event),
                    Err(error) => tracing::error!("a task of the supervisor failed: {error}"),
                },
                () = tokio::time::sleep(pause.unwrap_or(Duration::from_secs(3_600))), if pause.is_some() => {}
                _ = terminate.recv() => self.shut_down(),
                _ = interrupt.recv() => self.shut_down(),
                _ = housekeeping.tick() => if let Some(reason) = self.reason_to_shut_down() {
                    tracing::warn!("{reason}: shutting down the platform");
                    self.shut_down();
                },
            }
            let now_ms = self.now_ms();
            self.state.wake(now_ms);
        }
    }

    fn reason_to_shut_down(&self) -> Option<&'static str> {
        if !self.layout.run().join("pids.json").exists() {
            return Some("the state folder was removed");
        }
        let has_ended = self.end_with.as_ref().is_some_and(|process| !process.is_alive());
        has_ended.then_some("the process that the platform was started for has ended")
    }

    /// Shuts down all parts as soon as the companion has undone its changes, for which it needs them.
    fn shut_down(&mut self) {
        if let Some(companion) = self.companion.take() {
            self.waits_for_companion = true;
            self.tasks.spawn(async move {
                companion.end().await;
                Event::CompanionEnded
            });
        } else if !self.waits_for_companion {
            let now_ms = self.now_ms();
            self.state.shut_down(now_ms);
        }
    }

    fn handle(&mut self, event: Event) {
        let now_ms = self.now_ms();
        match event {
            Event::Connected(stream, listener) => {
                self.tasks.spawn(accept(listener));
                self.tasks.spawn(read_request(stream));
            }
            Event::Requested(stream, request) => self.answer(stream, request),
            Event::Ended { name, generation, status } => {
                let cause = status.map_or_else(|e| e.to_string(), describe_exit);
                tracing::info!(part = name, "ended: {cause}");
                part_io::log_line(&self.layout, &name, &format!("ended: {cause}"));
                self.state.ended(now_ms, &name, generation, cause);
            }
            Event::Probed { name, generation, ready } => self.state.probed(now_ms, &name, generation, ready),
            Event::CompanionEnded => {
                self.waits_for_companion = false;
                self.state.shut_down(now_ms);
            }
            Event::Done => {}
        }
    }

    fn answer(&mut self, mut stream: UnixStream, request: Request) {
        let now_ms = self.now_ms();
        let response = match request {
            Request::Status => Ok(Response::Status(self.status())),
            Request::Apply { parts, keep_others } => {
                self.state.apply(now_ms, parts, keep_others).map(Response::Applied)
            }
            Request::Part { action, name } => {
                tracing::info!(part = name, "received the request {action:?}");
                self.act(now_ms, action, &name).map(|()| Response::Done)
            }
            Request::Remove { name } => {
                tracing::info!(part = name, "received the request to remove the part");
                self.state.remove(now_ms, &name).map(|()| Response::Done)
            }
            Request::ShutDown => {
                tracing::info!("received the request to shut down");
                self.shut_down();
                self.shutdown_clients.push(stream);
                return;
            }
        };
        let response = response.unwrap_or_else(|e| match e {
            RuntimeError::UnknownPart { known, .. } => Response::UnknownPart(known),
            other => Response::Refused(other.to_string()),
        });
        self.apply_effects();
        self.tasks.spawn(async move {
            drop(write_line(&mut stream, &response).await);
            Event::Done
        });
    }

    fn act(&mut self, now_ms: u64, action: Action, name: &str) -> Result<(), RuntimeError> {
        match action {
            Action::Start => self.state.start(now_ms, name),
            Action::Stop => self.state.stop(now_ms, name),
            Action::Restart => self.state.restart(now_ms, name),
            Action::Kill => self.state.kill(name),
            Action::Freeze => self.state.freeze(name),
            Action::Thaw => self.state.thaw(name),
        }
    }

    fn status(&self) -> Status {
        let mut parts = self.state.status();
        for part in &mut parts {
            // Before that, process and memory are those of the launcher.
            part.pid = part.pid.filter(|pid| has_become_its_program(*pid));
            part.memory_bytes = part.pid.map_or(0, memory_peak_bytes);
        }
        Status { runtime: "local".to_owned(), parts }
    }

    fn apply_effects(&mut self) {
        // Starting a part may fail immediately, which has further effects.
        loop {
            let effects = self.state.take_effects();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                match effect {
                    Effect::Spawn { name, generation } => self.spawn(&name, generation),
                    Effect::Signal { pid, signal } => send(pid, signal),
                    Effect::Probe { name, generation, after_ms } => self.probe(name, generation, after_ms),
                }
            }
        }
    }

    fn spawn(&mut self, name: &str, generation: u64) {
        let now_ms = self.now_ms();
        let outcome = self.start_process(name, generation);
        match &outcome {
            Ok(pid) => tracing::info!(part = name, pid, "started"),
            Err(error) => tracing::error!(part = name, "cannot start the part: {error}"),
        }
        part_io::log_line(
            &self.layout,
            name,
            &outcome.as_ref().map_or_else(Clone::clone, |pid| format!("started: process {pid}")),
        );
        self.state.spawned(now_ms, name, generation, outcome);
    }

    fn start_process(&mut self, name: &str, generation: u64) -> Result<i32, String> {
        let spec = self.state.spec(name).ok_or("unknown part")?;
        let (reader, writer) = std::io::pipe().map_err(|e| e.to_string())?;
        let mut command =
            tokio::process::Command::from(child::command(spec, writer).map_err(|e| e.to_string())?);
        let mut process = command.spawn().map_err(|e| e.to_string())?;
        // The command holds the writing end. The log ends when the part's own copies of it are closed.
        drop(command);
        let pid =
            process.id().and_then(|id| i32::try_from(id).ok()).ok_or("the process ended immediately")?;
        let log = self.layout.log(name);
        self.tasks.spawn(async move {
            part_io::copy_to_log(reader, &log).await;
            Event::Done
        });
        let name = name.to_owned();
        self.tasks.spawn(async move { Event::Ended { name, generation, status: process.wait().await } });
        Ok(pid)
    }

    fn probe(&mut self, name: String, generation: u64, after_ms: u64) {
        let Some(ready) = self.state.spec(&name).map(|s| s.ready.clone()) else { return };
        let Some(pid) = self.state.pids().into_iter().find(|(part, _)| *part == name).map(|(_, pid)| pid)
        else {
            return;
        };
        self.tasks.spawn(async move {
            tokio::time::sleep(Duration::from_millis(after_ms)).await;
            let ready = match &ready {
                Probe::Running => has_loaded_its_program(pid),
                probe => probe::check(probe).await.is_ok() && has_become_its_program(pid),
            };
            Event::Probed { name, generation, ready }
        });
    }

    /// Records the running processes if they changed.
    fn record(&mut self, always: bool) -> Result<(), RuntimeError> {
        let pids = self.state.pids();
        if pids == self.recorded && !always {
            return Ok(());
        }
        let own = (pids::SUPERVISOR.to_owned(), std::process::id().cast_signed());
        let all = std::iter::once(&own).chain(&pids);
        let recorded = all
            .filter_map(|(name, pid)| Some(Recorded { name: name.clone(), process: ProcessId::of(*pid)? }));
        pids::record(&self.layout, &recorded.collect::<Vec<_>>())?;
        self.recorded = pids;
        Ok(())
    }
}

async fn read_request(mut stream: UnixStream) -> Event {
    const REQUEST_DEADLINE: Duration = Duration::from_secs(5);
    match tokio::time::timeout(REQUEST_DEADLINE, read_line::<Request>(&mut stream)).await {
        Ok(Ok(request)) => Event::Requested(stream, request),
        Ok(Err(error)) => {
            drop(write_line(&mut stream, &Response::Refused(format!("invalid request: {error}"))).await);
            Event::Done
        }
        Err(_) => Event::Done,
    }
}

fn send(pid: i32, signal: ProcessSignal) {
    let signal = match signal {
        ProcessSignal::Term => Signal::SIGTERM,
        ProcessSignal::Kill => Signal::SIGKILL,
        ProcessSignal::Stop => Signal::SIGSTOP,
        ProcessSignal::Cont => Signal::SIGCONT,
    };
    if let Err(errno) = killpg(Pid::from_raw(pid), signal) {
        tracing::debug!(pid, "cannot signal a process that has probably just ended: {errno}");
    }
}
