//! Faults of one request: the operator's header, and the signed baggage entry that it becomes.
//!
//! The entry is `<payload>.<signature>`, both in base64url, so no proxy and no baggage parser has to escape it. The payload is
//! `v1;<expires_at_ms>;<id>[,<name>=<value>]…[;<id>…]`. The signature is an HMAC-SHA256 over all of it: neither a fault, nor a
//! value, nor the expiry can be changed. Nothing is secret in it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::{FaultId, UnknownFault, ValueError, Values};

/// Key of the baggage entry.
pub const BAGGAGE_KEY: &str = "pitboss.faults";
/// Header with which an operator asks for a fault in one request.
pub const HEADER: &str = "x-pitboss-fault";

/// Largest length of a baggage entry, and of a header, in bytes.
const BYTES_MAX: usize = 1_024;
/// Prefix of what is signed, so that a signature counts for nothing else that the secret may sign one day.
const PURPOSE: &[u8] = b"pitboss.faults\n";
const VERSION: &str = "v1";

/// Reason why a header asks for no fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The header is longer than any valid one.
    #[error("the fault header is longer than {} bytes", BYTES_MAX)]
    TooLong,
    /// The fault does not exist.
    #[error(transparent)]
    Fault(#[from] UnknownFault),
    /// The fault cannot act on one request, or would act on others, too.
    #[error("`{0}` cannot be limited to one request, but to: {possible}", possible = .0.definition().armed_scopes_text())]
    NotForRequests(FaultId),
    /// A part after the fault is not `param=value`.
    #[error("`{0}` is not `param=value` with a whole number")]
    Param(String),
    /// A parameter is unknown or outside its bounds.
    #[error(transparent)]
    Value(#[from] ValueError),
}

/// Reason why a baggage entry is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EntryError {
    #[error("this process has no secret")]
    NoSecret,
    #[error("the entry is malformed")]
    Malformed,
    #[error("the signature does not match")]
    Signature,
    #[error("the entry has expired")]
    Expired,
}

/// Signs faults for one request until `expires_at_ms`. The text is safe as the value of a baggage entry.
///
/// Without a secret the text is never accepted.
#[must_use]
pub fn sign(faults: &[(FaultId, Vec<(String, i64)>)], expires_at_ms: i64, secret: &[u8]) -> String {
    let mut payload = format!("{VERSION};{expires_at_ms}");
    for (id, values) in faults {
        payload.push(';');
        payload.push_str(id.as_str());
        for (name, value) in values {
            payload.push_str(&format!(",{name}={value}"));
        }
    }
    let signature = keyed(secret, payload.as_bytes()).finalize().into_bytes();
    format!("{}.{}", URL_SAFE_NO_PAD.encode(&payload), URL_SAFE_NO_PAD.encode(signature))
}

/// Parses the header `<id>[;param=value]…` of a request.
///
/// # Errors
/// When the fault or a parameter is unknown, a value is outside its bounds, or no single request can carry the fault.
pub fn parse_header(text: &str) -> Result<(FaultId, Vec<(String, i64)>), HeaderError> {
    if text.len() > BYTES_MAX {
        return Err(HeaderError::TooLong);
    }
    let mut parts = text.split(';').map(str::trim);
    let id: FaultId = parts.next().unwrap_or_default().parse()?;
    if !id.definition().may_be_in_request() {
        return Err(HeaderError::NotForRequests(id));
    }
    let mut values = Vec::new();
    for part in parts {
        let (name, value) = assignment(part).ok_or_else(|| HeaderError::Param(part.to_owned()))?;
        values.push((name.to_owned(), value));
    }
    Values::new(id, values.iter().map(|(name, value)| (name, *value)))?;
    Ok((id, values))
}

/// The values of one fault in a baggage entry, or None if the entry does not contain it.
pub(crate) fn verify(
    entry: &str,
    wanted: FaultId,
    secret: &[u8],
    now_ms: i64,
) -> Result<Option<Values>, EntryError> {
    if secret.is_empty() {
        return Err(EntryError::NoSecret);
    }
    if entry.len() > BYTES_MAX {
        return Err(EntryError::Malformed);
    }
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| EntryError::Malformed);
    let (payload, signature) = entry.split_once('.').ok_or(EntryError::Malformed)?;
    let (payload, signature) = (decode(payload)?, decode(signature)?);
    // In constant time. Nothing of the payload is read before.
    keyed(secret, &payload).verify_slice(&signature).map_err(|_| EntryError::Signature)?;
    let payload = std::str::from_utf8(&payload).map_err(|_| EntryError::Malformed)?;
    let mut parts = payload.split(';');
    if parts.next() != Some(VERSION) {
        return Err(EntryError::Malformed);
    }
    let expires_at_ms: i64 = parts.next().and_then(|text| text.parse().ok()).ok_or(EntryError::Malformed)?;
    if now_ms >= expires_at_ms {
        return Err(EntryError::Expired);
    }
    for fault in parts {
        let mut fields = fault.split(',');
        if fields.next() == Some(wanted.as_str()) {
            let values: Option<Vec<(&str, i64)>> = fields.map(assignment).collect();
            let values = values.ok_or(EntryError::Malformed)?;
            return Values::new(wanted, values).map(Some).map_err(|_| EntryError::Malformed);
        }
    }
    Ok(None)
}

fn assignment(text: &str) -> Option<(&str, i64)> {
    let (name, value) = text.split_once('=')?;
    Some((name.trim(), value.trim().parse().ok()?))
}

fn keyed(secret: &[u8], payload: &[u8]) -> Hmac<Sha256> {
    let mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.chain_update(PURPOSE).chain_update(payload)
}

#[cfg(test)]
mod tests;
