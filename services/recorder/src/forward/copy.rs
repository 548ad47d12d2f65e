//! What a real Sentry is sent: the same items under a header that names its own key.

use std::io::{self, Write};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Map, Value};

use crate::{
    body::{self, BodyError},
    journal::{BodyKind, Encoding},
};

/// Why no copy could be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum CopyError {
    /// The body cannot be opened.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The header is not JSON; such a body was never kept.
    #[error("the envelope's header: {0}")]
    Header(#[from] serde_json::Error),
    /// Memory could not be written to.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The envelope for the target, compressed. A DSN or key of ours in the header would be refused over there.
pub(super) fn for_target(
    kind: BodyKind,
    encoding: Encoding,
    body: &[u8],
    key: &str,
    limit: usize,
) -> Result<Vec<u8>, CopyError> {
    let plain = body::open(kind, encoding, body, limit)?;
    let end = plain.iter().position(|byte| *byte == b'\n').unwrap_or(plain.len());
    let (header, items) = plain.split_at(end);
    let mut header: Map<String, Value> = serde_json::from_slice(header)?;
    header.remove("dsn");
    if let Some(own) = header.get_mut("trace").and_then(|trace| trace.get_mut("public_key")) {
        *own = key.into();
    }
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    serde_json::to_writer(&mut out, &header)?;
    out.write_all(items)?;
    Ok(out.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_header_changes() {
        let envelope = b"{\"dsn\":\"http://ours@localhost/1\",\"trace\":{\"public_key\":\"ours\",\"sampled\":\"true\"}}\n{\"type\":\"x\"}\nany ours payload\n";
        let copy =
            for_target(BodyKind::Envelope, Encoding::Identity, envelope, "theirs", 1000).expect("a copy");
        let copy = body::open(BodyKind::Envelope, Encoding::Gzip, &copy, 1000).expect("gzip");
        let expected = b"{\"trace\":{\"public_key\":\"theirs\",\"sampled\":\"true\"}}\n{\"type\":\"x\"}\nany ours payload\n";
        assert_eq!(String::from_utf8_lossy(&copy), String::from_utf8_lossy(expected));
    }
}
