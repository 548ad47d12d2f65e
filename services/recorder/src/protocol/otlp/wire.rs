//! Reads protobuf's wire format field by field, without a copy or an allocation.

/// Value of a field, as the wire has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Wire<'a> {
    /// An integer, a boolean or an enum.
    Varint(u64),
    /// Eight bytes: a fixed integer or a double.
    Fixed64(u64),
    /// Four bytes: a fixed integer or a float.
    Fixed32(u32),
    /// A text, bytes or a message.
    Bytes(&'a [u8]),
}

/// Error when bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the protobuf message is damaged: {0}")]
pub(super) struct WireError(&'static str);

/// Error for a record of another signal. Both signals have the same numbers of fields down to the record.
pub(super) const OTHER_SIGNAL: WireError =
    WireError("it has records of another signal, which belong to another path (/v1/traces or /v1/logs)");
const CUT_SHORT: WireError = WireError("it is cut short");

/// The fields of a message with their numbers. It ends after an error.
#[derive(Clone, Debug)]
pub(super) struct Message<'a>(pub(super) &'a [u8]);

impl<'a> Message<'a> {
    fn field(&mut self) -> Result<(u32, Wire<'a>), WireError> {
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).map_err(|_| WireError("a field has no valid number"))?;
        if number == 0 {
            return Err(WireError("a field has the number 0"));
        }
        let value = match key & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| CUT_SHORT)?;
                let (bytes, rest) = self.0.split_at_checked(length).ok_or(CUT_SHORT)?;
                self.0 = rest;
                Wire::Bytes(bytes)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(WireError("a field has an unknown wire type")),
        };
        Ok((number, value))
    }

    fn varint(&mut self) -> Result<u64, WireError> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(CUT_SHORT)?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(WireError("a number has more than ten bytes"))
    }

    fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], WireError> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(CUT_SHORT)?;
        self.0 = rest;
        Ok(*bytes)
    }
}

impl<'a> Iterator for Message<'a> {
    type Item = Result<(u32, Wire<'a>), WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

/// Returns the messages, texts or bytes of a repeated field.
pub(super) fn repeated(message: &[u8], number: u32) -> impl Iterator<Item = Result<&[u8], WireError>> {
    Message(message).filter_map(move |field| match field {
        Ok((found, Wire::Bytes(bytes))) if found == number => Some(Ok(bytes)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    })
}

/// Returns the message, text or bytes of a field. The last one counts.
pub(super) fn last(message: &[u8], number: u32) -> Result<Option<&[u8]>, WireError> {
    repeated(message, number).try_fold(None, |_, found| found.map(Some))
}

/// Returns the text of a field.
pub(super) fn text(bytes: &[u8]) -> Result<&str, WireError> {
    std::str::from_utf8(bytes).map_err(|_| WireError("a text is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(bytes: &[u8]) -> Result<Vec<(u32, Wire<'_>)>, WireError> {
        Message(bytes).collect()
    }

    #[test]
    fn every_wire_type_is_read() {
        let bytes = b"\x08\xac\x02\x11\x01\x00\x00\x00\x00\x00\x00\x00\x1a\x02ab\x25\x02\x00\x00\x00";
        let expected =
            [(1, Wire::Varint(300)), (2, Wire::Fixed64(1)), (3, Wire::Bytes(b"ab")), (4, Wire::Fixed32(2))];
        assert_eq!(fields(bytes).expect("a message"), expected);
        let largest = b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        assert_eq!(fields(largest).expect("a message"), [(1, Wire::Varint(u64::MAX))]);
        assert_eq!(last(b"\x0a\x01a\x12\x01x\x0a\x01b", 1), Ok(Some(&b"b"[..])), "the last one counts");
    }

    #[test]
    fn damaged_messages_are_errors() {
        for bytes in [
            &b"\x08"[..],
            b"\x08\x80",
            b"\x09\x01\x02",
            b"\x0a\x03ab",
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x0d\x01",
            b"\x0b",
            b"\x0e",
            b"\x00\x00",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x00",
        ] {
            assert!(fields(bytes).is_err(), "{bytes:?}");
            let mut message = Message(bytes);
            assert!(message.by_ref().any(|field| field.is_err()) && message.next().is_none(), "it ends");
        }
        assert!(text(b"\xff").is_err());
    }
}
