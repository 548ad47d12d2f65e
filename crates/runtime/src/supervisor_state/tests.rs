//! Tests of each rule, and a random walk that checks invariants after every step.

use super::*;
use crate::part::PartState;
use crate::part::tests::spec;

/// A supervisor state whose effects are carried out immediately, without processes.
struct Simulation {
    state: SupervisorState,
    now_ms: u64,
    next_pid: i32,
    signals: Vec<(i32, ProcessSignal)>,
}

impl Simulation {
    fn new(specs: &[PartSpec]) -> Self {
        let mut simulation = Self {
            state: SupervisorState::new(RestartPolicy::default()),
            now_ms: 0,
            next_pid: 100,
            signals: Vec::new(),
        };
        simulation.state.apply(0, specs.to_vec(), false).unwrap();
        simulation.settle();
        simulation
    }

    /// Reports every spawn as successful, ignores probes, and records the signals.
    fn settle(&mut self) {
        for effect in self.state.take_effects() {
            match effect {
                Effect::Spawn { name, generation } => {
                    self.next_pid += 1;
                    self.state.spawned(self.now_ms, &name, generation, Ok(self.next_pid));
                }
                Effect::Signal { pid, signal } => self.signals.push((pid, signal)),
                Effect::Probe { .. } => {}
            }
        }
    }

    fn generation(&self, name: &str) -> u64 {
        self.state.parts[self.state.index(name).unwrap()].generation
    }

    fn part_state(&self, name: &str) -> PartState {
        self.state.status().into_iter().find(|p| p.name == name).unwrap().state
    }

    fn pid(&self, name: &str) -> Option<i32> {
        self.state.status().into_iter().find(|p| p.name == name).unwrap().pid
    }

    fn become_ready(&mut self, name: &str) {
        self.state.probed(self.now_ms, name, self.generation(name), true);
        self.settle();
    }

    fn die(&mut self, name: &str) {
        self.state.ended(self.now_ms, name, self.generation(name), "exit code 1".to_owned());
        self.settle();
    }

    fn advance(&mut self, ms: u64) {
        self.now_ms += ms;
        self.state.wake(self.now_ms);
        self.settle();
    }
}

#[test]
fn removed_part_ends_and_is_forgotten() {
    let mut s = Simulation::new(&[spec("game", &[]), spec("canary", &["game"])]);
    s.become_ready("game");
    s.become_ready("canary");
    let refused = s.state.remove(s.now_ms, "game").unwrap_err().to_string();
    assert_eq!(refused, "canary needs game");
    assert_eq!(s.part_state("game"), PartState::Ready, "a refusal changes nothing");
    let pid = s.pid("canary").unwrap();
    s.state.remove(s.now_ms, "canary").unwrap();
    s.settle();
    assert_eq!(s.signals, [(pid, ProcessSignal::Term)]);
    assert_eq!(s.part_state("canary"), PartState::Stopping);
    s.die("canary");
    assert!(s.state.spec("canary").is_none(), "it is not started again");
    assert!(s.state.remove(s.now_ms, "canary").is_err(), "it is unknown");
    s.state.stop(s.now_ms, "game").unwrap();
    s.settle();
    s.die("game");
    s.state.remove(s.now_ms, "game").unwrap();
    assert!(s.state.spec("game").is_none(), "a part that does not run is forgotten at once");
}

#[test]
fn part_starts_when_its_needs_are_ready() {
    let mut simulation =
        Simulation::new(&[spec("kafka", &[]), spec("mongo", &[]), spec("game", &["kafka", "mongo"])]);
    assert_eq!(simulation.part_state("game"), PartState::Waiting);
    simulation.become_ready("kafka");
    assert_eq!(simulation.part_state("game"), PartState::Waiting);
    simulation.become_ready("mongo");
    assert_eq!(simulation.part_state("game"), PartState::Starting);
    simulation.become_ready("game");
    assert_eq!(simulation.part_state("game"), PartState::Ready);
}

#[test]
fn dead_part_restarts_but_stopped_part_does_not() {
    let mut simulation = Simulation::new(&[spec("game", &[])]);
    simulation.become_ready("game");
    simulation.die("game");
    assert_eq!(simulation.part_state("game"), PartState::Restarting);
    simulation.advance(499);
    assert_eq!(simulation.pid("game"), None);
    simulation.advance(1);
    assert_eq!(simulation.part_state("game"), PartState::Starting);
    simulation.become_ready("game");
    simulation.state.stop(simulation.now_ms, "game").unwrap();
    simulation.die("game");
    simulation.advance(3_600_000);
    assert_eq!(simulation.part_state("game"), PartState::Stopped);
    simulation.state.start(simulation.now_ms, "game").unwrap();
    simulation.settle();
    assert_eq!(simulation.part_state("game"), PartState::Starting);
    assert_eq!(simulation.state.status()[0].restarts, 1, "a start by command does not count as a restart");
}

#[test]
fn five_deaths_are_a_crash_loop() {
    let mut simulation = Simulation::new(&[spec("game", &[])]);
    for _ in 0..4 {
        simulation.die("game");
        assert_eq!(simulation.part_state("game"), PartState::Restarting);
        simulation.advance(8_000);
    }
    simulation.die("game");
    assert_eq!(simulation.part_state("game"), PartState::CrashLooping);
    simulation.advance(30_000);
    assert!(simulation.pid("game").is_some(), "it is still restarted");
    assert_eq!(simulation.part_state("game"), PartState::CrashLooping);
    simulation.become_ready("game");
    assert_eq!(simulation.part_state("game"), PartState::Ready);
}

#[test]
fn frozen_part_stays_until_thawed_or_stopped() {
    let mut simulation = Simulation::new(&[spec("game", &[])]);
    simulation.become_ready("game");
    let pid = simulation.pid("game").unwrap();
    simulation.state.freeze("game").unwrap();
    simulation.settle();
    simulation.become_ready("game");
    simulation.advance(3_600_000);
    assert_eq!(simulation.part_state("game"), PartState::Frozen, "a probe in flight does not thaw it");
    simulation.state.thaw("game").unwrap();
    simulation.settle();
    assert_eq!(simulation.part_state("game"), PartState::Unready);
    simulation.become_ready("game");
    simulation.state.freeze("game").unwrap();
    simulation.state.stop(simulation.now_ms, "game").unwrap();
    simulation.settle();
    assert_eq!(
        simulation.signals,
        [
            (pid, ProcessSignal::Stop),
            (pid, ProcessSignal::Cont),
            (pid, ProcessSignal::Stop),
            (pid, ProcessSignal::Term),
            (pid, ProcessSignal::Cont)
        ]
    );
}

#[test]
fn part_is_killed_once_after_stop_deadline() {
    let mut simulation = Simulation::new(&[spec("game", &[])]);
    let pid = simulation.pid("game").unwrap();
    simulation.state.stop(0, "game").unwrap();
    simulation.settle();
    simulation.advance(999);
    assert_eq!(simulation.signals, [(pid, ProcessSignal::Term)]);
    simulation.advance(1);
    simulation.advance(10_000);
    assert_eq!(simulation.signals, [(pid, ProcessSignal::Term), (pid, ProcessSignal::Kill)]);
}

#[test]
fn plan_restarts_only_changed_parts() {
    let plan = [spec("kafka", &[]), spec("game", &[])];
    let mut simulation = Simulation::new(&plan);
    simulation.become_ready("kafka");
    let applied = simulation.state.apply(0, plan.to_vec(), false).unwrap();
    assert!(applied.is_nothing(), "{applied:?}");
    assert_eq!(applied.unchanged, ["kafka", "game"]);
    let rebuilt = PartSpec { fingerprint: "other".to_owned(), ..spec("game", &[]) };
    let applied = simulation.state.apply(0, vec![spec("kafka", &[]), rebuilt.clone()], false).unwrap();
    assert_eq!((applied.restarted, applied.unchanged), (vec!["game".to_owned()], vec!["kafka".to_owned()]));
    simulation.settle();
    simulation.die("game");
    assert_eq!(simulation.part_state("game"), PartState::Starting);
    assert_eq!(simulation.state.spec("game"), Some(&rebuilt));
    let applied = simulation.state.apply(0, vec![rebuilt], false).unwrap();
    assert_eq!(applied.removed, ["kafka"]);
    simulation.settle();
    simulation.die("kafka");
    assert_eq!(simulation.state.status().len(), 1);
}

#[test]
fn shutdown_stops_parts_in_reverse_order() {
    let mut simulation =
        Simulation::new(&[spec("kafka", &[]), spec("game", &["kafka"]), spec("user", &["kafka"])]);
    for name in ["kafka", "game", "user"] {
        simulation.become_ready(name);
    }
    let pid = |simulation: &Simulation, name: &str| simulation.pid(name).unwrap();
    let (kafka, game, user) = (pid(&simulation, "kafka"), pid(&simulation, "game"), pid(&simulation, "user"));
    simulation.state.shut_down(0);
    simulation.settle();
    assert_eq!(simulation.signals, [(game, ProcessSignal::Term), (user, ProcessSignal::Term)]);
    simulation.die("user");
    assert!(simulation.state.start(0, "user").is_err(), "a part that starts would hold up the shutdown");
    simulation.die("game");
    assert_eq!(simulation.signals.last(), Some(&(kafka, ProcessSignal::Term)));
    assert!(!simulation.state.finished());
    simulation.die("kafka");
    assert!(simulation.state.finished());
    assert!(simulation.state.apply(0, vec![spec("late", &[])], false).is_err());
}

#[test]
fn events_from_previous_process_are_ignored() {
    let mut simulation = Simulation::new(&[spec("game", &[])]);
    let first = simulation.generation("game");
    simulation.die("game");
    simulation.advance(500);
    simulation.state.probed(simulation.now_ms, "game", first, true);
    assert_eq!(simulation.part_state("game"), PartState::Starting);
    simulation.state.ended(simulation.now_ms, "game", first, "late".to_owned());
    assert!(simulation.pid("game").is_some());
}

#[test]
fn failed_start_counts_as_death() {
    let mut state = SupervisorState::new(RestartPolicy::default());
    state.apply(0, vec![spec("game", &[])], false).unwrap();
    state.take_effects();
    state.spawned(0, "game", 1, Err("no such file".to_owned()));
    assert_eq!(state.status()[0].state, PartState::Restarting);
    assert_eq!(state.status()[0].last_exit.as_deref(), Some("no such file"));
}

/// After any sequence of actions, a part has a process exactly if its phase requires one. All parts end on shutdown.
#[test]
fn random_actions_keep_the_invariants() {
    use rand::{Rng, SeedableRng, rngs::StdRng};
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let names = ["kafka", "mongo", "game"];
    let mut simulation =
        Simulation::new(&[spec("kafka", &[]), spec("mongo", &[]), spec("game", &["kafka", "mongo"])]);
    for step in 0..20_000 {
        let name = names[random.random_range(0..names.len())];
        let now_ms = simulation.now_ms;
        match random.random_range(0..10) {
            0 => drop(simulation.state.start(now_ms, name)),
            1 => drop(simulation.state.stop(now_ms, name)),
            2 => drop(simulation.state.restart(now_ms, name)),
            3 => drop(simulation.state.kill(name)),
            4 => drop(simulation.state.freeze(name)),
            5 => drop(simulation.state.thaw(name)),
            6 if simulation.pid(name).is_some() => simulation.die(name),
            7 => simulation.become_ready(name),
            _ => simulation.advance(random.random_range(0..40_000)),
        }
        simulation.settle();
        for entry in &simulation.state.parts {
            let has_process = entry.runs() || matches!(entry.phase, Phase::Stopping { .. });
            assert_eq!(has_process, entry.pid.is_some(), "step {step}, seed {seed}: {entry:?}");
        }
    }
    simulation.state.shut_down(simulation.now_ms);
    for name in names.iter().rev().chain(names.iter()) {
        if simulation.pid(name).is_some() {
            simulation.die(name);
        }
    }
    assert!(simulation.state.finished(), "seed {seed}: {:?}", simulation.state);
}
