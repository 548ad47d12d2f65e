//! An item of an envelope. Its header comes before its body and contains the body's length, so the header is written last.

/// An item whose body is being written.
#[derive(Debug)]
pub(super) struct OpenItem {
    item_at: usize,
    body_at: usize,
}

impl OpenItem {
    /// Reserves this many bytes for the header. The body is written to `out` after it.
    pub(super) fn begin(out: &mut Vec<u8>, header_bytes: usize) -> Self {
        let item_at = out.len();
        out.resize(item_at + header_bytes, b' ');
        Self { item_at, body_at: out.len() }
    }

    /// Ends the body, and writes the header that `header` makes of the body's length. It must be shorter than the reserved bytes.
    pub(super) fn end(self, out: &mut Vec<u8>, header: impl FnOnce(usize) -> String) {
        let header = header(out.len() - self.body_at);
        out.push(b'\n');
        // JSON may be followed by spaces, and the last byte of the room ends the line
        if let Some(room) = out.get_mut(self.item_at..self.body_at) {
            room[..header.len()].copy_from_slice(header.as_bytes());
            room[self.body_at - self.item_at - 1] = b'\n';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_before_the_body_has_its_length() {
        let mut out = b"before\n".to_vec();
        let item = OpenItem::begin(&mut out, 16);
        out.extend_from_slice(b"body");
        item.end(&mut out, |length| format!(r#"{{"length":{length}}}"#));
        let lines: Vec<_> = out.split(|byte| *byte == b'\n').collect();
        assert_eq!(lines, [b"before".as_slice(), br#"{"length":4}   "#, b"body", b""]);
    }
}
