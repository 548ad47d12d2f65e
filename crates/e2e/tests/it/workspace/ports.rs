//! Checks that the ports in the programs' embedded defaults are those of the contract. Two services that run with defaults alone
//! must not use the same port, and each must find the others.

use std::collections::BTreeMap;
use std::fs;

use contracts::parts::{Part, Ports};

use super::root;

/// Settings of a `defaults.toml` that contain a local address, as `section.name`, with their ports.
fn ports_in(text: &str) -> BTreeMap<String, u16> {
    let mut section = "";
    let mut found = BTreeMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name;
        }
        let Some((name, value)) = line.split_once('=') else { continue };
        let Some((_, address)) = value.split_once("127.0.0.1:") else { continue };
        let port: String = address.chars().take_while(char::is_ascii_digit).collect();
        found.insert(format!("{section}.{}", name.trim()), port.parse().expect("a port"));
    }
    found
}

fn defaults(part: Part) -> BTreeMap<String, u16> {
    let file = root().join("services").join(part.as_str()).join("src/defaults.toml");
    ports_in(&fs::read_to_string(file).expect("defaults"))
}

/// Port that a setting of this service must have.
fn wanted(part: Part, setting: &str) -> u16 {
    let ports = Ports::default();
    match setting {
        "http.address" => ports.http(part),
        "ops.address" => ports.ops(part).expect("a service"),
        "query.address" => ports.recorder_query(),
        "smtp.address" | "peers.smtp" => ports.smtp(),
        // Partners has a separate listener for the merchants of the card provider.
        "card.address" | "peers.partners" => ports.card(),
        "kafka.bootstrap_servers" => ports.kafka(),
        "wire.address" => ports.wire(),
        "wire.upstream" => ports.kafka_wire(),
        "mongo.uri" => ports.mongo(),
        "redis.url" => ports.redis(),
        // Browsers are sent to the recorder's pages.
        "peers.recorder" => ports.recorder_query(),
        _ => {
            let peer =
                setting.strip_prefix("peers.").unwrap_or_else(|| panic!("{part}: unknown setting {setting}"));
            ports.http(peer.parse().unwrap_or_else(|e| panic!("{part}: {setting}: {e}")))
        }
    }
}

#[test]
fn default_ports_match_contract() {
    let mut compared = 0;
    for part in Part::SERVICES {
        let found = defaults(*part);
        assert!(found.contains_key("http.address") && found.contains_key("ops.address"), "{part}: {found:?}");
        for (setting, port) in found {
            assert_eq!(port, wanted(*part, &setting), "{part}: {setting}");
            compared += 1;
        }
    }
    assert!(compared >= 30, "only {compared} settings: the test reads the wrong folder");
}

#[test]
fn addresses_are_found_by_section_and_name() {
    let text = "# address = \"127.0.0.1:1\"\n[ops]\naddress = \"127.0.0.1:2\"\n[mongo]\nuri = \"mongodb://127.0.0.1:3/?a=b\"\nname = \"x\"\n";
    let wanted = BTreeMap::from([("ops.address".to_owned(), 2), ("mongo.uri".to_owned(), 3)]);
    assert_eq!(ports_in(text), wanted);
}
