//! Makes the JSON of senders readable for every strict parser.
//!
//! Browsers and Python can send half a surrogate pair, such as `\ud800`. The grammar of JSON allows it, but it is no character, so
//! most parsers refuse the whole text.

use std::borrow::Cow;

use serde_json::value::RawValue;

/// The escape of the replacement character. It is as long as the escape of a surrogate.
const REPLACEMENT: &[u8; ESCAPE_BYTES] = br"\ufffd";
/// Length of an escape such as `\ud800`.
const ESCAPE_BYTES: usize = 6;

/// Returns JSON text with a replacement character for each half of a surrogate pair, otherwise unchanged.
#[must_use]
pub fn strict_text(json: &str) -> Cow<'_, str> {
    if !json.contains("\\ud") && !json.contains("\\uD") {
        return Cow::Borrowed(json);
    }
    let mut clean = json.as_bytes().to_vec();
    let (mut at, mut has_changed) = (0, false);
    while let Some(byte) = clean.get(at) {
        // In JSON a backslash occurs only inside strings, and always begins an escape.
        if *byte != b'\\' {
            at += 1;
            continue;
        }
        match code_unit(&clean, at) {
            Some(0xD800..=0xDBFF)
                if matches!(code_unit(&clean, at + ESCAPE_BYTES), Some(0xDC00..=0xDFFF)) =>
            {
                at += 2 * ESCAPE_BYTES;
            }
            Some(0xD800..=0xDFFF) => {
                if let Some(escape) = clean.get_mut(at..at + ESCAPE_BYTES) {
                    escape.copy_from_slice(REPLACEMENT);
                    has_changed = true;
                }
                at += ESCAPE_BYTES;
            }
            _ => at += 2,
        }
    }
    match String::from_utf8(clean) {
        Ok(clean) if has_changed => Cow::Owned(clean),
        _ => Cow::Borrowed(json),
    }
}

/// Does the same with a value.
#[must_use]
pub fn strict(value: Box<RawValue>) -> Box<RawValue> {
    let clean = match strict_text(value.get()) {
        Cow::Borrowed(_) => None,
        Cow::Owned(clean) => RawValue::from_string(clean).ok(),
    };
    clean.unwrap_or(value)
}

/// Returns the code unit of the escape `\uXXXX` at this position.
fn code_unit(json: &[u8], at: usize) -> Option<u16> {
    let digits = json.get(at..at + ESCAPE_BYTES)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn only_halves_of_pairs_are_replaced() {
        for (json, expected) in [
            (r#""\ud83d\ude00 \uD83D\uDE00""#, r#""\ud83d\ude00 \uD83D\uDE00""#),
            (r#""x\ud800y""#, r#""x\ufffdy""#),
            (r#"{"\uDFFF":["\ud800\ud83d\ude00"]}"#, r#"{"\ufffd":["\ufffd\ud83d\ude00"]}"#),
            (r#""\ud800\ud800""#, r#""\ufffd\ufffd""#),
            (r#""\ud800\u0041é""#, r#""\ufffd\u0041é""#),
            (r#""\\ud800""#, r#""\\ud800""#),
            (r#""\\\ud800""#, r#""\\\ufffd""#),
            (r#"[1e999,"\ud"#, r#"[1e999,"\ud"#),
        ] {
            assert_eq!(strict_text(json), expected, "{json}");
        }
        let value = RawValue::from_string(r#"{"a":"\udc00"}"#.to_owned()).expect("JSON");
        assert!(serde_json::from_str::<Value>(value.get()).is_err(), "the parser is strict");
        let parsed: Value = serde_json::from_str(strict(value).get()).expect("strict JSON");
        assert_eq!(parsed["a"], "\u{FFFD}");
    }
}
