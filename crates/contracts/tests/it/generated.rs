//! Checks the generated files under `schemas/`: stale files fail the test, `UPDATE_SCHEMAS=1` rewrites them.

mod asyncapi;
mod json_schema;

use std::collections::BTreeMap;
use std::path::PathBuf;

use contracts::topics::catalogue;
use contracts::{Event, EventType, RecordView};
use serde_json::{Value, json};

use crate::messages;

/// Every generated file by its path below `schemas/`.
fn generated() -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for event_type in EventType::ALL {
        let schema = json_schema::of(*event_type);
        files.insert(format!("events/{event_type}.json"), pretty(&schema));
    }
    files.insert("topics.json".to_owned(), pretty(&topics()));
    let asyncapi = serde_yaml_ng::to_string(&sorted(&asyncapi::document())).expect("a document");
    files.insert(
        "asyncapi.yaml".to_owned(),
        format!("# Generated from the code; see crates/contracts.\n{asyncapi}"),
    );
    files
}

fn topics() -> Value {
    let specs = catalogue().into_iter().map(|spec| {
        let configs: BTreeMap<String, String> = spec.configs.into_iter().collect();
        json!({ "name": spec.name, "partitions": spec.partitions, "configs": configs })
    });
    json!({ "topics": specs.collect::<Vec<Value>>() })
}

/// The same value with the keys of every object sorted, whatever serde_json features other crates enable.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let ordered: BTreeMap<&String, &Value> = fields.iter().collect();
            Value::Object(ordered.into_iter().map(|(name, field)| (name.clone(), sorted(field))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

fn pretty(value: &Value) -> String {
    format!("{}\n", serde_json::to_string_pretty(&sorted(value)).expect("a document"))
}

fn schemas_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../schemas")
}

#[test]
fn checked_in_schemas_are_current() {
    let folder = schemas_folder();
    let update = std::env::var_os("UPDATE_SCHEMAS").is_some();
    let mut stale = Vec::new();
    for (path, wanted) in generated() {
        let file = folder.join(&path);
        if std::fs::read_to_string(&file).is_ok_and(|found| found == wanted) {
            continue;
        }
        if update {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, wanted).unwrap();
        } else {
            stale.push(path);
        }
    }
    assert!(stale.is_empty(), "stale below schemas/: {stale:?}; UPDATE_SCHEMAS=1 rewrites them");
}

#[test]
fn no_schema_of_a_removed_type() {
    let wanted = generated();
    for entry in std::fs::read_dir(schemas_folder().join("events")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(wanted.contains_key(&format!("events/{name}")), "schemas/events/{name} belongs to no type");
    }
}

#[test]
fn samples_match_their_schemas() {
    for event_type in EventType::ALL {
        let schema = json_schema::of(*event_type);
        let validator = jsonschema::validator_for(&schema).unwrap();
        let sample = messages::sample(*event_type).to_json();
        assert!(validator.is_valid(&sample), "{event_type}: {sample}");

        let mut mistyped = sample.clone();
        mistyped["playreId"] = json!("p");
        assert!(!validator.is_valid(&mistyped), "{event_type} takes an unknown field");
        let mut wrong = sample;
        wrong["playerId"] = json!(7);
        assert!(!validator.is_valid(&wrong), "{event_type} takes a number for a name");
    }
}

/// The schema and the decoder agree on every field that may be left out.
#[test]
fn schema_and_decoder_require_the_same() {
    let mut checked = 0;
    for event_type in EventType::ALL {
        let validator = jsonschema::validator_for(&json_schema::of(*event_type)).unwrap();
        let sample = messages::sample(*event_type).to_json();
        for name in sample.as_object().unwrap().keys() {
            let mut shortened = sample.clone();
            shortened.as_object_mut().unwrap().remove(name);
            let line = json!({ "type": event_type.as_str(), "data": shortened }).to_string();
            let record = RecordView {
                topic: event_type.topic().name(),
                partition: 0,
                offset: 0,
                timestamp_ms: None,
                headers: &[],
                value: line.as_bytes(),
            };
            let decodes = Event::decode(&record).is_ok();
            assert_eq!(validator.is_valid(&shortened), decodes, "{event_type} without {name}");
            checked += 1;
        }
    }
    assert!(checked > 80, "only {checked} fields were left out");
}

#[test]
fn asyncapi_matches_catalogue() {
    let document: Value = serde_yaml_ng::from_str(&generated()["asyncapi.yaml"]).unwrap();
    let channels = document["channels"].as_object().unwrap();
    let specs = catalogue();
    assert_eq!(channels.len(), specs.len());
    for spec in specs {
        let channel = channels.values().find(|channel| channel["address"] == spec.name.as_str()).unwrap();
        let kafka = &channel["bindings"]["kafka"];
        assert_eq!(kafka["partitions"], spec.partitions, "{}", spec.name);
        let configured = &kafka["topicConfiguration"];
        for (key, value) in spec.configs {
            let found = match &configured[&key] {
                Value::Array(items) => items[0].as_str().unwrap().to_owned(),
                Value::Number(number) => number.to_string(),
                other => panic!("{}: {key} is {other}", spec.name),
            };
            assert_eq!(found, value, "{}: {key}", spec.name);
        }
    }
    let messages = document["components"]["messages"].as_object().unwrap();
    assert_eq!(messages.len(), EventType::ALL.len());
}
