//! Fields that may have any shape.
//!
//! A witness must not lose a whole event because one SDK sends a number where another sends a string, so every field
//! that an index or a page wants is read on its own: the wrong type reads as absent.

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::value::RawValue;

/// Reads a `T`, or `T::default()` where the value has another shape.
///
/// # Errors
/// Only when the document itself is not JSON.
pub fn lenient<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    let raw = <&RawValue>::deserialize(deserializer)?;
    Ok(serde_json::from_str(raw.get()).unwrap_or_default())
}

/// Reads a scalar as text: a string, a number or a boolean; anything else is absent.
///
/// # Errors
/// Only when the document itself is not JSON.
pub fn text<'de, D>(deserializer: D) -> Result<Option<String>, D::Error>
where
    D: Deserializer<'de>,
{
    let raw = <&RawValue>::deserialize(deserializer)?;
    Ok(match serde_json::from_str::<serde_json::Value>(raw.get()) {
        Ok(serde_json::Value::String(text)) => Some(text),
        Ok(serde_json::Value::Number(number)) => Some(number.to_string()),
        Ok(serde_json::Value::Bool(value)) => Some(value.to_string()),
        _ => None,
    })
}
