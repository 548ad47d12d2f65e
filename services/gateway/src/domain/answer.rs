//! The final answer to a command, as it is sent, cached and repeated.

use bytes::Bytes;
use contracts::ids::RequestHash;
use serde::Serialize;

/// Result of a command for the client that sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The command was decided, perhaps with a business rejection. These bytes are the body.
    Result(Bytes),
    /// The key was used before for another request. This request had no effect.
    Conflict,
}

impl Answer {
    /// Builds a result with this body.
    pub(crate) fn result<B: Serialize>(body: &B) -> Self {
        Self::Result(json_bytes(body))
    }
}

/// Serialises a body. Structs of strings and integers always serialise. An empty body would fail every test.
pub(crate) fn json_bytes<B: Serialize>(body: &B) -> Bytes {
    serde_json::to_vec(body).map(Bytes::from).unwrap_or_default()
}

/// A cached result, bound to the request that it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CachedReply {
    pub(crate) request_hash: String,
    pub(crate) body: Bytes,
}

impl CachedReply {
    pub(crate) fn new(request_hash: &RequestHash, body: Bytes) -> Self {
        Self { request_hash: request_hash.to_string(), body }
    }

    /// False when the cached result answers another request with the same key.
    pub(crate) fn matches(&self, request_hash: &RequestHash) -> bool {
        self.request_hash == request_hash.to_string()
    }

    /// Joins the hash, a line feed and the body. Nothing is re-encoded, so the body keeps its bytes.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        [self.request_hash.as_bytes(), b"\n", &self.body].concat()
    }

    /// Returns `None` for bytes in any other form, because the cache's content is not trusted.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let split = bytes.iter().position(|byte| *byte == b'\n')?;
        let (hash, body) = (bytes.get(..split)?, bytes.get(split + 1..)?);
        let request_hash = std::str::from_utf8(hash).ok()?.to_owned();
        if request_hash.is_empty() || body.is_empty() {
            return None;
        }
        Some(Self { request_hash, body: Bytes::copy_from_slice(body) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn reply_survives_encoding(hash in "[0-9a-f]{64}", body in proptest::collection::vec(any::<u8>(), 1..200)) {
            let reply = CachedReply { request_hash: hash, body: Bytes::from(body) };
            prop_assert_eq!(CachedReply::from_bytes(&reply.to_bytes()), Some(reply));
        }

        #[test]
        fn malformed_bytes_are_rejected(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(reply) = CachedReply::from_bytes(&bytes) {
                prop_assert_eq!(reply.to_bytes(), bytes);
            }
        }
    }
}
