//! No field of any contract is a float, because money and all other quantities are integers.

use contracts::proto::FILE_DESCRIPTOR_SET;
use prost::Message as _;
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet};

fn floats(set: &FileDescriptorSet) -> (usize, Vec<String>) {
    let mut found = Vec::new();
    let mut checked = 0;
    let mut open: Vec<&DescriptorProto> = set.file.iter().flat_map(|file| &file.message_type).collect();
    while let Some(message) = open.pop() {
        open.extend(&message.nested_type);
        for field in &message.field {
            checked += 1;
            if matches!(field.r#type(), Type::Float | Type::Double) {
                found.push(format!("{}.{}", message.name(), field.name()));
            }
        }
    }
    (checked, found)
}

#[test]
fn no_proto_field_is_a_float() {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    let (checked, found) = floats(&set);
    assert!(checked > 80, "only {checked} fields were checked");
    assert!(found.is_empty(), "floats: {found:?}");
}

#[test]
fn check_finds_a_nested_float() {
    let mut field = FieldDescriptorProto { name: Some("amount".into()), ..Default::default() };
    field.set_type(Type::Double);
    let inner = DescriptorProto { name: Some("Inner".into()), field: vec![field], ..Default::default() };
    let outer =
        DescriptorProto { name: Some("Outer".into()), nested_type: vec![inner], ..Default::default() };
    let file = FileDescriptorProto { message_type: vec![outer], ..Default::default() };
    assert_eq!(floats(&FileDescriptorSet { file: vec![file] }), (1, vec!["Inner.amount".to_owned()]));
}

#[test]
fn every_unshared_message_is_an_event() {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    let mut declared: Vec<String> = set
        .file
        .iter()
        .filter(|file| file.package() != "casino.common.v1")
        .flat_map(|file| {
            file.message_type.iter().map(|message| format!("{}.{}", file.package(), message.name()))
        })
        .collect();
    let mut listed: Vec<String> =
        contracts::EventType::ALL.iter().map(|event_type| event_type.as_str().to_owned()).collect();
    declared.sort();
    listed.sort();
    assert_eq!(declared, listed);
}
