//! Every message in every wire form, byte for byte. A change here affects every reader and every stored record.

use bytes::Bytes;
use contracts::{Event, EventType, Format, RecordView, ids};

use crate::codec::structured;
use crate::messages;

/// One wire form as text. Bytes that are not text are in hexadecimal.
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

/// The line that a person types into the console for the same message: no key, no headers.
fn show_line(event: &Event) -> String {
    format!("topic: {}\n\n{}\n", event.event_type().topic(), structured(event))
}

fn read(topic: &str, headers: &[(String, Bytes)], value: &[u8]) -> Event {
    let record = RecordView { topic, partition: 0, offset: 0, timestamp_ms: None, headers, value };
    Event::decode(&record).unwrap_or_else(|error| panic!("{topic}: {error}"))
}

#[test]
fn wire_forms_match_snapshots() {
    for event_type in EventType::ALL {
        let event = messages::sample_event(*event_type);
        let forms = [show(&event, Format::Protobuf), show(&event, Format::Json), show_line(&event)];
        let all = forms.join("\n----\n\n");
        insta::assert_snapshot!(event_type.short_name(), all);
    }
}

#[test]
fn samples_round_trip_in_every_form() {
    for event_type in EventType::ALL {
        let event = messages::sample_event(*event_type);
        for format in [Format::Protobuf, Format::Json] {
            let encoded = event.encode(format);
            let back = read(encoded.topic.name(), &encoded.headers, &encoded.value);
            assert_eq!(back, event, "{event_type} as {format:?}");
        }
        let topic = event_type.topic().name();
        let typed = read(topic, &[], structured(&event).as_bytes());
        assert_eq!(typed.message, event.message, "{event_type} as a line");
        assert_eq!(typed.id, ids::record_id(topic, 0, 0), "the id follows from the place");
    }
}
