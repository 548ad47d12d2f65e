//! The AsyncAPI 3.0 document: channels are topics, messages are event types, with the Kafka bindings.

use contracts::topics::{TopicSpec, catalogue};
use contracts::{EventType, Group, Topic, headers};
use serde_json::{Map, Value, json};

/// The version of the Kafka bindings in the document.
const BINDING_VERSION: &str = "0.5.0";

pub(crate) fn document() -> Value {
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Pitboss",
            "version": "1.0.0",
            "description": "Commands and events of the platform. Values are protobuf or JSON; headers follow the CloudEvents Kafka binding. What other producers may write: docs/PRODUCERS.md.",
        },
        "defaultContentType": headers::APPLICATION_PROTOBUF,
        "channels": channels(),
        "operations": operations(),
        "components": { "messages": messages() },
    })
}

fn channels() -> Map<String, Value> {
    catalogue().iter().map(|spec| (spec.name.clone(), channel(spec))).collect()
}

fn channel(spec: &TopicSpec) -> Value {
    // The topic of actions on dead letters has no events.
    let of_topic = Topic::of_record(&spec.name);
    let messages: Map<String, Value> = EventType::ALL
        .iter()
        .filter(|event_type| Some(event_type.topic()) == of_topic)
        .map(|event_type| {
            let name = event_type.as_str().to_owned();
            let reference = format!("#/components/messages/{name}");
            (name, json!({ "$ref": reference }))
        })
        .collect();
    let configuration: Map<String, Value> = spec
        .configs
        .iter()
        .map(|(key, value)| {
            let typed = match value.parse::<i64>() {
                Ok(number) => json!(number),
                Err(_) => json!([value]),
            };
            (key.clone(), typed)
        })
        .collect();
    json!({
        "address": spec.name,
        "messages": messages,
        "bindings": { "kafka": {
            "topic": spec.name,
            "partitions": spec.partitions,
            "topicConfiguration": configuration,
            "bindingVersion": BINDING_VERSION,
        }},
    })
}

fn operations() -> Map<String, Value> {
    let mut operations = Map::new();
    for topic in Topic::ALL {
        let channel = json!({ "$ref": format!("#/channels/{topic}") });
        for writer in topic.writers() {
            let title = format!("{writer} writes {topic}");
            operations.insert(
                format!("{writer}.send.{topic}"),
                json!({ "action": "send", "title": title, "channel": channel }),
            );
        }
        for group in Group::ALL.iter().filter(|group| group.reads().contains(topic)) {
            let mut operation = json!({
                "action": "receive",
                "title": format!("{group} reads {topic}"),
                "channel": channel,
            });
            if group.commits() {
                operation["bindings"] = json!({ "kafka": {
                    "groupId": { "type": "string", "enum": [group.as_str()] },
                    "bindingVersion": BINDING_VERSION,
                }});
            }
            operations.insert(format!("{group}.receive.{topic}"), operation);
        }
    }
    operations
}

fn messages() -> Map<String, Value> {
    let message = |event_type: &EventType| {
        let name = event_type.as_str();
        json!({
            "name": name,
            "title": event_type.short_name(),
            "headers": headers_schema(*event_type),
            "payload": { "$ref": format!("./events/{name}.json") },
            "bindings": { "kafka": {
                "key": { "type": "string", "description": "The player's id." },
                "bindingVersion": BINDING_VERSION,
            }},
        })
    };
    EventType::ALL.iter().map(|event_type| (event_type.as_str().to_owned(), message(event_type))).collect()
}

fn headers_schema(event_type: EventType) -> Value {
    let mut properties = json!({
        headers::CE_SPECVERSION: { "type": "string", "const": headers::SPEC_VERSION },
        headers::CE_ID: { "type": "string", "minLength": 1, "maxLength": contracts::ids::ID_BYTES_MAX },
        headers::CE_TYPE: { "type": "string", "const": event_type.as_str() },
        headers::CE_SOURCE: { "type": "string" },
        headers::CE_TIME: { "type": "string", "format": "date-time" },
        headers::CE_SUBJECT: { "type": "string", "description": "The player's id." },
        headers::CE_CAUSATIONID: { "type": "string", "description": "The id of the event it follows from." },
        headers::CONTENT_TYPE: {
            "type": "string",
            "description": "Selects the mode, in any letter case and with any parameters: binary (the first two) or structured.",
            "examples": [
                headers::APPLICATION_PROTOBUF,
                headers::APPLICATION_JSON,
                headers::APPLICATION_CLOUDEVENTS_JSON,
            ],
        },
        headers::TRACEPARENT: { "type": "string" },
        headers::TRACESTATE: { "type": "string" },
        headers::BAGGAGE: { "type": "string" },
        headers::SENTRY_TRACE: { "type": "string" },
    });
    if event_type.is_command() {
        properties[headers::CE_REQUESTHASH] = json!({ "type": "string", "pattern": "^[0-9a-f]{64}$" });
    }
    json!({ "type": "object", "properties": properties })
}
