//! Reads server-sent events piece by piece, as the HTML standard defines them.

/// Longest event that is read. Spotlight sends an envelope with its attachments in one.
const EVENT_BYTES_MAX: usize = 16 << 20;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    /// Its name. Spotlight gives an envelope the content type as name.
    pub(super) name: String,
    /// Its data.
    pub(super) data: String,
}

/// Joins pieces of a stream to events.
#[derive(Debug, Default)]
pub(super) struct Reader {
    line: Vec<u8>,
    event: Event,
    /// The event is too long, and is skipped to its end.
    is_skipped: bool,
    too_long: u64,
}

impl Reader {
    /// Returns the events that end in this piece.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match line.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (line, false),
            };
            self.append(text);
            if ends {
                events.extend(self.end_line());
            }
        }
        events
    }

    /// Number of events that were too long since the last call.
    pub(super) fn take_too_long(&mut self) -> u64 {
        std::mem::take(&mut self.too_long)
    }

    fn append(&mut self, text: &[u8]) {
        if self.line.len() + self.event.data.len() + text.len() > EVENT_BYTES_MAX {
            self.is_skipped = true;
            self.line.clear();
            self.event.data.clear();
        }
        // The line of a skipped event is not kept, but an empty line, which ends it, has to differ from it.
        if !self.is_skipped || self.line.is_empty() {
            self.line.extend(text.iter().take(if self.is_skipped { 1 } else { text.len() }));
        }
    }

    /// Reads the line. An empty one ends the event.
    fn end_line(&mut self) -> Option<Event> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let line = line.strip_suffix('\r').unwrap_or(&line);
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            if std::mem::take(&mut self.is_skipped) {
                self.too_long += 1;
                return None;
            }
            return (!event.data.is_empty()).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "data" => {
                if !self.event.data.is_empty() {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, data: &str) -> Event {
        Event { name: name.to_owned(), data: data.to_owned() }
    }

    #[test]
    fn events_do_not_depend_on_the_pieces() {
        let text =
            "\nevent: a\ndata: {\"x\":\ndata:1}\nid: 7\n\n: comment\n\nevent: b\r\ndata: é\r\n\r\ndata: cut";
        let expected = [event("a", "{\"x\":\n1}"), event("b", "é")];
        for size in [1, 2, 7, text.len()] {
            let mut reader = Reader::default();
            let events: Vec<Event> =
                text.as_bytes().chunks(size).flat_map(|piece| reader.read(piece)).collect();
            assert_eq!(events, expected, "pieces of {size}");
        }
    }

    #[test]
    fn event_that_is_too_long_is_skipped_and_counted() {
        let mut reader = Reader::default();
        let piece = vec![b'x'; 1 << 20];
        assert!(reader.read(b"event: a\ndata: ").is_empty());
        for _ in 0..20 {
            assert!(reader.read(&piece).is_empty());
        }
        assert!(reader.line.len() <= EVENT_BYTES_MAX);
        assert_eq!(reader.read(b"\nid: 1\n\nevent: b\ndata: short\n\n"), [event("b", "short")]);
        assert_eq!((reader.take_too_long(), reader.take_too_long()), (1, 0));
    }
}
