//! Ports do not collide, and every version is defined once.

use std::collections::HashMap;

use contracts::parts::{BASE_PORT_MAX, sentry_project_id, sentry_projects};
use contracts::versions::versions;
use contracts::{Part, Ports};

fn all_ports(ports: Ports) -> Vec<(String, u16)> {
    let mut all: Vec<(String, u16)> =
        Part::ALL.iter().map(|part| (part.to_string(), ports.http(*part))).collect();
    all.extend(Part::ALL.iter().filter_map(|part| Some((format!("{part} ops"), ports.ops(*part)?))));
    for (part, slot) in Part::ALL.iter().flat_map(|part| (0..9).map(move |slot| (part, slot))) {
        let further = ports.further(*part, slot).map(<[u16; 2]>::from).into_iter().flatten();
        all.extend(further.enumerate().map(|(which, port)| (format!("{part} {slot} {which}"), port)));
    }
    all.push(("recorder query".into(), ports.recorder_query()));
    all.push(("smtp".into(), ports.smtp()));
    all.push(("controller".into(), ports.kafka_controller()));
    all.push(("wire".into(), ports.wire()));
    all.push(("broker's listener for wire".into(), ports.kafka_wire()));
    all.push(("spotlight".into(), ports.spotlight()));
    all
}

#[test]
fn ports_do_not_collide() {
    for base in [8100, 1024, BASE_PORT_MAX] {
        let mut owners: HashMap<u16, String> = HashMap::new();
        for (owner, port) in all_ports(Ports::new(base).unwrap()) {
            assert!((base..=base + 99).contains(&port), "{owner} is outside the range of 100 ports");
            if let Some(other) = owners.insert(port, owner.clone()) {
                panic!("{owner} and {other} share port {port}");
            }
        }
        assert_eq!(owners.len(), 13 + 10 + 5 * 3 * 2 + 6);
    }
    assert!(Ports::new(80).is_err());
    assert!(Ports::new(BASE_PORT_MAX + 1).is_err());
}

#[test]
fn default_ports_match_the_contract() {
    let ports = Ports::default();
    assert_eq!(ports.http(Part::Gateway), 8100);
    assert_eq!(ports.http(Part::Recorder), 8101);
    assert_eq!(ports.recorder_query(), 8110);
    assert_eq!((ports.smtp(), ports.card()), (8109, 8116));
    assert_eq!(ports.kafka(), 8120);
    assert_eq!(ports.kafka_controller(), 8121);
    assert_eq!((ports.mongo(), ports.redis()), (8122, 8123));
    assert_eq!((ports.http(Part::Wire), ports.wire(), ports.kafka_wire()), (8111, 8112, 8124));
    assert_eq!(ports.spotlight(), 8125);
    assert_eq!(ports.ops(Part::Gateway), Some(8130));
    assert_eq!(ports.ops(Part::Partners), Some(8138));
    assert_eq!(ports.ops(Part::Wire), Some(8141));
    assert_eq!(ports.ops(Part::Kafka), None);
    assert_eq!(ports.further(Part::Analytics, 0), Some((8163, 8183)));
    assert_eq!((ports.further(Part::Analytics, 3), ports.further(Part::Gateway, 0)), (None, None));
}

#[test]
fn every_service_has_one_sentry_project() {
    let projects = sentry_projects();
    let numbers: Vec<u32> = projects.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=13).collect::<Vec<u32>>());
    for part in Part::ALL {
        assert_eq!(part.as_str().parse(), Ok(*part));
        assert_eq!(sentry_project_id(*part).is_some(), part.is_service());
    }
}

#[test]
fn versions_file_matches_toolchain() {
    let versions = versions();
    assert_eq!(versions.kafka.version, "4.3.0");
    assert!(versions.kafka.image.ends_with(&versions.kafka.version));
    assert!(versions.rust.image.contains(&versions.rust.version));
    let toolchain = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rust-toolchain.toml");
    if let Ok(text) = std::fs::read_to_string(toolchain) {
        assert!(text.contains(&versions.rust.version), "rust-toolchain.toml names another version");
    }
}
