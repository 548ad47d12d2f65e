//! Every message in both wire forms, byte for byte. A change here is a change for every reader and every stored record.

use contracts::{Event, EventType, Format, RecordView};

use crate::samples;

/// One wire form as text: bytes that are not text in hexadecimal.
fn show(event: &Event, format: Format) -> String {
    let encoded = event.encode(format);
    let mut text = format!("topic: {}\nkey: {}\n", encoded.topic, String::from_utf8_lossy(&encoded.key));
    for (name, value) in &encoded.headers {
        text.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value)));
    }
    let value = match format {
        Format::Protobuf => hex::encode(&encoded.value),
        Format::Json => String::from_utf8_lossy(&encoded.value).into_owned(),
    };
    text.push_str(&format!("\n{value}\n"));
    text
}

#[test]
fn every_message_in_both_forms() {
    for event_type in EventType::ALL {
        let event = samples::event(*event_type);
        let both = format!("{}\n----\n\n{}", show(&event, Format::Protobuf), show(&event, Format::Json));
        insta::assert_snapshot!(event_type.short_name(), both);
    }
}

#[test]
fn the_samples_read_back_in_every_form() {
    for event_type in EventType::ALL {
        let event = samples::event(*event_type);
        for format in [Format::Protobuf, Format::Json] {
            let encoded = event.encode(format);
            let record = RecordView {
                topic: encoded.topic.name(),
                partition: 0,
                offset: 0,
                timestamp_ms: None,
                headers: &encoded.headers,
                value: &encoded.value,
            };
            assert_eq!(Event::decode(&record).as_ref(), Ok(&event), "{event_type} as {format:?}");
        }
    }
}
