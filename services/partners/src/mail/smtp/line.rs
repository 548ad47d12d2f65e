//! Lines of an SMTP client, with bounded length.

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};

/// Longest command line. RFC 5321 allows 512 bytes, and extensions allow more.
pub(super) const COMMAND_BYTES_MAX: usize = 2_048;

/// Line without its line end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// The bytes before CRLF (or a lone LF).
    Whole(Vec<u8>),
    /// Longer than allowed. It was read to its end and dropped.
    TooLong,
    /// The client has disconnected.
    End,
}

/// Reads one line and keeps at most `bytes_max` bytes of it.
pub(super) async fn read_line<R: AsyncBufRead + Unpin>(
    reader: &mut R,
    bytes_max: usize,
) -> std::io::Result<Line> {
    let mut line = Vec::new();
    let mut too_long = false;
    loop {
        let buffer = reader.fill_buf().await?;
        if buffer.is_empty() {
            return Ok(Line::End);
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(buffer.len(), |position| position.saturating_add(1));
        let content = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
        // One byte more than allowed, because it may be the CR of the line end.
        if line.len().saturating_add(content.len()) > bytes_max.saturating_add(1) {
            too_long = true;
            line.clear();
        }
        if !too_long {
            line.extend_from_slice(content);
        }
        reader.consume(taken);
        if end.is_some() {
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            let whole = !too_long && line.len() <= bytes_max;
            return Ok(if whole { Line::Whole(line) } else { Line::TooLong });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_split_and_long_ones_dropped() {
        let mut reader =
            tokio::io::BufReader::with_capacity(3, &b"one\r\ntwo\nabcdefgh\r\n12345\r\nrest"[..]);
        assert_eq!(read_line(&mut reader, 5).await.unwrap(), Line::Whole(b"one".to_vec()));
        assert_eq!(read_line(&mut reader, 5).await.unwrap(), Line::Whole(b"two".to_vec()));
        assert_eq!(read_line(&mut reader, 5).await.unwrap(), Line::TooLong);
        assert_eq!(read_line(&mut reader, 5).await.unwrap(), Line::Whole(b"12345".to_vec()));
        assert_eq!(read_line(&mut reader, 5).await.unwrap(), Line::End);
    }
}
