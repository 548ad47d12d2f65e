//! The key with which a client names one write, so that repeating it is safe.

/// Long enough for any UUID or hash.
const KEY_BYTES_MAX: usize = 128;

/// A checked `Idempotency-Key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Visible ASCII, 1 to 128 bytes; the text says what is wrong otherwise.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        if bytes.is_empty() {
            return Err("Idempotency-Key is empty");
        }
        if bytes.len() > KEY_BYTES_MAX {
            return Err("Idempotency-Key is longer than 128 bytes");
        }
        if !bytes.iter().all(u8::is_ascii_graphic) {
            return Err("Idempotency-Key may hold visible ASCII only");
        }
        String::from_utf8(bytes.to_vec()).map(Self).map_err(|_| "Idempotency-Key may hold visible ASCII only")
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_bounded_and_visible() {
        assert!(IdempotencyKey::parse(b"6f1c8b1e-spin-1").is_ok());
        for bad in [&b""[..], b"a b", b"a\tb", "grün".as_bytes(), &[b'x'; 129]] {
            assert!(IdempotencyKey::parse(bad).is_err(), "{bad:?}");
        }
    }
}
