//! CloudEvents as third-party software writes them: modes, attributes, headers and frames.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use contracts::{Event, EventType, Format, Message, RecordView, TraceExtension, headers};

use crate::messages;

const TOPIC: &str = "casino.bets.commands.v1";
const STRUCTURED: &str = "application/cloudevents+json";
const PLACE_BET: &str = "casino.bets.v1.PlaceBet";

fn header(name: &str, value: &str) -> (String, Bytes) {
    (name.to_owned(), Bytes::from(value.to_owned()))
}

fn view<'a>(pairs: &'a [(String, Bytes)], value: &'a [u8]) -> RecordView<'a> {
    let (partition, offset, timestamp_ms) = (0, 41, Some(1_793_534_400_000));
    RecordView { topic: TOPIC, partition, offset, timestamp_ms, headers: pairs, value }
}

fn decode(pairs: &[(String, Bytes)], value: &[u8]) -> Result<Event, String> {
    Event::decode(&view(pairs, value)).map_err(|error| error.to_string())
}

fn bet() -> Message {
    messages::sample(EventType::PlaceBet)
}

fn json() -> String {
    String::from_utf8(bet().encode_json().to_vec()).expect("JSON is text")
}

/// An envelope with these members in addition to the type, the id and the data.
fn envelope(members: &str) -> String {
    let (comma, data) = (if members.is_empty() { "" } else { "," }, json());
    format!(r#"{{"type":"{PLACE_BET}","id":"e-1"{comma}{members},"data":{data}}}"#)
}

/// The same with the data in base64.
fn base64_envelope(members: &str, data: &[u8]) -> String {
    let data = STANDARD.encode(data);
    format!(r#"{{"specversion":"1.0","type":"{PLACE_BET}","id":"e-1",{members}"data_base64":"{data}"}}"#)
}

fn framed(indexes: &[u8], body: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, 0, 7][..], indexes, body].concat()
}

#[test]
fn content_type_selects_mode() {
    let beside = [header("ce_specversion", "1.0"), header("ce_type", PLACE_BET), header("ce_id", "e-1")];
    for content_type in [
        "application/cloudevents+json",
        "application/cloudevents+json; charset=UTF-8",
        "Application/CloudEvents+JSON;charset=utf-8",
        " application/cloudevents+json ;x=y",
    ] {
        for pairs in [&[][..], &beside[..]] {
            let mut pairs = pairs.to_vec();
            pairs.push(header("content-type", content_type));
            for value in [envelope(""), format!(" \n{}\n", envelope(""))] {
                let event =
                    decode(&pairs, value.as_bytes()).unwrap_or_else(|e| panic!("{content_type}: {e}"));
                assert_eq!((event.id.as_str(), event.message), ("e-1", bet()));
            }
        }
    }
}

#[test]
fn headers_of_structured_event_are_ignored() {
    let pairs = [
        header("content-type", STRUCTURED),
        header("ce_id", "another"),
        header("ce_type", "another"),
        header("ce_time", "noon"),
        header("ce_subject", "other"),
        header("ce_specversion", "0.3"),
    ];
    assert_eq!(decode(&pairs, envelope("").as_bytes()).unwrap().id.as_str(), "e-1");
    // An envelope without an id keeps the id in the header of a retried record.
    let nameless = format!(r#"{{"type":"{PLACE_BET}","id":null,"data":{}}}"#, json());
    assert_eq!(decode(&pairs, nameless.as_bytes()).unwrap().id.as_str(), "another");
}

#[test]
fn json_object_without_ce_type_is_structured() {
    for content_type in ["application/json", "application/json; charset=utf-8", "application/protobuf"] {
        let pairs = [header("content-type", content_type)];
        assert_eq!(decode(&pairs, envelope("").as_bytes()).unwrap().message, bet(), "{content_type}");
    }
}

#[test]
fn batches_and_unknown_formats_are_named() {
    let one =
        |format: &str| format!("CloudEvents format `{format}` is not supported: only `{STRUCTURED}` is");
    let cases = [
        (
            "application/cloudevents-batch+json; charset=utf-8",
            "`application/cloudevents-batch+json` is a batch of CloudEvents: a record must carry exactly one event"
                .to_owned(),
        ),
        ("application/cloudevents+avro", one("application/cloudevents+avro")),
        ("application/cloudevents+protobuf", one("application/cloudevents+protobuf")),
        ("Application/CloudEvents+XML", one("application/cloudevents+xml")),
        ("application/cloudevents", one("application/cloudevents")),
        ("avro/binary", "unknown content type `avro/binary`".to_owned()),
        ("text/plain", "unknown content type `text/plain`".to_owned()),
        ("text/json", "unknown content type `text/json`".to_owned()),
    ];
    for (content_type, reason) in cases {
        for pairs in [vec![], vec![header("ce_type", PLACE_BET), header("ce_id", "e-1")]] {
            let mut pairs = pairs;
            pairs.push(header("content-type", content_type));
            let value = format!("[{}]", envelope(""));
            assert_eq!(decode(&pairs, value.as_bytes()), Err(reason.clone()));
        }
    }
}

#[test]
fn envelope_accepts_all_of_cloudevents() {
    for members in [
        "",
        r#""specversion":"1.0","source":"/s","time":"2026-11-27T10:00:00Z","subject":"player-1""#,
        r#""datacontenttype":"application/json; charset=utf-8""#,
        r#""datacontenttype":"Application/JSON""#,
        r#""datacontenttype":"application/vnd.casino+json""#,
        r#""dataschema":"https://example.org/p.json""#,
        r#""partitionkey":"player-1","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01""#,
        r#""sequence":1,"flag":true,"price":1.5,"nothing":null,"nested":{"a":[1]},"Strange name":"x""#,
        r#""source":null,"time":null,"subject":null,"specversion":null,"datacontenttype":null,"requesthash":null,"data_base64":null"#,
        r#""traceparent":7,"tracestate":[]"#,
    ] {
        let event = decode(&[header("content-type", STRUCTURED)], envelope(members).as_bytes());
        assert_eq!(event.map(|event| event.message), Ok(bet()), "{members}");
    }
}

#[test]
fn repeated_names_are_refused() {
    for (members, name) in [
        (r#""id":"e-2""#, "id"),
        (r#""type":"casino.bets.v1.PlaceBet""#, "type"),
        (r#""data":{}"#, "data"),
        (r#""ext":1,"ext":1"#, "ext"),
    ] {
        let reason = decode(&[], envelope(members).as_bytes()).unwrap_err();
        assert!(reason.contains(&format!("duplicate field `{name}`")), "{members}: {reason}");
    }
    let data = r#"{"playerId":"p","game":"slots","game":"slots","stake":{"minor":"1","currency":"EUR"}}"#;
    let line = format!(r#"{{"type":"{PLACE_BET}","data":{data}}}"#);
    assert!(decode(&[], line.as_bytes()).unwrap_err().contains("duplicate field `game`"));
}

#[test]
fn base64_data_follows_its_content_type() {
    let (protobuf, text) = (bet().encode_protobuf(), json());
    let framed_protobuf = framed(&[0], &protobuf);
    let framed_json = framed(&[], text.as_bytes());
    let cases: [(&str, &[u8]); 9] = [
        (r#""datacontenttype":"application/json","#, text.as_bytes()),
        (r#""datacontenttype":"application/json; charset=utf-8","#, text.as_bytes()),
        (r#""datacontenttype":"application/protobuf","#, &protobuf),
        (r#""datacontenttype":"application/x-protobuf","#, &protobuf),
        (r#""datacontenttype":"application/protobuf","#, &framed_protobuf),
        (r#""datacontenttype":"application/json","#, &framed_json),
        (r#""datacontenttype":null,"data":null,"#, text.as_bytes()),
        ("", &protobuf),
        ("", text.as_bytes()),
    ];
    for (members, data) in cases {
        let value = base64_envelope(members, data);
        let event = decode(&[header("content-type", STRUCTURED)], value.as_bytes());
        assert_eq!(event.map(|event| event.message), Ok(bet()), "{value}");
    }
    // Python's `cloudevents.v1` leaves the content type out of the envelope and puts it into the header.
    let spaced = format!("\n {text}");
    let pairs = [header("content-type", "application/json")];
    let event = decode(&pairs, base64_envelope("", spaced.as_bytes()).as_bytes());
    assert_eq!(event.map(|event| event.message), Ok(bet()));
    let refused: [(&str, &[u8], &str); 3] = [
        (r#""datacontenttype":"text/plain","#, text.as_bytes(), "unknown content type `text/plain`"),
        ("", b"", "the value is empty"),
        (r#""datacontenttype":"application/json","#, &protobuf, "casino.bets.v1.PlaceBet: not JSON"),
    ];
    for (members, data, reason) in refused {
        let found = decode(&[], base64_envelope(members, data).as_bytes()).unwrap_err();
        assert!(found.starts_with(reason), "{members}: {found}");
    }
    let broken = base64_envelope("", b"x").replace("eA==", "e-A");
    assert_eq!(decode(&[], broken.as_bytes()), Err("attribute `data_base64` is not base64".to_owned()));
}

#[test]
fn unknown_field_is_refused_in_json_only() {
    let text = json().replacen('{', r#"{"steak":1,"#, 1);
    let inline = format!(r#"{{"type":"{PLACE_BET}","data":{text}}}"#);
    for value in [inline, base64_envelope("", text.as_bytes())] {
        assert!(decode(&[], value.as_bytes()).unwrap_err().contains("unknown field `steak`"), "{value}");
    }
    // Field 999, wire type 0, value 1.
    let newer = [&bet().encode_protobuf()[..], &[0xb8, 0x3e, 0x01]].concat();
    let value = base64_envelope(r#""datacontenttype":"application/protobuf","#, &newer);
    assert_eq!(decode(&[], value.as_bytes()).unwrap().message, bet());
}

#[test]
fn registry_frame_is_removed_in_both_formats() {
    let typed = |content_type: Option<&str>| {
        let mut pairs = vec![header("ce_type", PLACE_BET), header("ce_id", "e-1")];
        pairs.extend(content_type.map(|text| header("content-type", text)));
        pairs
    };
    let text = json();
    for content_type in [None, Some("application/json"), Some("application/json; charset=utf-8")] {
        let event = decode(&typed(content_type), &framed(&[], text.as_bytes()));
        assert_eq!(event.map(|event| event.message), Ok(bet()), "{content_type:?}");
    }
    for content_type in [None, Some("application/protobuf")] {
        let event = decode(&typed(content_type), &framed(&[2, 0], &bet().encode_protobuf()));
        assert_eq!(event.map(|event| event.message), Ok(bet()), "{content_type:?}");
    }
    // A whole CloudEvent in a frame, with its content type and without.
    for pairs in [vec![], vec![header("content-type", STRUCTURED)]] {
        let event = decode(&pairs, &framed(&[], envelope("").as_bytes()));
        assert_eq!(event.map(|event| event.id.to_string()), Ok("e-1".to_owned()));
    }
    let json_type = typed(Some("application/json"));
    assert_eq!(decode(&json_type, &[0, 0, 0, 0, 1]), Err("the value is empty".to_owned()));
    let cut = "the schema registry's frame ends too early".to_owned();
    assert_eq!(decode(&json_type, &[0, 0, 0]), Err(cut.clone()));
    // Negative counts of message indexes, and a count above the limit.
    for indexes in [&[1][..], &[0x7f], &[34]] {
        assert_eq!(decode(&typed(None), &framed(indexes, b"x")), Err(cut.clone()), "{indexes:?}");
    }
}

#[test]
fn times_with_offset_convert_to_utc() {
    let moment = |text: &str| {
        let mut pairs = messages::sample_event(EventType::PlaceBet).encode(Format::Json).headers;
        pairs.retain(|(name, _)| name != headers::CE_TIME);
        pairs.push(header(headers::CE_TIME, text));
        let binary = decode(&pairs, json().as_bytes()).map(|event| event.time);
        let member = format!(r#""time":"{text}""#);
        let structured = decode(&[], envelope(&member).as_bytes()).map(|event| event.time);
        assert_eq!(binary.clone().ok(), structured.ok(), "{text}");
        binary.map(|time| (time.unix_timestamp(), time.offset().is_utc()))
    };
    for text in [
        "2026-11-27T10:00:00Z",
        "2026-11-27T10:00:00.000000000Z",
        "2026-11-27T10:00:00+00:00",
        "2026-11-27T10:00:00-00:00",
        "2026-11-27T12:30:00.000123+02:30",
        "2026-11-26T22:00:00-12:00",
    ] {
        assert_eq!(moment(text), Ok((1_795_773_600, true)), "{text}");
    }
    for text in [
        "2026-11-27T10:00:00",
        "2026-11-27",
        "1795773600",
        "2026-02-30T10:00:00Z",
        "9999-12-31T23:59:59-23:59",
        "0000-01-01T00:00:00+23:59",
    ] {
        assert_eq!(moment(text), Err("header `ce_time` is not an RFC 3339 time".to_owned()), "{text}");
    }
}

#[test]
fn last_valid_header_counts() {
    let event = messages::sample_event(EventType::PlaceBet);
    let encoded = event.encode(Format::Protobuf);
    let with = |extra: &[(&str, &str)]| {
        let mut pairs = encoded.headers.clone();
        pairs.extend(extra.iter().map(|(name, value)| header(name, value)));
        decode(&pairs, &encoded.value)
    };
    assert_eq!(with(&[("ce_id", "second")]).unwrap().id.as_str(), "second");
    assert_eq!(
        with(&[("ce_id", "second"), ("ce_id", "not an id"), ("ce_id", "")]).unwrap().id.as_str(),
        "second"
    );
    for (name, value) in [
        ("ce_id", ""),
        ("ce_type", "casino.bets.v9.PlaceBet"),
        ("ce_time", "noon"),
        ("ce_specversion", "0.3"),
        ("ce_source", ""),
        ("ce_requesthash", "ff"),
        ("content-type", ""),
    ] {
        assert_eq!(with(&[(name, value)]).as_ref(), Ok(&event), "{name}");
    }
    // Names are compared byte for byte.
    assert_eq!(with(&[("CE_ID", "x"), ("ce_Id", "x"), ("Content-Type", "text/plain")]).as_ref(), Ok(&event));
}

#[test]
fn tracing_extension_is_read_in_both_modes() {
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let trace =
        |pairs: &[(String, Bytes)], value: &[u8]| Event::decode_traced(&view(pairs, value)).expect("a bet").1;
    let both = TraceExtension { traceparent: Some(parent.to_owned()), tracestate: Some("a=b".to_owned()) };
    let names = vec![("traceparent", parent), ("tracestate", "a=b")];
    assert_eq!(both.pairs().collect::<Vec<_>>(), names);
    let members = format!(r#""traceparent":"{parent}","tracestate":"a=b""#);
    assert_eq!(trace(&[], envelope(&members).as_bytes()), both);
    let mut encoded = messages::sample_event(EventType::PlaceBet).encode(Format::Protobuf);
    assert_eq!(trace(&encoded.headers, &encoded.value), TraceExtension::default());
    encoded.headers.extend([header("ce_traceparent", parent), header("ce_tracestate", "a=b")]);
    assert_eq!(trace(&encoded.headers, &encoded.value), both);
    let none = TraceExtension::default();
    assert_eq!(trace(&[], envelope(r#""traceparent":7,"tracestate":{}"#).as_bytes()), none);
    let damaged = [(headers::CE_TRACEPARENT.to_owned(), Bytes::from_static(&[0xff]))];
    let pairs = [&encoded.headers[..encoded.headers.len() - 2], &damaged[..]].concat();
    assert_eq!(trace(&pairs, &encoded.value), none);
}

#[test]
fn bad_trace_headers_never_refuse_a_record() {
    let event = messages::sample_event(EventType::PlaceBet);
    let encoded = event.encode(Format::Protobuf);
    let names = ["traceparent", "TraceParent", "tracestate", "baggage", "Baggage", "sentry-trace"];
    for name in names.into_iter().chain(["ce_traceparent", "ce_tracestate"]) {
        let mut pairs = encoded.headers.clone();
        pairs.extend((0..80).map(|_| (name.to_owned(), Bytes::from(vec![0xff; 20_000]))));
        assert_eq!(decode(&pairs, &encoded.value).as_ref(), Ok(&event), "{name}");
    }
}

#[test]
fn dlq_headers_do_not_count_to_limits() {
    let event = messages::sample_event(EventType::PlaceBet);
    let encoded = event.encode(Format::Protobuf);
    let mut pairs = encoded.headers.clone();
    pairs.extend((pairs.len()..headers::COUNT_MAX).map(|index| header(&format!("h{index}"), "x")));
    pairs.extend((0..10).map(|index| header(&format!("dlq-{index}"), "x")));
    assert_eq!(decode(&pairs, &encoded.value).as_ref(), Ok(&event));
}
