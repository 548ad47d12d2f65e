//! Check that settings with a number were given as numbers.
//!
//! The `config` library reads `on`, `yes` and `true` as 1, and rounds a fraction to an integer. Neither is what the operator
//! meant, so both are refused.

use config::ValueKind;
use serde_json::Value;

use super::load::{Table, variable_of};

/// Adds a line for each setting of `given` that was not given as the number that it is in `known`, the loaded settings.
///
/// A setting that already has a line gets no second one.
pub(super) fn add_misread(given: &Table, known: &Value, path: &str, lines: &mut Vec<String>) {
    for (name, value) in given {
        let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match (known.get(name), &value.kind) {
            (Some(known), ValueKind::Table(given)) => add_misread(given, known, &key, lines),
            (Some(Value::Number(number)), given) => {
                let has_line = lines.iter().any(|line| line.starts_with(&format!("{key}:")));
                if let Some(found) = misread(given, number.is_f64())
                    && !has_line
                {
                    let expected = if number.is_f64() { "a number" } else { "an integer" };
                    let variable = variable_of(&key);
                    lines.push(format!("{key}: expected {expected}, found {found} (set {variable})"));
                }
            }
            _ => {}
        }
    }
}

/// Text of a value that is no such number, or None.
fn misread(given: &ValueKind, may_be_fraction: bool) -> Option<String> {
    match given {
        ValueKind::Boolean(word) => Some(word.to_string()),
        ValueKind::Float(fraction) if !may_be_fraction => Some(fraction.to_string()),
        ValueKind::String(text) if !is_number(text, may_be_fraction) => Some(format!("{text:?}")),
        _ => None,
    }
}

fn is_number(text: &str, may_be_fraction: bool) -> bool {
    let is_integer = text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok();
    is_integer || (may_be_fraction && text.parse::<f64>().is_ok())
}
