//! Records of an export, as both formats have them.

use std::borrow::Cow;

use serde::Serialize;

/// Largest number of attributes of one resource, scope, span or log record, and of entries of one list. An SDK keeps 128.
pub(super) const ATTRIBUTES_MAX: usize = 512;
/// Largest number of links of one span. An SDK keeps 128.
pub(super) const LINKS_MAX: usize = 512;

/// Value of an attribute. A list or a map is the text of its JSON, as in Sentry.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Value<'a> {
    /// A text, or bytes that are one.
    Text(Cow<'a, str>),
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A finite number.
    Double(f64),
}

impl Value<'_> {
    /// Returns a number. JSON has no form for one that is not finite.
    pub(super) fn double(number: f64) -> Option<Self> {
        number.is_finite().then_some(Self::Double(number))
    }

    /// Returns a list or a map of scalars.
    pub(super) fn json(entries: &impl Serialize) -> Option<Self> {
        serde_json::to_string(entries).ok().map(|json| Self::Text(json.into()))
    }

    /// Returns the text.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Bool(_) | Self::Int(_) | Self::Double(_) => None,
        }
    }

    /// Returns the text, or that of the JSON of another value.
    pub(super) fn shown(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(text) => Some(Cow::Borrowed(&**text)),
            Self::Bool(_) | Self::Int(_) | Self::Double(_) => {
                serde_json::to_string(self).ok().map(Cow::Owned)
            }
        }
    }
}

/// Name and value of an attribute.
pub(super) type Attribute<'a> = (Cow<'a, str>, Value<'a>);

/// Attributes in the order of the export.
pub(super) type Attributes<'a> = Vec<Attribute<'a>>;

/// Returns the value of an attribute. The last of two with the same name counts.
pub(super) fn find<'r, 'a>(attributes: &'r [Attribute<'a>], name: &str) -> Option<&'r Value<'a>> {
    attributes.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value)
}

/// Attributes of a resource or scope with the names that they have in each record.
#[derive(Debug, Default)]
pub(super) struct Shared<'a>(pub(super) Vec<(String, Value<'a>)>);

impl<'a> Shared<'a> {
    /// Returns the attributes of a resource.
    pub(super) fn of_resource(attributes: Attributes<'a>) -> Self {
        Self::with_prefix("resource.", attributes)
    }

    /// Returns the attributes, the name and the version of an instrumentation scope.
    pub(super) fn of_scope(attributes: Attributes<'a>, name: Cow<'a, str>, version: Cow<'a, str>) -> Self {
        let mut shared = Self::with_prefix("instrumentation.", attributes);
        for (field, text) in [("instrumentation.name", name), ("instrumentation.version", version)] {
            if !text.is_empty() {
                shared.0.push((field.to_owned(), Value::Text(text)));
            }
        }
        shared
    }

    fn with_prefix(prefix: &str, attributes: Attributes<'a>) -> Self {
        Self(attributes.into_iter().map(|(name, value)| (format!("{prefix}{name}"), value)).collect())
    }

    /// Returns the text of an attribute.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(known, _)| known == name).and_then(|(_, value)| value.text())
    }
}

/// Resource and scope of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'r, 'a> {
    pub(super) resource: &'r Shared<'a>,
    pub(super) scope: &'r Shared<'a>,
}

/// A span.
#[derive(Debug, Default)]
pub(super) struct Span<'a> {
    pub(super) trace_id: Option<[u8; 16]>,
    pub(super) span_id: Option<[u8; 8]>,
    pub(super) parent_span_id: Option<[u8; 8]>,
    pub(super) name: Cow<'a, str>,
    pub(super) kind: u64,
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
    pub(super) attributes: Attributes<'a>,
    pub(super) links: Vec<Link<'a>>,
    pub(super) status_code: u64,
    pub(super) status_message: Cow<'a, str>,
    pub(super) flags: u32,
}

/// A link to another span.
#[derive(Debug, Default)]
pub(super) struct Link<'a> {
    pub(super) trace_id: Option<[u8; 16]>,
    pub(super) span_id: Option<[u8; 8]>,
    pub(super) attributes: Attributes<'a>,
    pub(super) flags: u32,
}

/// A log record.
#[derive(Debug, Default)]
pub(super) struct LogRecord<'a> {
    pub(super) trace_id: Option<[u8; 16]>,
    pub(super) span_id: Option<[u8; 8]>,
    pub(super) time_ns: u64,
    pub(super) observed_ns: u64,
    pub(super) severity_number: u64,
    pub(super) severity_text: Cow<'a, str>,
    pub(super) body: Option<Value<'a>>,
    pub(super) attributes: Attributes<'a>,
}

/// Returns an id of this length. One of zeros is not valid.
pub(super) fn id<const LENGTH: usize>(bytes: &[u8]) -> Option<[u8; LENGTH]> {
    <[u8; LENGTH]>::try_from(bytes).ok().filter(|id| *id != [0; LENGTH])
}

/// Returns seconds since the epoch. 0 means that the time is not known. A float holds microseconds exactly, but not nanoseconds.
pub(super) fn seconds(nanos: u64) -> Option<f64> {
    (nanos > 0).then_some((nanos / 1_000) as f64 / 1e6)
}
