//! Rules of the supervisor as a state machine without processes, clocks or sockets: events go in, effects come out.
//!
//! A part is *wanted* unless it was stopped. A part that ends while it is wanted has died. Each start has a generation, so that a
//! late event of an earlier start (its end, a probe in flight) is distinguished from an event of the current one.

mod entry;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::RuntimeError;
use crate::part::{PartSpec, PartStatus, start_order};
use crate::policy::RestartPolicy;
use entry::{Entry, Phase};

/// Probe interval of a part that is starting.
const PROBE_STARTING_MS: u64 = 100;
/// Probe interval of a part that was ready and is not.
const PROBE_UNREADY_MS: u64 = 500;
/// Probe interval of a ready part.
const PROBE_READY_MS: u64 = 2_000;

/// Signal for a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProcessSignal {
    /// Shut down in order.
    Term,
    /// End immediately.
    Kill,
    /// Freeze.
    Stop,
    /// Thaw.
    Cont,
}

/// Effect that the supervisor has to carry out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Start the part's process and report the result with [`SupervisorState::spawned`].
    Spawn { name: String, generation: u64 },
    /// Send a signal to the process group.
    Signal { pid: i32, signal: ProcessSignal },
    /// Probe the part after a delay and report the result with [`SupervisorState::probed`].
    Probe { name: String, generation: u64, after_ms: u64 },
}

/// Changes made by a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// New parts, and parts that did not run.
    pub started: Vec<String>,
    /// Running parts whose spec changed.
    pub restarted: Vec<String>,
    /// Parts that were frozen.
    pub thawed: Vec<String>,
    /// Parts that are no longer in the plan.
    pub removed: Vec<String>,
    /// Parts that run as planned.
    pub unchanged: Vec<String>,
}

impl Applied {
    /// Returns `true` if the plan changed nothing.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.started.is_empty()
            && self.restarted.is_empty()
            && self.thawed.is_empty()
            && self.removed.is_empty()
    }
}

/// All parts and their states.
#[derive(Debug)]
pub(crate) struct SupervisorState {
    /// In start order.
    parts: Vec<Entry>,
    policy: RestartPolicy,
    shutting_down: bool,
    effects: Vec<Effect>,
}

impl SupervisorState {
    pub(crate) fn new(policy: RestartPolicy) -> Self {
        Self { parts: Vec::new(), policy, shutting_down: false, effects: Vec::new() }
    }

    /// Returns the effects since the last call.
    pub(crate) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    pub(crate) fn spec(&self, name: &str) -> Option<&PartSpec> {
        self.parts.iter().find(|e| e.spec.name == name).map(|e| &e.spec)
    }

    /// The running processes, by name.
    pub(crate) fn pids(&self) -> Vec<(String, i32)> {
        self.parts.iter().filter_map(|e| Some((e.spec.name.clone(), e.pid?))).collect()
    }

    /// Status of every part. The caller fills in the memory.
    pub(crate) fn status(&self) -> Vec<PartStatus> {
        let one = |e: &Entry| PartStatus {
            name: e.spec.name.clone(),
            kind: e.spec.kind,
            address: e.spec.address.clone(),
            pid: e.pid,
            version: e.spec.version.clone(),
            state: e.state(),
            memory_bytes: 0,
            restarts: e.restarts,
            last_exit: e.last_exit.clone(),
        };
        self.parts.iter().map(one).collect()
    }

    /// Returns `true` when the requested shutdown is complete.
    pub(crate) fn finished(&self) -> bool {
        self.shutting_down && self.parts.iter().all(|e| e.phase == Phase::Stopped)
    }

    /// Time at which [`SupervisorState::wake`] has to be called, unless an event comes before.
    pub(crate) fn next_wake_ms(&self) -> Option<u64> {
        let due = |e: &Entry| match e.phase {
            Phase::Pausing { until_ms } => Some(until_ms),
            Phase::Stopping { kill_at_ms, .. } => kill_at_ms,
            _ => None,
        };
        self.parts.iter().filter_map(due).min()
    }

    /// Applies the plan: starts new and stopped parts, restarts those whose spec changed, and shuts down those that are no longer
    /// in it, unless `keep_others`.
    pub(crate) fn apply(
        &mut self,
        now_ms: u64,
        specs: Vec<PartSpec>,
        keep_others: bool,
    ) -> Result<Applied, RuntimeError> {
        if self.shutting_down {
            return Err(RuntimeError::Refused("the supervisor is shutting down".to_owned()));
        }
        let mut all: Vec<PartSpec> = specs.clone();
        if keep_others {
            let others = self.parts.iter().filter(|e| !specs.iter().any(|s| s.name == e.spec.name));
            all.extend(others.map(|e| e.newest_spec().clone()));
        }
        let order = start_order(&all)?;
        let mut applied = Applied::default();
        for spec in specs {
            self.apply_one(now_ms, spec, &mut applied);
        }
        let place = |name: &str| order.iter().position(|n| n == name).unwrap_or(usize::MAX);
        for index in 0..self.parts.len() {
            if place(&self.parts[index].spec.name) == usize::MAX {
                self.parts[index].removed_from_plan = true;
                applied.removed.push(self.parts[index].spec.name.clone());
                self.shut_down_part(now_ms, index, false);
            }
        }
        self.parts.sort_by_key(|e| place(&e.spec.name));
        self.remove_ended();
        self.release_waiting(now_ms);
        Ok(applied)
    }

    fn apply_one(&mut self, now_ms: u64, spec: PartSpec, applied: &mut Applied) {
        let name = spec.name.clone();
        let Some(index) = self.index(&name) else {
            let mut entry = Entry::new(spec);
            entry.phase = Phase::Waiting;
            self.parts.push(entry);
            applied.started.push(name);
            return;
        };
        let changed = *self.parts[index].newest_spec() != spec;
        self.parts[index].removed_from_plan = false;
        if changed {
            self.parts[index].next = Some(spec);
        }
        match self.parts[index].phase {
            // A request to start everything should not wait for the end of a pause.
            Phase::Stopped | Phase::Pausing { .. } => {
                self.request_start(index);
                applied.started.push(name);
            }
            Phase::Frozen if !changed => {
                self.thaw_at(index);
                applied.thawed.push(name);
            }
            Phase::Starting | Phase::Ready | Phase::Unready | Phase::Frozen if changed => {
                self.shut_down_part(now_ms, index, true);
                applied.restarted.push(name);
            }
            Phase::Stopping { kill_at_ms, .. } => {
                self.parts[index].phase = Phase::Stopping { kill_at_ms, again: true };
                applied.started.push(name);
            }
            _ if changed => applied.restarted.push(name),
            _ => applied.unchanged.push(name),
        }
    }

    /// Starts a part that was stopped, or that pauses after it died.
    pub(crate) fn start(&mut self, now_ms: u64, name: &str) -> Result<(), RuntimeError> {
        if self.shutting_down {
            // It would wait for a start that never comes, and the shutdown for its end.
            return refused("the supervisor is shutting down".to_owned());
        }
        let index = self.known(name)?;
        match self.parts[index].phase {
            Phase::Stopped | Phase::Pausing { .. } => {
                self.request_start(index);
                self.release_waiting(now_ms);
                Ok(())
            }
            Phase::Stopping { kill_at_ms, .. } => {
                self.parts[index].phase = Phase::Stopping { kill_at_ms, again: true };
                Ok(())
            }
            Phase::Frozen => refused(format!("{name} is frozen; resume it with ./pitboss thaw {name}")),
            Phase::Waiting | Phase::Starting | Phase::Ready | Phase::Unready => Ok(()),
        }
    }

    /// Shuts down a part in order. It stays down.
    pub(crate) fn stop(&mut self, now_ms: u64, name: &str) -> Result<(), RuntimeError> {
        let index = self.known(name)?;
        self.shut_down_part(now_ms, index, false);
        Ok(())
    }

    /// Shuts down a part in order and forgets it once it has ended.
    pub(crate) fn remove(&mut self, now_ms: u64, name: &str) -> Result<(), RuntimeError> {
        let index = self.known(name)?;
        let needs = |entry: &&Entry| entry.newest_spec().needs.iter().any(|need| need == name);
        if let Some(entry) = self.parts.iter().find(needs) {
            return refused(format!("{} needs {name}", entry.spec.name));
        }
        self.parts[index].removed_from_plan = true;
        self.shut_down_part(now_ms, index, false);
        self.remove_ended();
        Ok(())
    }

    /// Shuts down a part in order and starts it again.
    pub(crate) fn restart(&mut self, now_ms: u64, name: &str) -> Result<(), RuntimeError> {
        let index = self.known(name)?;
        if self.parts[index].runs() {
            self.shut_down_part(now_ms, index, true);
            return Ok(());
        }
        self.start(now_ms, name)
    }

    /// Kills a part. It is restarted like any part that dies.
    pub(crate) fn kill(&mut self, name: &str) -> Result<(), RuntimeError> {
        let index = self.known(name)?;
        match self.parts[index].pid {
            Some(pid) => {
                self.effects.push(Effect::Signal { pid, signal: ProcessSignal::Kill });
                Ok(())
            }
            None => refused(format!("{name} is not running ({})", self.parts[index].state().as_str())),
        }
    }

    /// Freezes a part until it is thawed.
    pub(crate) fn freeze(&mut self, name: &str) -> Result<(), RuntimeError> {
        let index = self.known(name)?;
        let entry = &mut self.parts[index];
        match (entry.phase, entry.pid) {
            (Phase::Frozen, _) => Ok(()),
            (Phase::Starting | Phase::Ready | Phase::Unready, Some(pid)) => {
                entry.phase = Phase::Frozen;
                self.effects.push(Effect::Signal { pid, signal: ProcessSignal::Stop });
                Ok(())
            }
            _ => refused(format!("{name} is not running ({})", entry.state().as_str())),
        }
    }

    /// Thaws a frozen part.
    pub(crate) fn thaw(&mut self, name: &str) -> Result<(), RuntimeError> {
        let index = self.known(name)?;
        match self.parts[index].phase {
            Phase::Frozen => {
                self.thaw_at(index);
                Ok(())
            }
            _ => refused(format!("{name} is not frozen ({})", self.parts[index].state().as_str())),
        }
    }

    /// Shuts down all parts, each after those that need it.
    pub(crate) fn shut_down(&mut self, now_ms: u64) {
        self.shutting_down = true;
        for entry in &mut self.parts {
            match entry.phase {
                Phase::Waiting | Phase::Pausing { .. } => entry.phase = Phase::Stopped,
                Phase::Stopping { kill_at_ms, .. } => {
                    entry.phase = Phase::Stopping { kill_at_ms, again: false }
                }
                _ => {}
            }
        }
        self.stop_unneeded(now_ms);
    }

    /// Records that the process was started, or could not be.
    pub(crate) fn spawned(&mut self, now_ms: u64, name: &str, generation: u64, outcome: Result<i32, String>) {
        let Some(index) = self.index(name) else { return };
        let entry = &mut self.parts[index];
        if entry.generation != generation {
            return;
        }
        match outcome {
            Ok(pid) => {
                entry.pid = Some(pid);
                self.probe(index, 0);
            }
            Err(cause) => self.ended(now_ms, name, generation, cause),
        }
    }

    /// Records that the process ended.
    pub(crate) fn ended(&mut self, now_ms: u64, name: &str, generation: u64, cause: String) {
        let Some(index) = self.index(name) else { return };
        let policy = self.policy;
        let entry = &mut self.parts[index];
        if entry.generation != generation {
            return;
        }
        entry.pid = None;
        match entry.phase {
            Phase::Stopping { again: true, .. } if !self.shutting_down => entry.phase = Phase::Waiting,
            Phase::Stopping { .. } => entry.phase = Phase::Stopped,
            _ => {
                entry.last_exit = Some(cause);
                let verdict = entry.deaths.record(now_ms, now_ms.saturating_sub(entry.started_ms), &policy);
                entry.phase = Phase::Pausing { until_ms: now_ms.saturating_add(verdict.pause_ms) };
                if self.shutting_down {
                    entry.phase = Phase::Stopped;
                }
            }
        }
        self.remove_ended();
        self.release_waiting(now_ms);
        if self.shutting_down {
            self.stop_unneeded(now_ms);
        }
    }

    /// Records the result of a probe.
    pub(crate) fn probed(&mut self, now_ms: u64, name: &str, generation: u64, ready: bool) {
        let Some(index) = self.index(name) else { return };
        let entry = &mut self.parts[index];
        let is_probed = matches!(entry.phase, Phase::Starting | Phase::Ready | Phase::Unready);
        if entry.generation != generation || !is_probed {
            return;
        }
        let after_ms = match (entry.phase, ready) {
            (_, true) => {
                entry.phase = Phase::Ready;
                entry.was_ready = true;
                PROBE_READY_MS
            }
            (Phase::Starting, false) => PROBE_STARTING_MS,
            (_, false) => {
                entry.phase = Phase::Unready;
                PROBE_UNREADY_MS
            }
        };
        self.probe(index, after_ms);
        self.release_waiting(now_ms);
    }

    /// Carries out restarts and kills that are due.
    pub(crate) fn wake(&mut self, now_ms: u64) {
        for index in 0..self.parts.len() {
            match self.parts[index].phase {
                Phase::Pausing { until_ms } if until_ms <= now_ms => {
                    self.parts[index].restarts = self.parts[index].restarts.saturating_add(1);
                    self.spawn(now_ms, index);
                }
                Phase::Stopping { kill_at_ms: Some(at), again } if at <= now_ms => {
                    self.parts[index].phase = Phase::Stopping { kill_at_ms: None, again };
                    if let Some(pid) = self.parts[index].pid {
                        self.effects.push(Effect::Signal { pid, signal: ProcessSignal::Kill });
                    }
                }
                _ => {}
            }
        }
    }

    fn index(&self, name: &str) -> Option<usize> {
        self.parts.iter().position(|e| e.spec.name == name)
    }

    fn known(&self, name: &str) -> Result<usize, RuntimeError> {
        self.index(name).ok_or_else(|| RuntimeError::UnknownPart {
            name: name.to_owned(),
            known: self.parts.iter().map(|e| e.spec.name.as_str()).collect::<Vec<_>>().join(", "),
        })
    }

    fn request_start(&mut self, index: usize) {
        self.parts[index].deaths.clear();
        self.parts[index].last_exit = None;
        self.parts[index].phase = Phase::Waiting;
    }

    fn thaw_at(&mut self, index: usize) {
        let entry = &mut self.parts[index];
        entry.phase = if entry.was_ready { Phase::Unready } else { Phase::Starting };
        if let Some(pid) = entry.pid {
            self.effects.push(Effect::Signal { pid, signal: ProcessSignal::Cont });
        }
        self.probe(index, 0);
    }

    fn probe(&mut self, index: usize, after_ms: u64) {
        let entry = &self.parts[index];
        let (name, generation) = (entry.spec.name.clone(), entry.generation);
        self.effects.push(Effect::Probe { name, generation, after_ms });
    }

    fn spawn(&mut self, now_ms: u64, index: usize) {
        let entry = &mut self.parts[index];
        if let Some(spec) = entry.next.take() {
            entry.spec = spec;
        }
        entry.generation += 1;
        entry.phase = Phase::Starting;
        entry.started_ms = now_ms;
        entry.was_ready = false;
        self.effects.push(Effect::Spawn { name: entry.spec.name.clone(), generation: entry.generation });
    }

    fn shut_down_part(&mut self, now_ms: u64, index: usize, again: bool) {
        let entry = &mut self.parts[index];
        match (entry.phase, entry.pid) {
            (Phase::Stopping { kill_at_ms, .. }, _) => entry.phase = Phase::Stopping { kill_at_ms, again },
            (phase, Some(pid)) => {
                let kill_at_ms = Some(now_ms.saturating_add(entry.spec.stop_deadline_ms));
                entry.phase = Phase::Stopping { kill_at_ms, again };
                self.effects.push(Effect::Signal { pid, signal: ProcessSignal::Term });
                if phase == Phase::Frozen {
                    // A frozen process handles the signal only after it is thawed.
                    self.effects.push(Effect::Signal { pid, signal: ProcessSignal::Cont });
                }
            }
            (_, None) => entry.phase = if again { Phase::Waiting } else { Phase::Stopped },
        }
    }

    fn release_waiting(&mut self, now_ms: u64) {
        if self.shutting_down {
            return;
        }
        for index in 0..self.parts.len() {
            let needs = &self.parts[index].newest_spec().needs;
            let ready = |need: &String| self.index(need).is_some_and(|i| self.parts[i].phase == Phase::Ready);
            if self.parts[index].phase == Phase::Waiting && needs.iter().all(ready) {
                self.spawn(now_ms, index);
            }
        }
    }

    fn remove_ended(&mut self) {
        self.parts.retain(|e| !(e.removed_from_plan && e.phase == Phase::Stopped));
    }

    fn stop_unneeded(&mut self, now_ms: u64) {
        for index in 0..self.parts.len() {
            let name = &self.parts[index].spec.name;
            let needed = self.parts.iter().any(|e| e.phase != Phase::Stopped && e.spec.needs.contains(name));
            if self.parts[index].runs() && !needed {
                self.shut_down_part(now_ms, index, false);
            }
        }
    }
}

fn refused<T>(reason: String) -> Result<T, RuntimeError> {
    Err(RuntimeError::Refused(reason))
}
