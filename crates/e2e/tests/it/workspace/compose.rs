//! `docker-compose.kafka.yml` describes the parts that the local runtime runs: same ports, variables and versions, topics from the
//! same catalogue. It was not run here; this is what keeps it from drifting meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use contracts::parts::{Part, Ports, sentry_project_id};
use contracts::versions::versions;
use runtime::Layout;
use runtime::secrets::Secrets;
use runtime::services::{Surroundings, environment};
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

#[test]
fn parts_and_ports_are_those_of_the_contract() {
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
            Part::Partners => drop(wanted.insert(ports.smtp())),
            _ => {}
        }
        let outside: BTreeSet<u16> = published.iter().map(|(_, outside, _)| *outside).collect();
        assert_eq!(outside, wanted, "{part}");
    }
    let ours: BTreeSet<String> =
        Part::ALL.iter().map(|p| p.as_str().to_owned()).chain(["topics".to_owned()]).collect();
    let theirs: BTreeSet<String> =
        file["services"].as_mapping().expect("services").keys().map(text).collect();
    assert_eq!(theirs, ours);
}

#[test]
fn services_are_told_what_the_local_runtime_tells_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let layout = Layout::new(folder.path(), None, None);
    layout.create().expect("created");
    let secrets = Secrets::load_or_make(&layout).expect("secrets");
    let handed_on = BTreeMap::new();
    let surroundings = Surroundings {
        layout: &layout,
        ports: Ports::default(),
        secrets: &secrets,
        release: "pitboss@0.1.0",
        handed_on: &handed_on,
    };
    let file = compose();
    for part in Part::SERVICES {
        let local = environment(*part, &surroundings);
        let ours = |name: &&String| {
            name.starts_with("PITBOSS__") || name.starts_with("SENTRY_") || name.starts_with("RUST_")
        };
        let wanted: BTreeSet<&String> = local.keys().filter(ours).collect();
        let told = file["services"][part.as_str()]["environment"].as_mapping().expect("an environment");
        let told: BTreeMap<String, String> =
            told.iter().map(|(name, value)| (text(name), text(value))).collect();
        let names: BTreeSet<&String> = told.keys().filter(ours).collect();
        assert_eq!(names, wanted, "{part}");
        for name in wanted.iter().filter(|name| name.ends_with("ADDRESS")) {
            let port = |value: &str| value.rsplit(':').next().map(str::to_owned);
            assert_eq!(port(&told[*name]), port(&local[*name]), "{part} {name}");
        }
        let project = sentry_project_id(*part).filter(|_| *part != Part::Recorder);
        let dsn = &told["SENTRY_DSN"];
        assert!(
            project.map_or(dsn.is_empty(), |id| dsn.ends_with(&format!("@recorder:8101/{id}"))),
            "{part}: {dsn}"
        );
    }
}

#[test]
fn versions_are_those_of_the_one_file() {
    let file = compose();
    let image = |service: &str| text(&file["services"][service]["image"]);
    assert_eq!(image("kafka"), versions().kafka.image);
    assert_eq!(image("mongo"), versions().mongo.image);
    assert_eq!(image("redis"), versions().redis.image);
    let build = &file["services"]["gateway"]["build"];
    assert_eq!(text(&build["args"]["RUST_IMAGE"]), versions().rust.image);
    let dockerfile = fs::read_to_string(root().join(text(&build["dockerfile"]))).expect("the Dockerfile");
    assert!(dockerfile.contains(&versions().rust.image));
}

#[test]
fn topics_come_from_the_catalogue_and_from_nowhere_else() {
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
