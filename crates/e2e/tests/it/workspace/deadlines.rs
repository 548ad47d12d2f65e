//! Checks that the time limits of a shutdown add up: a consumer's within the drain, drain and exit within the time until the
//! supervisor kills the process, and that within the time until a container engine does.

use std::fs;

use chassis::config::Drain;

use super::root;

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
