//! The JSON object of a CloudEvent in structured mode, with any extensions that its producer added.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::json::UniqueNames;

/// The attributes that the decoder reads, and the data. Null means "not set". Other names are extensions and ignored.
#[derive(Debug, Default)]
pub(super) struct Envelope {
    pub(super) event_type: Option<String>,
    pub(super) id: Option<String>,
    pub(super) source: Option<String>,
    pub(super) time: Option<String>,
    pub(super) subject: Option<String>,
    pub(super) specversion: Option<String>,
    pub(super) datacontenttype: Option<String>,
    pub(super) causationid: Option<String>,
    pub(super) requesthash: Option<String>,
    pub(super) data: Option<Box<RawValue>>,
    pub(super) data_base64: Option<String>,
    pub(super) traceparent: Option<String>,
    pub(super) tracestate: Option<String>,
    /// A known name in another letter case. `ID` would count as an extension, and the event would have no id.
    pub(super) miscased: Option<&'static str>,
}

/// Known names that are refused in another letter case: all fields above but the trace.
const NAMES: [&str; 11] = [
    "type",
    "id",
    "source",
    "time",
    "subject",
    "specversion",
    "datacontenttype",
    "causationid",
    "requesthash",
    "data",
    "data_base64",
];

impl Envelope {
    /// The field for a text attribute.
    fn slot(&mut self, name: &str) -> Option<&mut Option<String>> {
        Some(match name {
            "type" => &mut self.event_type,
            "id" => &mut self.id,
            "source" => &mut self.source,
            "time" => &mut self.time,
            "subject" => &mut self.subject,
            "specversion" => &mut self.specversion,
            "datacontenttype" => &mut self.datacontenttype,
            "causationid" => &mut self.causationid,
            "requesthash" => &mut self.requesthash,
            "data_base64" => &mut self.data_base64,
            _ => return None,
        })
    }

    fn take<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        if let Some(slot) = self.slot(name) {
            *slot = map.next_value()?;
            return Ok(());
        }
        match name {
            "data" => {
                let data: Box<RawValue> = map.next_value()?;
                self.data = Some(data).filter(|data| data.get() != "null");
            }
            "traceparent" => self.traceparent = text_or_nothing(map)?,
            "tracestate" => self.tracestate = text_or_nothing(map)?,
            _ => {
                map.next_value_seed(UniqueNames::Written)?;
                let miscased = NAMES.into_iter().find(|known| known.eq_ignore_ascii_case(name));
                self.miscased = self.miscased.or(miscased);
            }
        }
        Ok(())
    }
}

/// Reads a trace attribute. A value that is not text counts as absent and never refuses the event.
fn text_or_nothing<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<String>, A::Error> {
    let value: Box<RawValue> = map.next_value()?;
    Ok(serde_json::from_str(value.get()).ok())
}

impl<'de> Deserialize<'de> for Envelope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Envelope;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a CloudEvent")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Envelope, A::Error> {
                let mut envelope = Envelope::default();
                let mut seen = HashSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    // Two readers that choose different values of a duplicate name would be a security hole, so it is refused.
                    if seen.contains(&name) {
                        return Err(Error::custom(format_args!("duplicate field `{name}`")));
                    }
                    envelope.take(&name, &mut map)?;
                    seen.insert(name);
                }
                Ok(envelope)
            }
        }

        deserializer.deserialize_map(Fields)
    }
}
