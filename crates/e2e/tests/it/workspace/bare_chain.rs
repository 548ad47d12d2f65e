//! Checks that the bare chain (`crates/barechain`) has the durability and the client settings of the platform. Otherwise a
//! comparison of the two says nothing. It uses none of our crates, so the sources are compared.

use std::collections::BTreeMap;
use std::fs;

use contracts::topics::RECORD_BYTES_MAX;
use contracts::{Group, Topic};
use regex::Regex;

use super::root;

/// Settings that differ. The chain lets librdkafka commit what was stored. `bus` commits by itself, at the same interval.
const OTHER: [&str; 2] = ["enable.auto.commit", "auto.commit.interval.ms"];
/// Settings that the chain does not have: its librdkafka has the same codecs, it reads no statistics, and it is not a static member.
const PLATFORM_ONLY: [&str; 4] = ["builtin.features", "debug", "statistics.interval.ms", "group.instance.id"];
/// Settings without a comparable value: addresses and names.
const NAMES: [&str; 3] = ["bootstrap.servers", "client.id", "group.id"];

fn source(path: &str) -> String {
    let text = fs::read_to_string(root().join(path)).expect("a readable file");
    text.split("#[cfg(test)]\nmod ").next().unwrap_or_default().to_owned()
}

/// Settings of librdkafka in a source, one on each line: name and value, in which settings of `bus` are replaced by their
/// defaults. Of several values, the first counts: that of the dead-letter producer comes later.
fn settings(source: &str) -> BTreeMap<String, String> {
    let defaults = serde_json::to_value(bus::Config::default()).expect("settings");
    let call = Regex::new(r#"(?m)\.set\("([a-z.]+)", ([^\n]+?)\);?$"#).expect("a pattern");
    let field = Regex::new(r"^config\.([a-z_]+)\.to_string\(\)$").expect("a pattern");
    let mut found = BTreeMap::new();
    for captures in call.captures_iter(source) {
        let value = match field.captures(&captures[2]) {
            Some(field) => defaults[&field[1]].to_string(),
            None => captures[2].trim_matches('"').to_owned(),
        };
        found.entry(captures[1].to_owned()).or_insert(value);
    }
    found
}

#[test]
fn kafka_clients_have_the_same_settings() {
    let platform = source("crates/bus/src/clients.rs")
        .replace("BATCH_BYTES_MAX.to_string()", &RECORD_BYTES_MAX.to_string())
        .replace("RECEIVE_BYTES_MAX.to_string()", "16777216");
    let (platform, chain) = (settings(&platform), settings(&source("crates/barechain/src/clients.rs")));
    assert!(chain.len() > 25, "only {} settings: the test does not read them", chain.len());
    for (name, value) in chain.iter().filter(|(name, _)| !NAMES.contains(&name.as_str())) {
        if OTHER.contains(&name.as_str()) {
            continue;
        }
        assert_eq!(platform.get(name), Some(value), "{name}");
    }
    for name in platform.keys().filter(|name| !PLATFORM_ONLY.contains(&name.as_str())) {
        assert!(chain.contains_key(name), "the chain does not have {name}");
    }
    for durable in ["enable.idempotence", "acks", "linger.ms", "fetch.min.bytes"] {
        assert!(chain.contains_key(durable), "{durable}");
    }
}

#[test]
fn documents_are_as_durable() {
    for line in [
        "WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build()",
        "options.max_connecting = Some(4);",
    ] {
        for path in ["crates/store/src/mongo.rs", "crates/barechain/src/rows.rs"] {
            assert!(source(path).contains(line), "{path} does not have {line}");
        }
    }
}

#[test]
fn topics_have_the_same_settings() {
    let chain = source("crates/barechain/src/topics.rs");
    let partitions = format!("const PARTITIONS: i32 = {};", Topic::BetsCommands.partitions());
    assert!(chain.contains(&partitions), "{partitions}");
    let catalogue = contracts::topics::catalogue();
    let commands = catalogue.iter().find(|spec| spec.name == Topic::BetsCommands.name()).expect("the topic");
    for (name, value) in commands.configs.iter().filter(|(name, _)| name != "retention.ms") {
        let line = format!("(\"{name}\", \"{value}\")");
        assert!(chain.contains(&line), "{line}");
    }
}

#[test]
fn names_are_those_of_the_platform_in_a_namespace() {
    let chain = source("crates/barechain/src/settings.rs");
    for name in [Topic::BetsCommands.name(), Topic::BetsEvents.name(), Group::Game.as_str()] {
        let line = format!("format!(\"{{}}.{name}\", self.name)");
        assert!(chain.contains(&line), "{line}");
    }
}

#[test]
fn settings_of_both_forms_are_read() {
    let source = "client\n    .set(\"acks\", \"all\")\n    // A reason (with .set)\n    .set(\"linger.ms\", \
                  config.linger_ms.to_string())\n    .set(\"check.crcs\", \"true\");\n";
    let found: Vec<_> = settings(source).into_iter().collect();
    let expected = [("acks", "all"), ("check.crcs", "true"), ("linger.ms", "0")];
    assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}
