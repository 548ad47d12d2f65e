//! Minidumps that are uploaded without an SDK, as a form or as the bare file.
//!
//! The stored envelope is the one that an SDK would send: the event that the form describes, and the files as attachments. What crashed
//! is read from the minidump afterwards ([`crate::crashes`]).

use std::{collections::BTreeMap, io::Read as _};

use axum::{
    body::Body as HttpBody,
    extract::{Path, Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, header};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    Ingest,
    derived::as_sent,
    otlp::media_type,
    receive::{authorise, drain_body, encoding, key_of_request, receive_as, receive_from, with_seq},
    refusal::{Accepted, Refusal},
};
use crate::{body, crashes::encoding_of_minidump, journal::BodyKind, protocol::envelope};

/// Largest form, decompressed. It is in memory as a whole, one at a time.
const BYTES_MAX: usize = 17 * 1024 * 1024;
/// Name of the form's file with the minidump.
const FILE: &str = "upload_file_minidump";
/// Largest numbers of parts of a form and of files among them.
const PARTS_MAX: usize = 256;
const FILES_MAX: usize = 20;
/// Longest value that is kept of a field that Sentry does not know, and the depth of `sentry[a][b]…`.
const EXTRA_BYTES_MAX: usize = 8_192;
const DEPTH_MAX: usize = 6;
/// Content types of a bare minidump.
const BARE: [&str; 2] = ["application/octet-stream", "application/x-dmp"];

/// `POST /api/{project}/minidump/?sentry_key=`
pub(super) async fn upload(
    State(ingest): State<Ingest>,
    Path(project): Path<String>,
    request: Request,
) -> Response {
    match receive(&ingest, &project, request).await {
        Ok((accepted, seq)) => with_seq(seq, hyphenated(accepted)),
        Err(refusal) => refusal.into_response(),
    }
}

/// The id of the event as plain text, in the form that Sentry answers with here.
fn hyphenated(accepted: Accepted) -> String {
    let id = accepted.id.unwrap_or_default();
    Uuid::try_parse(&id).map_or(id, |id| id.hyphenated().to_string())
}

async fn receive(
    ingest: &Ingest,
    project: &str,
    request: Request,
) -> Result<(Accepted, Option<u64>), Refusal> {
    let (parts, mut body) = request.into_parts();
    let key = key_of_request(&parts);
    let made = match check(ingest, project, key.as_deref()) {
        Ok(()) => made_of(ingest, &parts.headers, &mut body).await,
        Err(refusal) => Err(refusal),
    };
    match made {
        Ok(envelope) => {
            let request = as_sent(key.as_deref().unwrap_or_default(), envelope)?;
            receive_as(ingest, project, request, Ok(BodyKind::Envelope)).await
        }
        Err(refusal) => {
            tracing::debug!(project, status = refusal.status().as_u16(), reason = %refusal, "a minidump was refused");
            drain_body(&mut body).await;
            Err(refusal)
        }
    }
}

fn check(ingest: &Ingest, project: &str, key: Option<&str>) -> Result<(), Refusal> {
    let project: u32 = project.parse().map_err(|_| Refusal::BadProject)?;
    authorise(ingest, project, key.ok_or(Refusal::MissingKey)?)
}

/// Reads the body and makes the envelope. Only one is in memory at a time.
async fn made_of(ingest: &Ingest, headers: &HeaderMap, body: &mut HttpBody) -> Result<Vec<u8>, Refusal> {
    let encoding = encoding(headers)?;
    let kind = match media_type(headers).as_deref() {
        Some("multipart/form-data") => Kind::Form(boundary(headers)?),
        Some(bare) if BARE.contains(&bare) => Kind::Bare,
        _ => return Err(Refusal::MediaType("multipart/form-data")),
    };
    let permit = ingest.admission.admit_minidump().await?;
    let received = receive_from(ingest, true, BYTES_MAX, body).await?;
    let stored = received.body.clone();
    let made = tokio::task::spawn_blocking(move || {
        let unreadable = |error: std::io::Error| Refusal::Unreadable(error.to_string());
        let mut bytes = Vec::new();
        let reader = body::decompressing(encoding, &stored).map_err(unreadable)?;
        reader.take(BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() > BYTES_MAX {
            return Err(Refusal::TooLarge(BYTES_MAX));
        }
        match kind {
            Kind::Form(boundary) => envelope_of(&parts_of(&bytes, &boundary)?),
            Kind::Bare => envelope_of(&[Part {
                name: FILE.to_owned(),
                file: Some("minidump.dmp".to_owned()),
                content: &bytes,
            }]),
        }
    });
    let made = made.await.map_err(|_| Refusal::Worker)?;
    drop((received, permit));
    made
}

enum Kind {
    Form(String),
    Bare,
}

fn boundary(headers: &HeaderMap) -> Result<String, Refusal> {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let found = parameter(text, "boundary").filter(|boundary| (1..=70).contains(&boundary.len()));
    found.ok_or(Refusal::Minidump("the content type has no boundary"))
}

/// A parameter of a header such as `form-data; name="a;b"`.
fn parameter(text: &str, name: &str) -> Option<String> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let is_end = |character: char| {
        let is_literal = std::mem::take(&mut is_escaped);
        match character {
            '\\' => is_escaped = is_quoted && !is_literal,
            '"' if !is_literal => is_quoted = !is_quoted,
            _ => {}
        }
        character == ';' && !is_quoted
    };
    let mut parameters = text.split(is_end).skip(1).filter_map(|parameter| parameter.trim().split_once('='));
    let (_, value) = parameters.find(|(found, _)| found.trim().eq_ignore_ascii_case(name))?;
    Some(unquoted(value.trim()))
}

/// The text between quotes, in which some senders write a backslash before a quote and before another backslash.
fn unquoted(value: &str) -> String {
    match value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(text) => text.replace("\\\"", "\"").replace("\\\\", "\\"),
        None => value.to_owned(),
    }
}

/// One part of a form.
#[derive(Debug, PartialEq, Eq)]
struct Part<'a> {
    name: String,
    /// Name of a file. A field has none.
    file: Option<String>,
    content: &'a [u8],
}

/// Splits a form into its parts.
fn parts_of<'a>(body: &'a [u8], boundary: &str) -> Result<Vec<Part<'a>>, Refusal> {
    const INCOMPLETE: Refusal = Refusal::Minidump("the form ends early");
    let delimiter = format!("--{boundary}");
    let separator = format!("\r\n{delimiter}");
    let mut rest = match body.strip_prefix(delimiter.as_bytes()) {
        Some(rest) => rest,
        // A preamble
        None => split(body, separator.as_bytes()).ok_or(INCOMPLETE)?.1,
    };
    let mut parts = Vec::new();
    while !rest.starts_with(b"--") {
        if parts.len() == PARTS_MAX {
            return Err(Refusal::Minidump("the form has too many parts"));
        }
        let (_, begin) = split(rest, b"\r\n").ok_or(INCOMPLETE)?;
        // A part without headers has no name, and counts for nothing
        let (head, content) = split(begin, b"\r\n\r\n").ok_or(INCOMPLETE)?;
        let (content, after) = split(content, separator.as_bytes()).ok_or(INCOMPLETE)?;
        if let Some((name, file)) = disposition(&String::from_utf8_lossy(head)) {
            parts.push(Part { name, file, content });
        }
        rest = after;
    }
    Ok(parts)
}

/// Splits at the first occurrence of some bytes.
fn split<'a>(bytes: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let position = bytes.windows(at.len()).position(|window| window == at)?;
    Some((bytes.get(..position)?, bytes.get(position + at.len()..)?))
}

/// Name of the field and of its file.
fn disposition(head: &str) -> Option<(String, Option<String>)> {
    let line = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    })?;
    Some((parameter(line, "name")?, parameter(line, "filename")))
}

/// Makes the envelope of a form.
fn envelope_of(parts: &[Part<'_>]) -> Result<Vec<u8>, Refusal> {
    let minidump = parts.iter().find(|part| part.name == FILE);
    let minidump = minidump.ok_or(Refusal::Minidump("the form has no file upload_file_minidump"))?;
    if encoding_of_minidump(minidump.content).is_none() {
        return Err(Refusal::Minidump("the file is no minidump"));
    }
    let mut event = event_of(parts);
    let sent = event.get("event_id").and_then(Value::as_str).and_then(envelope::event_id);
    let event_id = sent.unwrap_or_else(|| Uuid::new_v4().simple().to_string());
    event.insert("event_id".to_owned(), event_id.as_str().into());
    event.entry("platform").or_insert_with(|| "native".into());
    event.entry("level").or_insert_with(|| "fatal".into());
    let payload = Value::Object(event).to_string();
    let mut made = format!("{{\"event_id\":\"{event_id}\"}}\n").into_bytes();
    add(&mut made, &json!({ "type": "event", "length": payload.len() }), payload.as_bytes());
    for file in parts.iter().filter(|part| part.file.is_some() || part.name == FILE).take(FILES_MAX) {
        let kind = if file.name == FILE { "event.minidump" } else { "event.attachment" };
        let name = file.file.as_deref().unwrap_or(&file.name);
        let head = json!({ "type": "attachment", "length": file.content.len(), "filename": name,
            "attachment_type": kind });
        add(&mut made, &head, file.content);
    }
    Ok(made)
}

fn add(envelope: &mut Vec<u8>, head: &Value, payload: &[u8]) {
    for part in [head.to_string().as_bytes(), b"\n", payload, b"\n"] {
        envelope.extend_from_slice(part);
    }
}

/// The event that the fields describe: `sentry` and `sentry___<any name>` as JSON, `sentry[a][b]` as single members, and `sentry__1` and
/// so on as pieces of one JSON, which comes last. All others are extra data. As in Sentry, objects are merged, and of two values for one
/// member the first stays.
fn event_of(parts: &[Part<'_>]) -> Map<String, Value> {
    let mut event = Map::new();
    let mut pieces = BTreeMap::new();
    for part in parts.iter().filter(|part| part.file.is_none() && part.name != FILE) {
        let text = String::from_utf8_lossy(part.content);
        if part.name == "sentry" || part.name.starts_with("sentry___") {
            merge(&mut event, object(&text));
        } else if let Some(number) = piece(&part.name) {
            pieces.insert(number, text);
        } else if let Some(path) = path(&part.name) {
            set(&mut event, &path, text.into_owned());
        } else if text.len() <= EXTRA_BYTES_MAX {
            set(&mut event, &["extra", part.name.as_str()], text.into_owned());
        }
    }
    let whole: String = pieces.into_values().collect();
    merge(&mut event, object(&whole));
    event
}

/// Adds members to an object and to the objects in it. Values that are there stay.
fn merge(target: &mut Map<String, Value>, source: Map<String, Value>) {
    for (name, value) in source {
        let present = target.entry(name).or_insert(Value::Null);
        if present.is_null() {
            *present = value;
        } else if let (Value::Object(inner), Value::Object(more)) = (present, value) {
            merge(inner, more);
        }
    }
}

/// The members of a JSON object. Anything else has none.
fn object(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap_or_default()
}

/// The number of a piece: 2 of `sentry__2`.
fn piece(name: &str) -> Option<u32> {
    name.strip_prefix("sentry__")?.parse().ok()
}

/// The members of `sentry[a][b]`, outermost first.
fn path(name: &str) -> Option<Vec<&str>> {
    let members = name.strip_prefix("sentry[")?.strip_suffix(']')?;
    let path: Vec<&str> = members.split("][").collect();
    let is_valid = path.len() <= DEPTH_MAX && path.iter().all(|member| !member.is_empty());
    is_valid.then_some(path)
}

/// Sets one member. Where another value is in the way, it stays.
fn set(event: &mut Map<String, Value>, path: &[&str], value: String) {
    match path {
        [] => {}
        [last] => {
            let present = event.entry(*last).or_insert(Value::Null);
            if present.is_null() {
                *present = value.into();
            }
        }
        [first, rest @ ..] => {
            let inner = event.entry(*first).or_insert(Value::Null);
            if inner.is_null() {
                *inner = json!({});
            }
            if let Value::Object(inner) = inner {
                set(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{envelope::Envelope, minidump::is_minidump};

    fn form(parts: &[(&str, &str)]) -> Vec<u8> {
        let mut body = String::new();
        for (name, content) in parts {
            body.push_str(&format!("--x y\r\nContent-Disposition: form-data; {name}\r\n\r\n{content}\r\n"));
        }
        body.push_str("--x y--\r\n");
        body.into_bytes()
    }

    fn made(parts: &[(&str, &str)]) -> Result<(Value, Vec<String>), Refusal> {
        let body = form(parts);
        let made = envelope_of(&parts_of(&body, "x y")?)?;
        let envelope = Envelope::parse(&made).expect("an envelope");
        let event = serde_json::from_str(envelope.items[0].json().expect("JSON")).expect("an event");
        let files = envelope.items[1..].iter().map(|item| item.headers_raw.to_owned()).collect();
        assert_eq!(envelope.items.iter().filter(|item| is_minidump(item)).count(), 1);
        Ok((event, files))
    }

    const DUMP: (&str, &str) = ("name=\"upload_file_minidump\"; filename=\"a.dmp\"", "MDMP\r\n--x\r\nrest");

    #[test]
    fn form_becomes_an_event_with_its_files() {
        let (event, files) = made(&[
            (
                "name=sentry",
                r#"{"release":"shop@1","tags":{"a":"b"},"event_id":"9EC79C33EC9942AB8353589FCB2E04DC"}"#,
            ),
            ("name=\"sentry[tags][c]\"", "d"),
            ("name=\"sentry[release][x]\"", "in the way"),
            ("name=\"guid\"", "42"),
            ("name=\"log\"; filename=\"log.txt\"", "line"),
            DUMP,
        ])
        .expect("an envelope");
        assert_eq!(event["event_id"], "9ec79c33ec9942ab8353589fcb2e04dc");
        assert_eq!((event["release"].as_str(), event["level"].as_str()), (Some("shop@1"), Some("fatal")));
        assert_eq!(event["tags"], json!({ "a": "b", "c": "d" }));
        assert_eq!(event["extra"], json!({ "guid": "42" }));
        assert_eq!(files.len(), 2);
        assert!(
            files.iter().any(|file| file.contains("log.txt") && file.contains("event.attachment")),
            "{files:?}"
        );
    }

    #[test]
    fn pieces_are_joined_in_their_order() {
        let pieces = [("name=sentry__2", r#"":"shop@2"}"#), ("name=sentry__1", r#"{"release"#), DUMP];
        assert_eq!(made(&pieces).expect("an envelope").0["release"], "shop@2");
        assert_eq!((piece("sentry__10"), piece("sentry___3"), piece("sentry__x")), (Some(10), None, None));
    }

    #[test]
    fn quoted_parameters_may_have_semicolons_and_quotes() {
        let of = |text: &str| (parameter(text, "name"), parameter(text, "filename"));
        let both = |name: &str, file: &str| (Some(name.to_owned()), Some(file.to_owned()));
        assert_eq!(of(r#"form-data; name="a=b"; filename="a;b.txt""#), both("a=b", "a;b.txt"));
        assert_eq!(of(r#"form-data; filename="a;name=x\";.txt"; Name = c"#), both("c", r#"a;name=x";.txt"#));
        assert_eq!(of(r#"form-data; name="\\"; filename=" a\\b ""#), both(r"\", r" a\b "));
        assert_eq!(of(r#"form-data; name="""#), (Some(String::new()), None));
        assert_eq!(parameter(r#"multipart/form-data; boundary="a;b""#, "boundary").as_deref(), Some("a;b"));
        for open in [r#"form-data; name="a; filename=b"#, r#"form-data; name=""#] {
            assert_eq!(of(open).1, None, "{open}");
        }
    }

    #[test]
    fn fields_are_merged_in_their_order() {
        let tags = |parts: &[(&str, &str)]| made(parts).expect("an envelope").0["tags"].clone();
        let member = ("name=\"sentry[tags][b]\"", "1");
        let whole = ("name=sentry", r#"{"tags":{"a":"x","b":"2"}}"#);
        let piece = ("name=sentry__1", r#"{"tags":{"a":"y","d":"z"}}"#);
        assert_eq!(tags(&[member, whole, DUMP]), json!({ "a": "x", "b": "1" }), "the first stays");
        assert_eq!(tags(&[whole, member, DUMP]), json!({ "a": "x", "b": "2" }));
        let other = ("name=sentry", r#"{"tags":{"c":"3"}}"#);
        assert_eq!(tags(&[whole, other, DUMP]), json!({ "a": "x", "b": "2", "c": "3" }));
        assert_eq!(tags(&[piece, whole, DUMP]), json!({ "a": "x", "b": "2", "d": "z" }), "pieces are last");
    }

    #[test]
    fn named_events_and_extra_data_are_merged() {
        let (event, _) = made(&[
            ("name=sentry", r#"{"extra":{"a":1},"release":null}"#),
            ("name=sentry___global", r#"{"release":"shop@3"}"#),
            ("name=prod", "Electron"),
            ("name=a", "2"),
            DUMP,
        ])
        .expect("an envelope");
        assert_eq!(event["release"], "shop@3");
        assert_eq!(event["extra"], json!({ "a": 1, "prod": "Electron" }));
    }

    #[test]
    fn what_is_no_form_with_a_minidump_is_refused() {
        for parts in
            [&[("name=a", "b")][..], &[("name=\"upload_file_minidump\"; filename=\"a\"", "text")], &[]]
        {
            assert!(matches!(made(parts), Err(Refusal::Minidump(_))), "{parts:?}");
        }
        let whole = form(&[DUMP]);
        for length in 0..whole.len() - 4 {
            assert!(parts_of(&whole[..length], "x y").is_err(), "{length}");
        }
        let many = vec![("name=a", "b"); PARTS_MAX + 1];
        assert!(matches!(made(&many), Err(Refusal::Minidump(_))));
        assert!(
            path("sentry[a][]").is_none()
                && path(&format!("sentry{}", "[a]".repeat(DEPTH_MAX + 1))).is_none()
        );
    }
}
