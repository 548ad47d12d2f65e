//! Builds the envelope for a real Sentry: it leaves out limited items and replaces the keys in the header by the target's. An
//! export of OpenTelemetry, which has no keys, is passed on as received.

use std::{
    collections::HashMap,
    io::{self, Write},
    sync::Arc,
};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Map, Value};
use telemetry::Category;

use super::{targets::Target, volume::Volume};
use crate::{
    body::{self, BodyError},
    journal::{BodyKind, Encoding},
    projects::Projects,
    protocol::{
        envelope::{Envelope, EnvelopeError},
        strict::strict_text,
    },
};

/// Error when no copy can be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum CopyError {
    /// The body cannot be opened.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The body is not an envelope. Such a body is never stored.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The header is not JSON. Such a body is never stored.
    #[error("the envelope's header is not JSON: {0}")]
    Header(#[from] serde_json::Error),
    /// The copy could not be written to memory.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A small body was taken for one that does not fit into memory.
    #[error("the body fits into memory")]
    NotLarge,
}

impl CopyError {
    /// Returns true when the body does not fit into memory.
    pub(super) fn is_too_large(&self) -> bool {
        matches!(self, Self::Body(BodyError::TooLarge { .. }))
    }
}

/// Keys of our projects, each with the key of the same project at the target.
#[derive(Clone, Debug)]
pub(super) struct Keys(Arc<HashMap<String, Option<String>>>);

impl Keys {
    pub(super) fn new(projects: &Projects, targets: &[Target]) -> Self {
        let theirs =
            |id: u32| targets.iter().find(|target| target.project == id).map(|target| target.dsn.key.clone());
        Self(Arc::new(
            projects.all().map(|project| (project.public_key.clone(), theirs(project.id))).collect(),
        ))
    }

    /// Keys that stay as they are, for a target without keys of its own.
    pub(super) fn unchanged() -> Self {
        Self(Arc::default())
    }

    /// Returns the target's key for the project where a trace began. Sentry samples a trace by that project's rules, so
    /// every envelope of the trace must have the same key. Returns `None` for an unknown key, which stays because the trace
    /// began outside Pitboss. `own` stands in for one of our projects that has no target.
    fn key_of_root(&self, ours: &str, own: &str) -> Option<String> {
        self.0.get(ours).map(|theirs| theirs.clone().unwrap_or_else(|| own.to_owned()))
    }
}

/// Result of making a copy.
#[derive(Debug)]
pub(super) struct Prepared {
    /// Compressed envelope, or the export as received. `None` when rate limits leave nothing to send.
    pub(super) body: Option<Vec<u8>>,
    /// Volumes of the items in the copy.
    pub(super) sent: Vec<Volume>,
    /// Volumes of the omitted items.
    pub(super) left_out: Vec<Volume>,
    /// Number of omitted items.
    pub(super) left_out_items: u64,
}

/// Parameters of a copy.
pub(super) struct Options<'a> {
    /// Key of the project at the target.
    pub(super) key: &'a str,
    pub(super) keys: &'a Keys,
    /// Largest decompressed envelope.
    pub(super) bytes_max: usize,
    /// Returns true when a category is limited now. `None` stands for items without a category, such as client reports.
    pub(super) is_limited: &'a dyn Fn(Option<Category>) -> bool,
    /// Client report to add to the envelope.
    pub(super) report: Option<Vec<u8>>,
}

/// Decision about each item of an envelope.
#[derive(Debug, Default)]
pub(super) struct Selection {
    /// Whether each item is sent.
    pub(super) kept: Vec<bool>,
    /// Volumes of the items that are sent.
    pub(super) sent: Vec<Volume>,
    /// Volumes of the omitted items.
    pub(super) left_out: Vec<Volume>,
    /// Number of omitted items.
    pub(super) left_out_items: u64,
    /// True when rate limits leave nothing to send.
    pub(super) is_empty: bool,
}

impl Selection {
    /// Leaves out the items whose category is limited now.
    pub(super) fn of(envelope: &Envelope<'_>, options: &Options<'_>) -> Self {
        let mut selection = Self::default();
        for item in &envelope.items {
            let volumes = Volume::of_item(item);
            let is_limited = (options.is_limited)(volumes.first().map(|volume| volume.category));
            selection.kept.push(!is_limited);
            if is_limited {
                selection.left_out.extend(volumes);
                selection.left_out_items += 1;
            } else {
                selection.sent.extend(volumes);
            }
        }
        let has_items = selection.kept.contains(&true);
        selection.is_empty = !has_items && (selection.left_out_items > 0 || (options.is_limited)(None));
        selection
    }
}

/// Builds the envelope for the target, which would refuse one of our DSNs or keys in the header.
pub(super) fn for_target(
    kind: BodyKind,
    encoding: Encoding,
    body: &[u8],
    options: Options<'_>,
) -> Result<Prepared, CopyError> {
    let plain = body::plain(kind, encoding, body, options.bytes_max)?;
    let envelope = Envelope::parse(&plain)?;
    let Selection { kept, sent, left_out, left_out_items, is_empty } = Selection::of(&envelope, &options);
    let body = match kind.otlp() {
        _ if is_empty => None,
        // All its spans or logs have one category, so it is sent as a whole.
        Some(_) => Some(body.to_vec()),
        None => Some(kept_items(&envelope, &kept, &options)?),
    };
    Ok(Prepared { body, sent, left_out, left_out_items })
}

/// Writes the header for the target and the items that are kept.
fn kept_items(envelope: &Envelope<'_>, kept: &[bool], options: &Options<'_>) -> Result<Vec<u8>, CopyError> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    serde_json::to_writer(&mut out, &header(envelope, options)?)?;
    out.write_all(b"\n")?;
    for (item, _) in envelope.items.iter().zip(kept).filter(|(_, kept)| **kept) {
        for piece in [item.headers_raw.as_bytes(), b"\n", item.payload, b"\n"] {
            out.write_all(piece)?;
        }
    }
    if let Some(report) = &options.report {
        out.write_all(report)?;
    }
    Ok(out.finish()?)
}

/// Returns the envelope's header with the target's keys.
pub(super) fn header(
    envelope: &Envelope<'_>,
    options: &Options<'_>,
) -> Result<Map<String, Value>, serde_json::Error> {
    let mut header: Map<String, Value> = serde_json::from_str(&strict_text(envelope.headers_raw))?;
    header.remove("dsn");
    if let Some(key) = header.get_mut("trace").and_then(|trace| trace.get_mut("public_key"))
        && let Some(theirs) = key.as_str().and_then(|ours| options.keys.key_of_root(ours, options.key))
    {
        *key = theirs.into();
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{projects::Project, protocol::auth::Dsn};

    fn keys() -> Keys {
        let project =
            |id: u32, name: &str, key: &str| Project { id, name: name.into(), public_key: key.into() };
        let projects = vec![
            project(1, "gateway", "ourgateway"),
            project(2, "game", "ourgame"),
            project(3, "user", "ouruser"),
        ];
        let target = |project: u32, dsn: &str| Target {
            project,
            name: String::new(),
            dsn: Dsn::parse(dsn).expect("a DSN"),
        };
        let targets = [target(1, "https://theirgateway@x/11"), target(2, "https://theirgame@x/12")];
        Keys::new(&Projects::new(projects).expect("projects"), &targets)
    }

    fn copied(envelope: &[u8], limited: &[Category], report: Option<Vec<u8>>) -> (Option<String>, Prepared) {
        // No limit names client reports. Only a limit on everything holds them back, as in Sentry's own SDKs.
        let is_limited = |category: Option<Category>| match category {
            Some(category) => limited.contains(&category),
            None => limited.len() == Category::ALL.len(),
        };
        let options =
            Options { key: "theirgame", keys: &keys(), bytes_max: 10_000, is_limited: &is_limited, report };
        let made = for_target(BodyKind::Envelope, Encoding::Identity, envelope, options).expect("a copy");
        let text = made.body.as_ref().map(|body| {
            let plain = body::plain(BodyKind::Envelope, Encoding::Gzip, body, 10_000).expect("gzip");
            String::from_utf8(plain.into_owned()).expect("text")
        });
        (text, made)
    }

    #[test]
    fn trace_key_is_replaced_by_the_targets_key() {
        for (ours, theirs) in [
            ("ourgateway", "theirgateway"),
            ("ourgame", "theirgame"),
            ("ouruser", "theirgame"),
            ("foreignkey", "foreignkey"),
        ] {
            let envelope = format!(
                "{{\"dsn\":\"http://{ours}@localhost/1\",\"trace\":{{\"public_key\":\"{ours}\",\"sampled\":\"true\"}}}}\n{{\"type\":\"x\"}}\nany {ours} payload\n"
            );
            let expected = format!(
                "{{\"trace\":{{\"public_key\":\"{theirs}\",\"sampled\":\"true\"}}}}\n{{\"type\":\"x\"}}\nany {ours} payload\n"
            );
            assert_eq!(copied(envelope.as_bytes(), &[], None).0, Some(expected));
        }
    }

    #[test]
    fn limited_items_are_omitted_from_a_copy() {
        let envelope = b"{}\n{\"type\":\"event\"}\n{\"message\":\"x\"}\n{\"type\":\"attachment\",\"length\":3}\na\nb\n{\"type\":\"client_report\"}\n{}\n";
        let (text, made) = copied(envelope, &[Category::Error], Some(b"{\"type\":\"r\"}\n1\n".to_vec()));
        assert_eq!(
            text.as_deref(),
            Some(
                "{}\n{\"type\":\"attachment\",\"length\":3}\na\nb\n{\"type\":\"client_report\"}\n{}\n{\"type\":\"r\"}\n1\n"
            )
        );
        let volume = |category, quantity| Volume { category, quantity };
        assert_eq!((made.left_out, made.left_out_items), (vec![volume(Category::Error, 1)], 1));
        assert_eq!(made.sent, [volume(Category::Attachment, 3)]);
        let only = b"{}\n{\"type\":\"transaction\"}\n{\"spans\":[{},{}]}\n";
        let (text, made) = copied(only, &[Category::Transaction], None);
        assert_eq!(text, None, "nothing is left to send");
        assert_eq!(made.left_out, [volume(Category::Transaction, 1), volume(Category::Span, 3)]);
    }

    #[test]
    fn several_limited_categories_are_omitted() {
        let envelope = b"{}\n{\"type\":\"check_in\"}\n{}\n{\"type\":\"event\"}\n{}\n{\"type\":\"attachment\",\"length\":3}\nabc\n{\"type\":\"log\"}\n{\"items\":[{}]}\n";
        let limited = [Category::Monitor, Category::Attachment, Category::LogItem];
        let (text, made) = copied(envelope, &limited, None);
        assert_eq!(text.as_deref(), Some("{}\n{\"type\":\"event\"}\n{}\n"));
        let volume = |category, quantity| Volume { category, quantity };
        let left_out = [
            volume(Category::Monitor, 1),
            volume(Category::Attachment, 3),
            volume(Category::LogItem, 1),
            volume(Category::LogByte, 14),
        ];
        assert_eq!((made.left_out.as_slice(), made.left_out_items), (&left_out[..], 3));
        assert_eq!(made.sent, [volume(Category::Error, 1)]);
    }

    #[test]
    fn global_limit_alone_omits_client_reports() {
        let envelope = b"{}\n{\"type\":\"client_report\"}\n{}\n";
        let (text, made) = copied(envelope, &[Category::Default, Category::Error], None);
        assert_eq!(
            (text.as_deref(), made.left_out_items),
            (Some("{}\n{\"type\":\"client_report\"}\n{}\n"), 0)
        );
        let (text, made) = copied(envelope, Category::ALL, Some(b"{\"type\":\"r\"}\n1\n".to_vec()));
        assert_eq!((text, made.left_out_items, made.left_out.as_slice()), (None, 1, &[][..]));
    }
}
