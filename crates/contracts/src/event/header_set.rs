//! The headers of a record: counted, measured, and the ones we know picked out.

use bytes::Bytes;

use crate::decode_error::DecodeError;
use crate::headers;
use crate::json::printable;

/// The CloudEvents headers and the content type, as text.
#[derive(Debug, Default)]
pub(super) struct HeaderSet<'a> {
    pub(super) id: Option<&'a str>,
    pub(super) event_type: Option<&'a str>,
    pub(super) source: Option<&'a str>,
    pub(super) time: Option<&'a str>,
    pub(super) subject: Option<&'a str>,
    pub(super) spec_version: Option<&'a str>,
    pub(super) causation_id: Option<&'a str>,
    pub(super) request_hash: Option<&'a str>,
    pub(super) content_type: Option<&'a str>,
}

impl<'a> HeaderSet<'a> {
    /// Reads them all. Headers of others (trace context, dead letters, unknown extensions) are none of our business.
    pub(super) fn read(pairs: &'a [(String, Bytes)]) -> Result<Self, DecodeError> {
        check_sizes(pairs)?;
        let mut set = Self::default();
        for (name, value) in pairs {
            if let Some((known, slot)) = set.slot(name) {
                let text = std::str::from_utf8(value)
                    .map_err(|_| DecodeError::Header { name: known, problem: "is not UTF-8" })?;
                if text.is_empty() {
                    return Err(DecodeError::Header { name: known, problem: "is empty" });
                }
                if slot.replace(text).is_some() {
                    return Err(DecodeError::DuplicateHeader { name: known.to_owned() });
                }
            }
        }
        Ok(set)
    }

    /// Whether any attribute came in a header other than the identity, which retried records get added.
    pub(super) fn has_attributes_beside_id(&self) -> bool {
        let others = [
            self.event_type,
            self.source,
            self.time,
            self.subject,
            self.spec_version,
            self.causation_id,
            self.request_hash,
        ];
        others.iter().any(Option::is_some)
    }

    /// The content type without its parameters.
    pub(super) fn media_type(&self) -> Option<String> {
        let media_type = self.content_type?.split(';').next()?;
        Some(media_type.trim().to_ascii_lowercase())
    }

    fn slot(&mut self, name: &str) -> Option<(&'static str, &mut Option<&'a str>)> {
        match name {
            headers::CE_ID => Some((headers::CE_ID, &mut self.id)),
            headers::CE_TYPE => Some((headers::CE_TYPE, &mut self.event_type)),
            headers::CE_SOURCE => Some((headers::CE_SOURCE, &mut self.source)),
            headers::CE_TIME => Some((headers::CE_TIME, &mut self.time)),
            headers::CE_SUBJECT => Some((headers::CE_SUBJECT, &mut self.subject)),
            headers::CE_SPECVERSION => Some((headers::CE_SPECVERSION, &mut self.spec_version)),
            headers::CE_CAUSATIONID => Some((headers::CE_CAUSATIONID, &mut self.causation_id)),
            headers::CE_REQUESTHASH => Some((headers::CE_REQUESTHASH, &mut self.request_hash)),
            headers::CONTENT_TYPE => Some((headers::CONTENT_TYPE, &mut self.content_type)),
            _ => None,
        }
    }
}

fn check_sizes(pairs: &[(String, Bytes)]) -> Result<(), DecodeError> {
    if pairs.len() > headers::COUNT_MAX {
        return Err(DecodeError::TooManyHeaders { count: pairs.len() });
    }
    let mut total_bytes = 0_usize;
    for (name, value) in pairs {
        total_bytes = total_bytes.saturating_add(name.len()).saturating_add(value.len());
        let too_large = name.len() > headers::NAME_BYTES_MAX
            || value.len() > headers::VALUE_BYTES_MAX
            || total_bytes > headers::TOTAL_BYTES_MAX;
        if too_large {
            return Err(DecodeError::HeaderTooLarge { name: printable(name) });
        }
    }
    Ok(())
}
