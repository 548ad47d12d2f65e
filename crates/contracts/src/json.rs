//! JSON decoding with errors that name the field and the kind of mistake, and never contain a value.

mod digits;
mod unique_names;

use bytes::Bytes;
use serde::Serialize;
use serde::de::{DeserializeOwned, DeserializeSeed as _};

pub(crate) use digits::Digits;
pub(crate) use unique_names::UniqueNames;

/// Longest excerpt of a client's text (a field's name) in an error.
const ECHO_CHARS_MAX: usize = 48;

/// Decodes one JSON document completely. `part` names the text in which errors count lines and columns.
pub(crate) fn read<T: DeserializeOwned>(text: &str, part: &str) -> Result<T, String> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        describe(&path, error.inner(), part)
    })?;
    deserializer.end().map_err(|error| describe(".", &error, part))?;
    Ok(value)
}

/// Decodes the JSON form of a message, as [`read`] does, and refuses a field that occurs twice. The generated reader does not see
/// that when the first value is null.
pub(crate) fn read_message<T: DeserializeOwned>(text: &str, part: &str) -> Result<T, String> {
    let message = read(text, part)?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut deserializer, &mut track);
    match UniqueNames::OfFields.deserialize(tracked) {
        Ok(()) => Ok(message),
        Err(error) => Err(describe(&track.path().to_string(), &error, part)),
    }
}

/// The JSON form of a message whose enum numbers all have names. It cannot fail, because such a message has only string
/// keys and no floats. After an unexpected failure it returns null, which every reader refuses.
pub(crate) fn to_value(message: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(message).unwrap_or(serde_json::Value::Null)
}

/// The same as text, with the fields in the order of their declaration.
pub(crate) fn to_bytes(message: &impl Serialize) -> Bytes {
    serde_json::to_vec(message).map_or_else(|_| Bytes::from_static(b"null"), Bytes::from)
}

/// Describes the error. The text contains nothing of the payload but shortened field names.
fn describe(path: &str, error: &serde_json::Error, part: &str) -> String {
    let place = format!("line {} column {} of {part}", error.line(), error.column());
    let problem = problem(error);
    match path {
        "." | "?" | "" => format!("{problem} at {place}"),
        field => format!("field `{}`: {problem} at {place}", printable(field)),
    }
}

/// The kind of mistake. serde's messages can contain values, so only the safe parts of them are kept.
fn problem(error: &serde_json::Error) -> String {
    use serde_json::error::Category;
    match error.classify() {
        Category::Syntax => return "not JSON".to_owned(),
        Category::Eof => return "JSON that ends too early".to_owned(),
        Category::Io => return "not readable".to_owned(),
        Category::Data => {}
    }
    let text = error.to_string();
    for (prefix, what) in [("unknown field `", "unknown field"), ("duplicate field `", "duplicate field")] {
        if let Some(name) = text.strip_prefix(prefix).and_then(|rest| rest.split('`').next()) {
            return format!("{what} `{}`", printable(name));
        }
    }
    if let Some(name) = text.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
        return format!("missing field `{}`", printable(name));
    }
    let kind = if text.starts_with("unknown variant") || text.starts_with("invalid value") {
        "value not allowed"
    } else if text.starts_with("invalid type") {
        "wrong type"
    } else {
        "value not readable"
    };
    kind.to_owned()
}

/// Makes an untrusted text safe for an error message: visible ASCII, shortened.
pub(crate) fn printable(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(ECHO_CHARS_MAX)
        .map(|character| if character.is_ascii_graphic() { character } else { '?' })
        .collect();
    if text.chars().nth(ECHO_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}
