//! Checks that `docker-compose.kafka.yml` describes the parts that the local runtime runs: same ports, variables and versions,
//! and topics from the same catalogue. It needs no container engine. `tests/compose` runs the file with one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use contracts::parts::{Part, Ports, sentry_project_id, sentry_projects};
use contracts::versions::versions;
use runtime::Layout;
use runtime::infra::mongo::REPLICA_SET;
use runtime::receiver::Receiver;
use runtime::secrets::Secrets;
use runtime::services::{Platform, environment};
use serde_yaml_ng::Value;

use super::root;

fn compose() -> Value {
    let text = fs::read_to_string(root().join("docker-compose.kafka.yml")).expect("the compose file");
    let mut file: Value = serde_yaml_ng::from_str(&text).expect("YAML");
    file.apply_merge().expect("anchors");
    file
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => serde_yaml_ng::to_string(other).expect("a scalar").trim().to_owned(),
    }
}

/// Published ports of a part: (address, port outside, port inside).
fn published(service: &Value) -> Vec<(String, u16, u16)> {
    let ports = service["ports"].as_sequence().expect("ports");
    let parse = |port: &str| port.parse().expect("a port");
    ports
        .iter()
        .map(|port| {
            let port = text(port);
            let parts: Vec<&str> = port.split(':').collect();
            assert_eq!(parts.len(), 3, "{port}: address:outside:inside");
            (parts[0].to_owned(), parse(parts[1]), parse(parts[2]))
        })
        .collect()
}

/// Port in a value such as `127.0.0.1:8100`, `http://game:8103`, `redis://redis:8123/0`, `mongodb://mongo:8122/?…`.
fn port_in(value: &str) -> Option<u16> {
    let (_, rest) = value.rsplit_once(':')?;
    rest.split('/').next()?.parse().ok()
}

/// Address that the broker advertises to a service of its network.
fn listener_of(file: &Value, part: Part) -> String {
    let prefix = if part == Part::User { "WIRE://" } else { "INSIDE://" };
    let listeners = text(&file["services"]["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]);
    let inside = listeners.split(',').find_map(|listener| listener.strip_prefix(prefix));
    inside.expect("a listener for the services").to_owned()
}

#[test]
fn ports_are_found_in_values() {
    let found =
        ["0.0.0.0:8100", "http://game:9999", "mongodb://mongo:8122/?replicaSet=pitboss", "http://k@r:8101/1"]
            .map(port_in);
    assert_eq!(found, [Some(8100), Some(9999), Some(8122), Some(8101)]);
    assert_eq!(
        ["pitboss@0.1.0", "${SENTRY_RELEASE:-pitboss@0.1.0}", "http://game/", ""].map(port_in),
        [None; 4]
    );
}

#[test]
fn parts_and_ports_match_contract() {
    let file = compose();
    let ports = Ports::default();
    for part in Part::ALL {
        let service = &file["services"][part.as_str()];
        assert!(service.is_mapping(), "{part} is missing");
        let published = published(service);
        assert!(
            published.iter().all(|(address, outside, inside)| address == "127.0.0.1" && outside == inside),
            "{part}"
        );
        let mut wanted = BTreeSet::from([ports.http(*part)]);
        wanted.extend(ports.ops(*part));
        match part {
            Part::Recorder => drop(wanted.insert(ports.recorder_query())),
            Part::Partners => wanted.extend([ports.smtp(), ports.card()]),
            Part::Wire => drop(wanted.insert(ports.wire())),
            _ => {}
        }
        let outside: BTreeSet<u16> = published.iter().map(|(_, outside, _)| *outside).collect();
        assert_eq!(outside, wanted, "{part}");
    }
    let additional = ["topics", "gateway-2", "payment-2"].map(str::to_owned);
    let expected: BTreeSet<String> =
        Part::ALL.iter().map(|p| p.as_str().to_owned()).chain(additional).collect();
    let declared: BTreeSet<String> =
        file["services"].as_mapping().expect("services").keys().map(text).collect();
    assert_eq!(declared, expected);
}

#[test]
fn service_variables_match_local_runtime() {
    let folder = tempfile::tempdir().expect("a folder");
    let layout = Layout::new(folder.path(), None, None);
    layout.create().expect("created");
    let secrets = Secrets::load_or_create(&layout).expect("secrets");
    // Variables that have no value in a local platform unless the user sets one. The file passes them to the same services.
    let user_variables = [
        "SENTRY_PROFILES_SAMPLE_RATE",
        "SENTRY_PROFILE_SESSION_SAMPLE_RATE",
        "SENTRY_PROFILE_LIFECYCLE",
        "PITBOSS__SECURITY__WEBHOOK_SECRET_OLD",
        "PITBOSS__DEBUG__ENABLED",
    ]
    .map(|name| (name.to_owned(), "0".to_owned()));
    let user_variables = BTreeMap::from(user_variables);
    let platform = Platform {
        layout: &layout,
        ports: Ports::default(),
        secrets: &secrets,
        release: "pitboss@0.1.0",
        user_variables: &user_variables,
        receiver: Receiver::Recorder,
        spotlight: false,
    };
    let file = compose();
    for part in Part::SERVICES {
        let local = environment(*part, &platform);
        let is_setting = |name: &&String| {
            name.starts_with("PITBOSS__") || name.starts_with("SENTRY_") || name.starts_with("RUST_")
        };
        let wanted: BTreeSet<&String> = local.keys().filter(is_setting).collect();
        let declared = file["services"][part.as_str()]["environment"].as_mapping().expect("an environment");
        let declared: BTreeMap<String, String> =
            declared.iter().map(|(name, value)| (text(name), text(value))).collect();
        let names: BTreeSet<&String> = declared.keys().filter(is_setting).collect();
        assert_eq!(names, wanted, "{part}");
        let with_ports: Vec<&String> =
            wanted.iter().copied().filter(|name| port_in(&local[*name]).is_some()).collect();
        // Its own addresses, stores, peers, the recorder. Without this, a search that finds no ports would pass.
        assert!(with_ports.len() >= 12, "{part}: {with_ports:?}");
        // Kafka has a separate listener for this network.
        for name in with_ports.iter().filter(|name| **name != "PITBOSS__KAFKA__BOOTSTRAP_SERVERS") {
            assert_eq!(port_in(&declared[*name]), port_in(&local[*name]), "{part} {name}");
        }
        assert_eq!(declared["PITBOSS__KAFKA__BOOTSTRAP_SERVERS"], listener_of(&file, *part), "{part}");
        let project = sentry_project_id(*part).filter(|_| *part != Part::Recorder);
        let dsn = &declared["SENTRY_DSN"];
        assert!(
            project.map_or(dsn.is_empty(), |id| dsn.ends_with(&format!("@recorder:8101/{id}"))),
            "{part}: {dsn}"
        );
    }
}

#[test]
fn every_service_has_health_check() {
    let file = compose();
    let ports = Ports::default();
    for part in Part::SERVICES {
        let port = ports.ops(*part).expect("an ops port");
        let wanted = ["CMD", "pitboss", "ready", &format!("127.0.0.1:{port}")].map(str::to_owned);
        assert_eq!(health_check(&file, part.as_str()), wanted, "{part}");
        assert_eq!(text(&file["services"][part.as_str()]["pull_policy"]), "never", "{part}");
    }
}

fn health_check(file: &Value, service: &str) -> Vec<String> {
    let test = file["services"][service]["healthcheck"]["test"].as_sequence();
    test.unwrap_or_else(|| panic!("{service} has no health check")).iter().map(text).collect()
}

#[test]
fn replica_differs_only_in_published_ports() {
    let file = compose();
    for (first, second) in [("gateway", "gateway-2"), ("payment", "payment-2")] {
        let [first, second] = [first, second].map(|name| &file["services"][name]);
        for field in ["image", "command", "environment", "depends_on", "healthcheck", "restart"] {
            assert_eq!(first[field], second[field], "{field}");
        }
        assert_eq!(second["profiles"][0], "replicas");
    }
}

#[test]
fn recorder_gets_every_forward_dsn() {
    let file = compose();
    let declared = file["services"]["recorder"]["environment"].as_mapping().expect("an environment");
    for (_, name) in sentry_projects() {
        let variable = format!("PITBOSS_FORWARD_DSN_{}", name.to_ascii_uppercase().replace('-', "_"));
        let value = declared.get(&variable).map(text);
        assert_eq!(value, Some(format!("${{{variable}:-}}")));
    }
}

#[test]
fn versions_match_versions_file() {
    let file = compose();
    let image = |service: &str| text(&file["services"][service]["image"]);
    assert_eq!(image("kafka"), versions().kafka.image);
    assert_eq!(image("mongo"), versions().mongo.image);
    assert_eq!(image("redis"), versions().redis.image);
    let build = &file["services"]["gateway"]["build"];
    assert_eq!(text(&build["args"]["RUST_IMAGE"]), versions().rust.image);
    let dockerfile = fs::read_to_string(root().join(text(&build["dockerfile"]))).expect("the Dockerfile");
    let after = |word: &'static str| dockerfile.lines().filter_map(move |line| line.strip_prefix(word));
    let builds_with: Vec<&str> = after("ARG RUST_IMAGE=").collect();
    assert_eq!(builds_with, [&versions().rust.image]);
    assert_eq!(after("ENV RUSTUP_TOOLCHAIN=").collect::<Vec<_>>(), [&versions().rust.version]);
    // Built with one image and run in the other. There is no third.
    let from: Vec<&str> = after("FROM ").collect();
    assert_eq!(from, ["${RUST_IMAGE} AS build", &versions().debian.image]);
}

#[test]
fn replica_set_matches_local_runtime() {
    let file = compose();
    let command: Vec<String> =
        file["services"]["mongo"]["command"].as_sequence().expect("a command").iter().map(text).collect();
    let set = command.iter().skip_while(|word| *word != "--replSet").nth(1);
    assert_eq!(set.map(String::as_str), Some(REPLICA_SET));
    let check = text(&file["services"]["mongo"]["healthcheck"]["test"][6]);
    assert!(check.contains(&format!("rs.initiate({{_id: '{REPLICA_SET}'")), "{check}");
    let uri = text(&file["services"]["payment"]["environment"]["PITBOSS__MONGO__URI"]);
    assert!(uri.ends_with(&format!("?replicaSet={REPLICA_SET}")), "{uri}");
    assert!(versions().mongo.image.ends_with(&versions().mongo.minimum));
}

#[test]
fn topics_come_only_from_catalogue() {
    let file = compose();
    let command: Vec<String> =
        file["services"]["topics"]["command"].as_sequence().expect("a command").iter().map(text).collect();
    assert_eq!(
        command.get(..3).map(<[String]>::to_vec),
        Some(["pitboss", "topics", "create"].map(str::to_owned).to_vec())
    );
    assert_eq!(text(&file["services"]["kafka"]["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"]), "false");
    for part in Part::SERVICES {
        let needs = &file["services"][part.as_str()]["depends_on"];
        let reads_kafka = !matches!(part, Part::Recorder | Part::Partners);
        assert_eq!(needs["topics"].is_mapping(), reads_kafka, "{part}");
    }
}
