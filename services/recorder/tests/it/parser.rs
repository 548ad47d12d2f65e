//! Property tests of the parser and the code behind it: no panic, no growth, and accepted input is read completely.

use std::io::Write as _;

use proptest::{collection::vec, prelude::*};
use recorder::{
    body::{self, Limits, Opened},
    journal::{Blob, Body, BodyKind, Encoding},
    protocol::{
        assembly::Assembly,
        digest,
        envelope::{Envelope, ITEMS_MAX},
        trace::Source,
    },
};

/// JSON-like text with many fragments that confuse parsers.
fn fragments() -> impl Strategy<Value = Vec<u8>> {
    let words = r#"{ } [ ] : , " \ "type" "length" "event_id" "dsn" "items" "trace_id" "contexts" "trace" "spans"
        "exception" "values" "transaction" "event" "log" "span" "trace_metric" 0 -1 18446744073709551616 1e999 null true
        \ud800 {"items":[ "0af7651916cd43dd8448eb211c80319c""#;
    let others =
        ["\n", "\r\n", "\u{0}", "  ", "{}\n", "{\"type\":\"event\"}\n", "{\"type\":\"transaction\"}\n"];
    let others = others.into_iter().chain([
        "{\"type\":\"log\",\"length\":2}\n",
        "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{",
        "\"attributes\":[{\"key\":\"a\",\"value\":{\"stringValue\":",
    ]);
    let pieces = prop::sample::select(words.split_ascii_whitespace().chain(others).collect::<Vec<_>>());
    vec(pieces, 0..60).prop_map(|pieces| pieces.concat().into_bytes())
}

const LIMITS: Limits = Limits { envelope_bytes_max: 1 << 20, memory_bytes_max: 1 << 20 };

/// Returns the body in a file, where large bodies are.
fn in_a_file(bytes: &[u8]) -> Body {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).expect("written");
    Body::File(Blob { file: file.into(), offset: 0, bytes: bytes.len() as u64 })
}

fn parse_and_assemble(body: &[u8]) {
    if let Ok(envelope) = Envelope::parse(body) {
        assert!(envelope.items.len() <= ITEMS_MAX);
        let payloads: usize = envelope.items.iter().map(|item| item.payload.len()).sum();
        assert!(payloads <= body.len(), "payloads are parts of the body");
        let digest = digest::digest(1, 1.0, &envelope);
        let source = Source { seq: 1, received_at: 1.0, project: 1, name: "x" };
        let mut assembly = Assembly::new([7; 16], 1 << 20);
        assembly.add(source, &envelope);
        for part in &digest.parts {
            let mut assembly = Assembly::new(part.trace_id, 1 << 20);
            assembly.add(source, &envelope);
            if let Some(trace) = assembly.finish() {
                serde_json::to_string(&trace).expect("a trace is always JSON");
            }
        }
    }
    let file = in_a_file(body);
    let skimmed = body::open(BodyKind::Envelope, Encoding::Identity, &file, LIMITS);
    let skimmed = skimmed
        .as_ref()
        .map_err(ToString::to_string)
        .and_then(|opened| opened.envelope().map_err(|error| error.to_string()));
    let parsed = Envelope::parse(body);
    assert_eq!(skimmed.is_ok(), parsed.is_ok(), "skimmed {skimmed:?}, parsed {parsed:?}");
    for encoding in [Encoding::Gzip, Encoding::Deflate, Encoding::Brotli, Encoding::Zstd] {
        if let Ok(plain) = body::plain(BodyKind::Envelope, encoding, body, 4096) {
            assert!(plain.len() <= 4096);
        }
    }
    if let Ok(envelope) = body::plain(BodyKind::Store, Encoding::Identity, body, 1 << 20) {
        Envelope::parse(&envelope).expect("an event becomes a valid envelope");
    }
    for kind in BodyKind::ALL.into_iter().filter(|kind| kind.otlp().is_some()) {
        if let Ok(envelope) = body::plain(kind, Encoding::Identity, body, 1 << 20) {
            Envelope::parse(&envelope).expect("an export becomes a valid envelope");
        }
    }
    each_place_is_one_item(body, &file);
}

/// Copies for a real Sentry are made of these places.
fn each_place_is_one_item(bytes: &[u8], file: &Body) {
    let Ok(opened) = body::open(BodyKind::Envelope, Encoding::Identity, file, LIMITS) else { return };
    let (Opened::Skimmed(skimmed), Ok(envelope)) = (&opened, opened.envelope()) else { return };
    assert_eq!(skimmed.places().count(), envelope.items.len());
    for (place, item) in skimmed.places().zip(&envelope.items) {
        let [header, payload] = [&place.header, &place.payload].map(|part| {
            let [begin, end] = [part.start, part.end].map(|at| usize::try_from(at).expect("it is small"));
            &bytes[begin..end]
        });
        let alone = [&b"{}"[..], header, payload, b""].join(&b'\n');
        let alone = Envelope::parse(&alone).expect("an envelope");
        assert_eq!(alone.items.len(), 1);
        assert_eq!((alone.items[0].item_type(), alone.items[0].payload), (item.item_type(), item.payload));
    }
}

/// Type and payload of each item.
type Items = Vec<(String, Vec<u8>)>;

/// Returns the items as read from memory and, piece by piece, from a file.
fn both_ways(bytes: &[u8]) -> [Option<Items>; 2] {
    let items = |envelope: &Envelope<'_>| -> Items {
        envelope.items.iter().map(|item| (item.item_type().into_owned(), item.payload.to_vec())).collect()
    };
    let file = in_a_file(bytes);
    let skimmed = body::open(BodyKind::Envelope, Encoding::Identity, &file, LIMITS);
    let skimmed = skimmed.ok().and_then(|opened| opened.envelope().ok().map(|envelope| items(&envelope)));
    [Envelope::parse(bytes).ok().map(|envelope| items(&envelope)), skimmed]
}

#[test]
fn memory_and_file_read_equal_line_ends() {
    let item = |item_type: &str, payload: &str| (item_type.to_owned(), payload.as_bytes().to_vec());
    for (body, expected) in [
        (
            "{}\r\n{\"type\":\"a\",\"length\":3}\r\nx\ny\r\n\r\n{\"type\":\"b\"}\r\nz\r\n",
            Some(vec![item("a", "x\ny"), item("b", "z\r")]),
        ),
        (
            "{}\n\r\r\n{\"type\":\"a\",\"length\":0}\n\r\n\n{\"type\":\"b\",\"length\":1}\nz\r\n",
            Some(vec![item("a", ""), item("b", "z")]),
        ),
        ("{}\n{\"type\":\"a\",\"length\":1}\nz\r", None),
        ("{}\n{\"type\":\"a\",\"length\":1}\nz\r{\"type\":\"b\"}\n", None),
        ("{}\n{\"type\":\"a\",\"length\":1}\nz\n\r\n", Some(vec![item("a", "z")])),
    ] {
        assert_eq!(both_ways(body.as_bytes()), [expected.clone(), expected], "{body:?}");
    }
    // A file is read 32 KiB at a time. At one of these lengths the two bytes of a line end are in different pieces.
    for bytes in 32 * 1024 - 64..32 * 1024 {
        let payload = "x".repeat(bytes);
        let body =
            format!("{{}}\n{{\"type\":\"a\",\"length\":{bytes}}}\n{payload}\r\n{{\"type\":\"b\"}}\nz\n");
        let expected = Some(vec![item("a", &payload), item("b", "z")]);
        assert!(both_ways(body.as_bytes()) == [expected.clone(), expected], "{bytes}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(body in vec(any::<u8>(), 0..2_000)) {
        parse_and_assemble(&body);
    }

    #[test]
    fn arbitrary_fragments_never_panic(body in fragments()) {
        parse_and_assemble(&body);
    }

    #[test]
    fn damaged_envelope_never_panics(position in 0_usize..2_000, byte in any::<u8>(), cut in 0_usize..2_000) {
        let mut body = crate::support::transaction(&"ab".repeat(16), &"cd".repeat(8), None, "http.server", "POST /x", 1.0);
        body.push_str(crate::support::error(&"ab".repeat(16), &"cd".repeat(8), "E", "v", "u").split_once('\n').expect("a line").1);
        let mut body = body.into_bytes();
        let position = position % body.len();
        body[position] = byte;
        body.truncate(body.len() - cut % body.len());
        parse_and_assemble(&body);
    }

    #[test]
    fn envelope_round_trips(
        items in vec(("[a-z_]{1,12}", vec(any::<u8>(), 0..200), any::<bool>()), 0..12),
        trailing in any::<bool>(),
    ) {
        let mut body = b"{\"sent_at\":\"2026-01-01T00:00:00Z\"}\n".to_vec();
        let mut expected = Vec::new();
        for (index, (item_type, payload, implicit)) in items.iter().enumerate() {
            // Without a length the payload ends at the first newline.
            let implicit = *implicit && !payload.contains(&b'\n');
            let header = if implicit {
                format!("{{\"type\":\"{item_type}\"}}\n")
            } else {
                format!("{{\"type\":\"{item_type}\",\"length\":{}}}\n", payload.len())
            };
            body.extend_from_slice(header.as_bytes());
            body.extend_from_slice(payload);
            if trailing || index + 1 < items.len() {
                body.push(b'\n');
            }
            expected.push((item_type.clone(), payload.clone()));
        }
        let envelope = Envelope::parse(&body).expect("an envelope");
        let found: Vec<_> =
            envelope.items.iter().map(|item| (item.item_type().into_owned(), item.payload.to_vec())).collect();
        prop_assert_eq!(&found, &expected);
        let file = in_a_file(&body);
        let skimmed = body::open(BodyKind::Envelope, Encoding::Identity, &file, LIMITS).expect("an envelope");
        let envelope = skimmed.envelope().expect("an envelope");
        let found: Vec<_> =
            envelope.items.iter().map(|item| (item.item_type().into_owned(), item.payload.to_vec())).collect();
        prop_assert_eq!(found, expected);
    }
}
