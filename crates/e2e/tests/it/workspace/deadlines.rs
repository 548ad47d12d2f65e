//! Checks that the time limits of a start and of a shutdown add up. All starts together end before `up` stops waiting. A consumer
//! stops within the drain, drain and exit end before the supervisor kills the process, and that is before a container engine does.

use std::fs;
use std::time::Duration;

use chassis::config::{Drain, Start};
use pitboss::commands::up::READY_DEADLINE;

use super::root;

#[test]
fn services_start_before_up_gives_up() {
    let start = Start::default().budget();
    // user waits longest: for the recorder and then for wire, which only open their listeners. In the end its consumer joins,
    // which takes a session time-out if a process before it was killed.
    let joined = Duration::from_millis(bus::Config::default().session_timeout_ms.into());
    let needed = start.listeners * 3 + start.resources + joined;
    assert!(needed < READY_DEADLINE, "a start may take {needed:?}, and up waits for {READY_DEADLINE:?}");
    for service in fs::read_dir(root().join("services")).expect("a folder of services") {
        let path = service.expect("an entry").path().join("src/defaults.toml");
        let defaults = fs::read_to_string(&path).expect("defaults");
        assert!(!defaults.contains("[start]"), "{} has a limit that this sum ignores", path.display());
    }
}

#[test]
fn consumer_stops_within_its_share_of_the_drain() {
    let (needed, granted) = (bus::Config::default().stop_deadline(), Drain::default().budget().consumers);
    assert!(needed <= granted, "a consumer may take {needed:?} to stop, the drain grants {granted:?}");
}

#[test]
fn service_exits_before_it_is_killed() {
    let exit_ms = Drain::default().deadline_ms + chassis::EXIT_MS_MAX;
    let killed_ms = runtime::services::STOP_DEADLINE_MS;
    assert!(exit_ms < killed_ms, "it may take {exit_ms} ms, and is killed after {killed_ms} ms");
    let compose = fs::read_to_string(root().join("docker-compose.kafka.yml")).expect("the compose file");
    let grace =
        compose.split("stop_grace_period:").nth(1).and_then(|rest| rest.trim_start().split('s').next());
    let grace_s: u64 = grace.expect("a grace period").parse().expect("seconds");
    assert!(killed_ms <= grace_s * 1_000, "the engine kills after {grace_s} s");
}
