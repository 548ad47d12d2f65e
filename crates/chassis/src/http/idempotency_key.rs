//! Reads `Idempotency-Key`, the client's id for one write, which makes it safe to repeat the write.
//!
//! It guarantees that one request has one key, in whatever form it is written. Quotes are syntax (a structured string,
//! draft-ietf-httpapi-idempotency-key-header), so `"k1"` is `k1`. The same value twice, on two lines or in a list, is one key.
//! Two values are refused, because using either of them would let the same write take effect twice.

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use http::{HeaderMap, StatusCode, request::Parts};

use crate::problem::Problem;

/// The header's name.
pub const IDEMPOTENCY_KEY_HEADER: &str = "idempotency-key";
/// Long enough for any UUID or hash, and equal to the limit of an event id.
const KEY_BYTES_MAX: usize = 128;

/// A checked key: 1 to 128 visible ASCII characters without quotes, backslashes and commas.
///
/// A route with an argument of this type requires a key. With an `Option` of it the key is optional.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

/// Reason why the header is not a valid key. The value is not repeated, because it comes from an untrusted client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The header is missing but required.
    #[error("the header is missing: choose a key, and send the same key when you repeat the request")]
    Missing,
    /// The value is empty.
    #[error("the key is empty")]
    Empty,
    /// The value is longer than 128 bytes.
    #[error("the key is longer than {KEY_BYTES_MAX} bytes")]
    TooLong,
    /// The value has spaces, control characters, quotes, backslashes, commas, or characters beyond ASCII.
    #[error("a key is visible ASCII without inner quotes, backslashes and commas")]
    Alphabet,
    /// There are two different values.
    #[error("the request has several different keys")]
    Several,
}

impl IdempotencyKey {
    /// The key of a request, if it has one.
    ///
    /// # Errors
    /// When the value is not a valid key, or when there are several values.
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>, KeyError> {
        let mut found: Option<&str> = None;
        for line in headers.get_all(IDEMPOTENCY_KEY_HEADER) {
            let line = line.to_str().map_err(|_| KeyError::Alphabet)?;
            // No valid key has a comma, quoted or not, so splitting can ignore the quotes.
            for member in line.split(',') {
                let key = unquoted(member.trim_matches([' ', '\t']))?;
                if found.is_some_and(|known| known != key) {
                    return Err(KeyError::Several);
                }
                found = Some(key);
            }
        }
        Ok(found.map(|key| Self(key.to_owned())))
    }

    /// The key without quotes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn unquoted(value: &str) -> Result<&str, KeyError> {
    let key = match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').ok_or(KeyError::Alphabet)?,
        None => value,
    };
    if key.is_empty() {
        return Err(KeyError::Empty);
    }
    if key.len() > KEY_BYTES_MAX {
        return Err(KeyError::TooLong);
    }
    if !key.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b',')) {
        return Err(KeyError::Alphabet);
    }
    Ok(key)
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        let title = "Missing or invalid Idempotency-Key";
        Self::new(StatusCode::BAD_REQUEST, "idempotency-key", title).detail(error.to_string())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Ok(Self::of(&parts.headers)?.ok_or(KeyError::Missing)?)
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>, Problem> {
        Ok(Self::of(&parts.headers)?)
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn key_of(lines: &[&[u8]]) -> Result<Option<String>, KeyError> {
        let headers: HeaderMap = lines
            .iter()
            .map(|line| {
                let value = HeaderValue::from_bytes(line).expect("a header's value");
                (HeaderName::from_static(IDEMPOTENCY_KEY_HEADER), value)
            })
            .fold(HeaderMap::new(), |mut all, (name, value)| {
                all.append(name, value);
                all
            });
        IdempotencyKey::of(&headers).map(|key| key.map(|key| key.as_str().to_owned()))
    }

    #[test]
    fn every_form_gives_the_same_key() {
        let forms: [&[&[u8]]; 7] = [
            &[b"k1"],
            &[b"\"k1\""],
            &[b" \"k1\"\t"],
            &[b"k1", b"k1"],
            &[b"k1", b"\"k1\""],
            &[b"k1,k1"],
            &[b"k1 , \"k1\"", b"k1"],
        ];
        for lines in forms {
            assert_eq!(key_of(lines), Ok(Some("k1".to_owned())), "{lines:?}");
        }
        assert_eq!(key_of(&[]), Ok(None));
    }

    #[test]
    fn different_values_are_refused() {
        let forms: [&[&[u8]]; 4] = [&[b"k1", b"k2"], &[b"k1,k2"], &[b"\"k1\", \"k2\""], &[b"k1", b"K1"]];
        for lines in forms {
            assert_eq!(key_of(lines), Err(KeyError::Several), "{lines:?}");
        }
    }

    #[test]
    fn key_length_and_characters_are_checked() {
        let longest = [b'x'; KEY_BYTES_MAX];
        assert!(key_of(&[&longest]).is_ok());
        let quoted = [b"\"".as_slice(), &longest, b"\""].concat();
        assert_eq!(key_of(&[&quoted]), key_of(&[&longest]), "quotes do not count");
        assert_eq!(key_of(&[&[b'x'; KEY_BYTES_MAX + 1]]), Err(KeyError::TooLong));
        for empty in [&b""[..], b"\"\"", b",", b"k1,", b" "] {
            assert_eq!(key_of(&[empty]), Err(KeyError::Empty), "{empty:?}");
        }
        for invalid in [
            &b"a b"[..],
            b"a\tb",
            "gr\u{fc}n".as_bytes(),
            b"\"k1",
            b"k1\"",
            b"\"",
            b"a\\b",
            b"\"a\\\"b\"",
            b"\"a,b\"",
        ] {
            assert_eq!(key_of(&[invalid]), Err(KeyError::Alphabet), "{invalid:?}");
        }
    }
}
