//! Any record is decoded or refused: no panic, a reason of limited length. The order of headers has no effect but that
//! the last valid one of a name counts.

use bytes::Bytes;
use contracts::{Event, EventType, Format, RecordView, headers};
use proptest::prelude::*;

use crate::messages;

/// Known header names, and unknown ones.
const NAMES: &[&str] = &[
    headers::CE_ID,
    headers::CE_TYPE,
    headers::CE_SOURCE,
    headers::CE_TIME,
    headers::CE_SUBJECT,
    headers::CE_SPECVERSION,
    headers::CE_CAUSATIONID,
    headers::CE_REQUESTHASH,
    headers::CE_TRACEPARENT,
    headers::CONTENT_TYPE,
    headers::DLQ_TOPIC,
    headers::DLQ_PARTITION,
    headers::DLQ_OFFSET,
    headers::DLQ_TIMESTAMP_MS,
    headers::TRACEPARENT,
    headers::BAGGAGE,
    "Content-Type",
    "x",
];
/// Valid values of known headers, and invalid ones.
const VALUES: &[&str] = &[
    "",
    "1.0",
    "7",
    "-7",
    "e-1",
    "2026-11-27T10:00:00+01:00",
    "casino.bets.v1.PlaceBet",
    "casino.bets.commands.v1",
    "application/json",
    "application/protobuf; x=y",
    "application/cloudevents+json",
    "application/cloudevents-batch+json",
    "application/cloudevents+avro",
    "e-1 \u{e9}",
];

fn header() -> impl Strategy<Value = (String, Bytes)> {
    let value = prop_oneof![
        4 => proptest::sample::select(VALUES).prop_map(|text| Bytes::from_static(text.as_bytes())),
        1 => proptest::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from),
    ];
    (proptest::sample::select(NAMES).prop_map(str::to_owned), value)
}

/// A value: an event in one of its forms, possibly cut or in a frame, or random bytes.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let written = (messages::any_event(), 0..5_usize, any::<proptest::sample::Index>(), any::<bool>())
        .prop_map(|(event, form, place, cut)| {
            let mut value = match form {
                0 => event.encode(Format::Protobuf).value.to_vec(),
                1 => event.encode(Format::Json).value.to_vec(),
                2 => crate::codec::structured(&event).into_bytes(),
                3 => [&[0, 0, 0, 0, 1, 0], &event.encode(Format::Protobuf).value[..]].concat(),
                _ => [&[0, 0, 0, 0, 1], crate::codec::structured(&event).as_bytes()].concat(),
            };
            if cut {
                value.truncate(place.index(value.len()));
            }
            value
        });
    prop_oneof![4 => written, 1 => proptest::collection::vec(any::<u8>(), 0..200)]
}

fn view<'a>(topic: &'a str, pairs: &'a [(String, Bytes)], value: &'a [u8]) -> RecordView<'a> {
    RecordView {
        topic,
        partition: 3,
        offset: 41,
        timestamp_ms: Some(1_793_534_400_000),
        headers: pairs,
        value,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn any_record_decodes_or_is_refused(
        pairs in proptest::collection::vec(header(), 0..8),
        value in value(),
        kind in proptest::sample::select(EventType::ALL.to_vec()),
        timestamp_ms in any::<Option<i64>>(),
    ) {
        let record = RecordView { timestamp_ms, ..view(kind.topic().name(), &pairs, &value) };
        prop_assert!(!record.identity().as_str().is_empty());
        match Event::decode_traced(&record) {
            Ok((event, _)) => prop_assert_eq!(event.message.validate(), Ok(())),
            Err(error) => prop_assert!(error.to_string().len() < 300, "bounded: {}", error),
        }
    }

    /// Headers of different names may change places.
    #[test]
    fn header_order_across_names_has_no_effect(
        (pairs, shuffled) in proptest::collection::vec(header(), 0..8)
            .prop_flat_map(|pairs| (Just(pairs.clone()), Just(pairs).prop_shuffle())),
        value in value(),
        kind in proptest::sample::select(EventType::ALL.to_vec()),
    ) {
        // The shuffled names, each with its values in their original order.
        let mut rest = pairs.clone();
        let reordered: Vec<(String, Bytes)> = shuffled
            .iter()
            .map(|(name, _)| rest.remove(rest.iter().position(|(other, _)| other == name).expect("the same names")))
            .collect();
        let topic = kind.topic().name();
        let one = Event::decode_traced(&view(topic, &pairs, &value));
        prop_assert_eq!(one, Event::decode_traced(&view(topic, &reordered, &value)));
    }

    /// An envelope with any extensions, in any order, decodes to the event of its known attributes.
    #[test]
    fn envelope_extensions_are_ignored(
        event in messages::any_event(),
        extensions in proptest::collection::btree_map("x[a-z0-9]{0,12}", "\\PC{0,12}", 0..6),
        first in any::<bool>(),
    ) {
        let line = crate::codec::structured(&event);
        let extra = serde_json::to_string(&extensions).expect("a map of text");
        let inside = |object: &str| {
            object.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).expect("an object").to_owned()
        };
        let (line_inside, extra_inside) = (inside(&line), inside(&extra));
        let comma = if extra_inside.is_empty() { "" } else { "," };
        let both = if first {
            format!("{{{extra_inside}{comma}{line_inside}}}")
        } else {
            format!("{{{line_inside}{comma}{extra_inside}}}")
        };
        let topic = event.event_type().topic().name();
        let plain = Event::decode(&view(topic, &[], line.as_bytes()));
        prop_assert!(plain.is_ok());
        prop_assert_eq!(plain, Event::decode(&view(topic, &[], both.as_bytes())));
    }
}
