//! Tests of each rule, and a random walk that checks invariants after every step.

use std::collections::BTreeMap;

use super::*;
use crate::part::{Kind, PartState, Probe};

pub(crate) fn spec(name: &str, needs: &[&str]) -> PartSpec {
    PartSpec {
        name: name.to_owned(),
        kind: Kind::Service,
        program: "/bin/true".into(),
        args: Vec::new(),
        env: BTreeMap::new(),
        cwd: "/".into(),
        needs: needs.iter().map(|n| (*n).to_owned()).collect(),
        ports: Vec::new(),
        address: String::new(),
        version: "1".to_owned(),
        ready: Probe::Running,
        stop_deadline_ms: 1_000,
        fingerprint: String::new(),
    }
}

/// A machine whose effects are carried out immediately, without processes.
struct Stage {
    machine: Machine,
    now_ms: u64,
    next_pid: i32,
    signals: Vec<(i32, Sig)>,
}

impl Stage {
    fn new(specs: &[PartSpec]) -> Self {
        let mut stage = Self {
            machine: Machine::new(RestartPolicy::default()),
            now_ms: 0,
            next_pid: 100,
            signals: Vec::new(),
        };
        stage.machine.apply(0, specs.to_vec(), false).unwrap();
        stage.settle();
        stage
    }

    /// Reports every spawn as successful, ignores probes, and records the signals.
    fn settle(&mut self) {
        for effect in self.machine.take_effects() {
            match effect {
                Effect::Spawn { name, generation } => {
                    self.next_pid += 1;
                    self.machine.spawned(self.now_ms, &name, generation, Ok(self.next_pid));
                }
                Effect::Signal { pid, signal } => self.signals.push((pid, signal)),
                Effect::Probe { .. } => {}
            }
        }
    }

    fn generation(&self, name: &str) -> u64 {
        self.machine.parts[self.machine.index(name).unwrap()].generation
    }

    fn state(&self, name: &str) -> PartState {
        self.machine.status().into_iter().find(|p| p.name == name).unwrap().state
    }

    fn pid(&self, name: &str) -> Option<i32> {
        self.machine.status().into_iter().find(|p| p.name == name).unwrap().pid
    }

    fn ready(&mut self, name: &str) {
        self.machine.probed(self.now_ms, name, self.generation(name), true);
        self.settle();
    }

    fn dies(&mut self, name: &str) {
        self.machine.ended(self.now_ms, name, self.generation(name), "exit code 1".to_owned());
        self.settle();
    }

    fn later(&mut self, ms: u64) {
        self.now_ms += ms;
        self.machine.wake(self.now_ms);
        self.settle();
    }
}

#[test]
fn a_part_waits_for_what_it_needs() {
    let mut stage = Stage::new(&[spec("kafka", &[]), spec("mongo", &[]), spec("game", &["kafka", "mongo"])]);
    assert_eq!(stage.state("game"), PartState::Waiting);
    stage.ready("kafka");
    assert_eq!(stage.state("game"), PartState::Waiting);
    stage.ready("mongo");
    assert_eq!(stage.state("game"), PartState::Starting);
    stage.ready("game");
    assert_eq!(stage.state("game"), PartState::Ready);
}

#[test]
fn what_died_comes_back_and_what_was_stopped_does_not() {
    let mut stage = Stage::new(&[spec("game", &[])]);
    stage.ready("game");
    stage.dies("game");
    assert_eq!(stage.state("game"), PartState::Restarting);
    stage.later(499);
    assert_eq!(stage.pid("game"), None);
    stage.later(1);
    assert_eq!(stage.state("game"), PartState::Starting);
    stage.ready("game");
    stage.machine.stop(stage.now_ms, "game").unwrap();
    stage.dies("game");
    stage.later(3_600_000);
    assert_eq!(stage.state("game"), PartState::Stopped);
    stage.machine.start(stage.now_ms, "game").unwrap();
    stage.settle();
    assert_eq!(stage.state("game"), PartState::Starting);
    assert_eq!(stage.machine.status()[0].restarts, 1, "being started by hand is no restart");
}

#[test]
fn five_deaths_are_told_and_tried_further() {
    let mut stage = Stage::new(&[spec("game", &[])]);
    for _ in 0..4 {
        stage.dies("game");
        assert_eq!(stage.state("game"), PartState::Restarting);
        stage.later(8_000);
    }
    stage.dies("game");
    assert_eq!(stage.state("game"), PartState::CrashLooping);
    stage.later(30_000);
    assert!(stage.pid("game").is_some(), "it is still tried");
    assert_eq!(stage.state("game"), PartState::CrashLooping);
    stage.ready("game");
    assert_eq!(stage.state("game"), PartState::Ready);
}

#[test]
fn frozen_stays_frozen_until_thawed_and_can_be_stopped() {
    let mut stage = Stage::new(&[spec("game", &[])]);
    stage.ready("game");
    let pid = stage.pid("game").unwrap();
    stage.machine.freeze("game").unwrap();
    stage.settle();
    stage.ready("game");
    stage.later(3_600_000);
    assert_eq!(stage.state("game"), PartState::Frozen, "a probe that was under way does not thaw it");
    stage.machine.thaw("game").unwrap();
    stage.settle();
    assert_eq!(stage.state("game"), PartState::Unready);
    stage.ready("game");
    stage.machine.freeze("game").unwrap();
    stage.machine.stop(stage.now_ms, "game").unwrap();
    stage.settle();
    assert_eq!(
        stage.signals,
        [(pid, Sig::Stop), (pid, Sig::Cont), (pid, Sig::Stop), (pid, Sig::Term), (pid, Sig::Cont)]
    );
}

#[test]
fn who_does_not_end_in_time_is_killed_once() {
    let mut stage = Stage::new(&[spec("game", &[])]);
    let pid = stage.pid("game").unwrap();
    stage.machine.stop(0, "game").unwrap();
    stage.settle();
    stage.later(999);
    assert_eq!(stage.signals, [(pid, Sig::Term)]);
    stage.later(1);
    stage.later(10_000);
    assert_eq!(stage.signals, [(pid, Sig::Term), (pid, Sig::Kill)]);
}

#[test]
fn the_same_plan_changes_nothing_and_another_restarts_only_what_differs() {
    let plan = [spec("kafka", &[]), spec("game", &[])];
    let mut stage = Stage::new(&plan);
    stage.ready("kafka");
    let applied = stage.machine.apply(0, plan.to_vec(), false).unwrap();
    assert!(applied.is_nothing(), "{applied:?}");
    assert_eq!(applied.unchanged, ["kafka", "game"]);
    let rebuilt = PartSpec { fingerprint: "other".to_owned(), ..spec("game", &[]) };
    let applied = stage.machine.apply(0, vec![spec("kafka", &[]), rebuilt.clone()], false).unwrap();
    assert_eq!((applied.restarted, applied.unchanged), (vec!["game".to_owned()], vec!["kafka".to_owned()]));
    stage.settle();
    stage.dies("game");
    assert_eq!(stage.state("game"), PartState::Starting);
    assert_eq!(stage.machine.spec("game"), Some(&rebuilt));
    let applied = stage.machine.apply(0, vec![rebuilt], false).unwrap();
    assert_eq!(applied.removed, ["kafka"]);
    stage.settle();
    stage.dies("kafka");
    assert_eq!(stage.machine.status().len(), 1);
}

#[test]
fn the_end_comes_to_each_part_after_those_that_need_it() {
    let mut stage = Stage::new(&[spec("kafka", &[]), spec("game", &["kafka"]), spec("user", &["kafka"])]);
    for name in ["kafka", "game", "user"] {
        stage.ready(name);
    }
    let pid = |stage: &Stage, name: &str| stage.pid(name).unwrap();
    let (kafka, game, user) = (pid(&stage, "kafka"), pid(&stage, "game"), pid(&stage, "user"));
    stage.machine.shut_down(0);
    stage.settle();
    assert_eq!(stage.signals, [(game, Sig::Term), (user, Sig::Term)]);
    stage.dies("user");
    stage.dies("game");
    assert_eq!(stage.signals.last(), Some(&(kafka, Sig::Term)));
    assert!(!stage.machine.finished());
    stage.dies("kafka");
    assert!(stage.machine.finished());
    assert!(stage.machine.apply(0, vec![spec("late", &[])], false).is_err());
}

#[test]
fn news_of_an_earlier_life_are_not_taken_for_news_of_this_one() {
    let mut stage = Stage::new(&[spec("game", &[])]);
    let first = stage.generation("game");
    stage.dies("game");
    stage.later(500);
    stage.machine.probed(stage.now_ms, "game", first, true);
    assert_eq!(stage.state("game"), PartState::Starting);
    stage.machine.ended(stage.now_ms, "game", first, "late".to_owned());
    assert!(stage.pid("game").is_some());
}

#[test]
fn a_program_that_cannot_be_started_is_a_death() {
    let mut machine = Machine::new(RestartPolicy::default());
    machine.apply(0, vec![spec("game", &[])], false).unwrap();
    machine.take_effects();
    machine.spawned(0, "game", 1, Err("no such file".to_owned()));
    assert_eq!(machine.status()[0].state, PartState::Restarting);
    assert_eq!(machine.status()[0].last_exit.as_deref(), Some("no such file"));
}

/// After any sequence of actions, a part has a process exactly if its phase requires one. All parts end on shutdown.
#[test]
fn a_random_walk_keeps_the_invariants() {
    use rand::{Rng, SeedableRng, rngs::StdRng};
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let names = ["kafka", "mongo", "game"];
    let mut stage = Stage::new(&[spec("kafka", &[]), spec("mongo", &[]), spec("game", &["kafka", "mongo"])]);
    for step in 0..20_000 {
        let name = names[random.random_range(0..names.len())];
        let now_ms = stage.now_ms;
        match random.random_range(0..10) {
            0 => drop(stage.machine.start(now_ms, name)),
            1 => drop(stage.machine.stop(now_ms, name)),
            2 => drop(stage.machine.restart(now_ms, name)),
            3 => drop(stage.machine.kill(name)),
            4 => drop(stage.machine.freeze(name)),
            5 => drop(stage.machine.thaw(name)),
            6 if stage.pid(name).is_some() => stage.dies(name),
            7 => stage.ready(name),
            _ => stage.later(random.random_range(0..40_000)),
        }
        stage.settle();
        for entry in &stage.machine.parts {
            let lives = entry.runs() || matches!(entry.phase, Phase::Stopping { .. });
            assert_eq!(lives, entry.pid.is_some(), "step {step}, seed {seed}: {entry:?}");
        }
    }
    stage.machine.shut_down(stage.now_ms);
    for name in names.iter().rev().chain(names.iter()) {
        if stage.pid(name).is_some() {
            stage.dies(name);
        }
    }
    assert!(stage.machine.finished(), "seed {seed}: {:?}", stage.machine);
}
