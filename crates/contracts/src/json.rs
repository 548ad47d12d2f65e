//! Reading JSON so that an error names the field and the kind of mistake, and never repeats a value.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest piece of somebody's text (a field's name) in a message of ours.
const ECHO_CHARS_MAX: usize = 48;

/// Reads one JSON document, all of it; `part` is what positions in errors are counted in.
pub(crate) fn read<T: DeserializeOwned>(text: &str, part: &str) -> Result<T, String> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        describe(&path, error.inner(), part)
    })?;
    deserializer.end().map_err(|error| describe(".", &error, part))?;
    Ok(value)
}

/// The JSON form of a message whose enums all have names: its maps have string keys and it has no floats, so nothing
/// in it can fail. If something ever did, null is refused by every reader.
pub(crate) fn to_value(message: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(message).unwrap_or(serde_json::Value::Null)
}

/// The same as text, with the fields in the order in which they are declared.
pub(crate) fn to_bytes(message: &impl Serialize) -> Bytes {
    serde_json::to_vec(message).map_or_else(|_| Bytes::from_static(b"null"), Bytes::from)
}

/// What was wrong, in words that hold nothing of the payload but (shortened) names of fields.
fn describe(path: &str, error: &serde_json::Error, part: &str) -> String {
    let place = format!("line {} column {} of {part}", error.line(), error.column());
    let problem = problem(error);
    match path {
        "." | "?" | "" => format!("{problem} at {place}"),
        field => format!("field `{}`: {problem} at {place}", printable(field)),
    }
}

/// The kind of mistake. serde writes values into its messages, so only the parts that cannot hold one are kept.
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

/// A stranger's text made fit for a message: visible ASCII, shortened.
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
