//! The JSON Schema of an event from the descriptors: the shape, the documentation and the required fields.

use contracts::proto::FILE_DESCRIPTOR_SET;
use contracts::{EventType, Message};
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
};
use serde_json::{Map, Value, json};

use crate::messages;

/// Field numbers in `descriptor.proto`, which form the paths of comments.
const MESSAGE_TYPE: i32 = 4;
const MESSAGE_FIELD: i32 = 2;

/// The schema of one event's `data`.
pub(crate) fn of(event_type: EventType) -> Value {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("made by build.rs");
    let (file, index) = find(&set, event_type.as_str());
    let message = &file.message_type[index];
    let sample = messages::sample(event_type).to_json();
    let (required, together) = required(event_type, message, &sample);
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": format!("https://pitboss.invalid/schemas/events/{event_type}.json"),
        "title": event_type.as_str(),
        "description": comment(file, &[MESSAGE_TYPE, index as i32]),
        "type": "object",
        "properties": properties(&set, file, index),
        "required": required,
        "additionalProperties": false,
        "examples": [sample],
    });
    if !together.is_empty() {
        schema["dependentRequired"] = Value::Object(together);
    }
    schema
}

fn find<'a>(set: &'a FileDescriptorSet, full_name: &str) -> (&'a FileDescriptorProto, usize) {
    for file in &set.file {
        let named = |message: &DescriptorProto| format!("{}.{}", file.package(), message.name()) == full_name;
        if let Some(index) = file.message_type.iter().position(named) {
            return (file, index);
        }
    }
    panic!("{full_name} has no descriptor");
}

fn properties(set: &FileDescriptorSet, file: &FileDescriptorProto, index: usize) -> Map<String, Value> {
    let message = &file.message_type[index];
    let entries = message.field.iter().enumerate().map(|(place, field)| {
        let mut schema = shape(set, field);
        let path = [MESSAGE_TYPE, index as i32, MESSAGE_FIELD, place as i32];
        schema["description"] = json!(comment(file, &path));
        (field.json_name().to_owned(), schema)
    });
    entries.collect()
}

fn shape(set: &FileDescriptorSet, field: &FieldDescriptorProto) -> Value {
    let single = match field.r#type() {
        Type::String => json!({ "type": "string" }),
        Type::Int32 => json!({ "type": "integer" }),
        Type::Bool => json!({ "type": "boolean" }),
        // proto3 JSON writes 64-bit integers as strings and reads both.
        Type::Int64 => json!({ "type": ["string", "integer"], "pattern": "^-?[0-9]+$" }),
        Type::Enum => json!({ "enum": enum_names(set, field.type_name()) }),
        Type::Message => {
            let (file, index) = find(set, field.type_name().trim_start_matches('.'));
            let properties = properties(set, file, index);
            let required: Vec<&String> = properties.keys().collect();
            json!({
                "type": "object",
                "properties": properties,
                "required": money_required(&required),
                "additionalProperties": false,
            })
        }
        other => panic!("{} has a type without a schema: {other:?}", field.name()),
    };
    if field.label() == Label::Repeated { json!({ "type": "array", "items": single }) } else { single }
}

/// An amount of zero is written without `minor`, because proto3 JSON leaves defaults out.
fn money_required(names: &[&String]) -> Vec<String> {
    names.iter().filter(|name| name.as_str() != "minor").map(|name| (*name).clone()).collect()
}

/// The names of an enum, without the unspecified value, which the decoder refuses.
fn enum_names(set: &FileDescriptorSet, type_name: &str) -> Vec<String> {
    let named = |file: &FileDescriptorProto, declared: &EnumDescriptorProto| {
        format!(".{}.{}", file.package(), declared.name()) == type_name
    };
    let found = set.file.iter().find_map(|file| file.enum_type.iter().find(|declared| named(file, declared)));
    let values = &found.unwrap_or_else(|| panic!("{type_name} has no descriptor")).value;
    values.iter().filter(|value| value.number() != 0).map(|value| value.name().to_owned()).collect()
}

/// The fields that the decoder requires, always or together with another field. Each is found by leaving it out, so the
/// schema and the decoder cannot disagree.
fn required(
    event_type: EventType,
    message: &DescriptorProto,
    sample: &Value,
) -> (Vec<String>, Map<String, Value>) {
    let refused_without = |names: &[&str]| {
        let mut shortened = sample.clone();
        let fields = shortened.as_object_mut().expect("a message");
        names.iter().for_each(|name| drop(fields.remove(*name)));
        Message::from_json(event_type, &shortened.to_string()).is_err()
    };
    let names: Vec<&str> = message.field.iter().map(|field| field.json_name()).collect();
    let (mut required, mut together) = (Vec::new(), Map::new());
    for name in names.iter().filter(|name| refused_without(&[name])) {
        let partner = names.iter().find(|other| *other != name && !refused_without(&[name, other]));
        match partner {
            Some(other) => drop(together.insert((*name).to_owned(), json!([other]))),
            None => required.push((*name).to_owned()),
        }
    }
    (required, together)
}

/// The comment at a path of a file, in one line.
fn comment(file: &FileDescriptorProto, path: &[i32]) -> String {
    let locations = &file.source_code_info.as_ref().expect("comments are compiled in").location;
    let location = locations.iter().find(|location| location.path == path);
    let text = location.map(|location| location.leading_comments()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let joined = lines.join(" ").trim().to_owned();
    assert!(!joined.is_empty(), "{}: something has no comment: {path:?}", file.name());
    joined
}
