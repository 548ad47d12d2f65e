//! Normalised descriptions of queries, by which the dashboard groups.
//!
//! A query of a document database is shown only when its span names system, operation and collection, and when its description
//! is JSON. Redis commands are not shown. Literals of any other query are replaced as Sentry's ingestion replaces them.

use std::{
    iter::{self, Peekable},
    str::Chars,
};

use serde::Serialize;
use serde_json::{Value, value::RawValue};

use crate::protocol::{
    fields::{self, Fields, LABEL_BYTES_MAX, cut},
    spans::SpanAttributes,
};

/// Names of the system, the action and the domain, the newer first.
const SYSTEM: [&str; 2] = ["db.system.name", "db.system"];
const ACTION: [&str; 2] = ["db.operation.name", "db.operation"];
const DOMAIN: [&str; 2] = ["db.collection.name", "db.sql.table"];
/// Longest description that is parsed.
const DESCRIPTION_BYTES_MAX: usize = 16 * 1024;
/// Longest normalised description.
const NORMALISED_BYTES_MAX: usize = 4 * LABEL_BYTES_MAX;
/// Largest depth of a document. A deeper value is replaced as a whole, because each level uses stack.
const DEPTH_MAX: usize = 32;
/// Replacement of a value of a document, as JSON.
const VALUE: &str = "\"?\"";
/// Replacement of a literal of a text query.
const LITERAL: &str = "%s";

/// What a query works on. The dashboard filters by it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Facts {
    pub(crate) system: Option<String>,
    pub(crate) action: Option<String>,
    pub(crate) domain: Option<String>,
}

impl Facts {
    pub(super) fn of(attributes: &SpanAttributes<'_>) -> Self {
        Self {
            system: attributes.first_text(&SYSTEM),
            action: attributes.first_text(&ACTION),
            domain: attributes.first_text(&DOMAIN),
        }
    }
}

/// Returns the normalised description. `None` when Sentry shows no such query.
pub(super) fn normalised(op: &str, description: &str, facts: &Facts) -> Option<String> {
    let system = facts.system.as_deref().unwrap_or_default();
    if description.is_empty() || description.len() > DESCRIPTION_BYTES_MAX {
        return None;
    }
    if op.contains("redis") || system == "redis" {
        return None;
    }
    let text = if system == "mongodb" || description.starts_with('{') {
        document(description, facts)?
    } else {
        without_literals(description)
    };
    Some(cut(text, NORMALISED_BYTES_MAX))
}

fn document(description: &str, facts: &Facts) -> Option<String> {
    let (operation, _) = (facts.action.as_deref()?, facts.domain.as_deref()?);
    let query: &RawValue = serde_json::from_str(description).ok()?;
    if !query.get().starts_with('{') {
        return None;
    }
    let mut out = String::with_capacity(description.len());
    // The operation's own member names the collection, which is not a value.
    write_members(query, Some(operation), 0, &mut out);
    Some(out)
}

/// Writes the members of an object in their order, with every value replaced except that of `kept`.
fn write_members(object: &RawValue, kept: Option<&str>, depth: usize, out: &mut String) {
    out.push('{');
    for (index, (name, value)) in Fields::of(Some(object)).iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str(&Value::from(name).to_string());
        out.push(':');
        if kept == Some(name) {
            out.push_str(value.get());
        } else {
            write_value(value, depth, out);
        }
    }
    out.push('}');
}

fn write_value(value: &RawValue, depth: usize, out: &mut String) {
    match value.get().as_bytes().first() {
        Some(b'{') if depth < DEPTH_MAX => write_members(value, None, depth + 1, out),
        Some(b'[') if depth < DEPTH_MAX => {
            out.push('[');
            let mut is_first = true;
            fields::each_entry(value.get(), |entry| {
                if !is_first {
                    out.push(',');
                }
                is_first = false;
                write_value(entry, depth + 1, out);
            });
            out.push(']');
        }
        _ => out.push_str(VALUE),
    }
}

/// Replaces quoted texts, numbers and placeholders of a query.
fn without_literals(query: &str) -> String {
    let mut out = String::with_capacity(query.len());
    let mut characters = query.chars().peekable();
    let mut before = ' ';
    while let Some(character) = characters.next() {
        let begins_word = !is_of_word(&before);
        let is_placeholder = skip_placeholder(before, character, &mut characters);
        before = character;
        if is_placeholder {
            out.push_str(LITERAL);
        } else if character == '\'' {
            // A doubled quote inside a text is read as two texts, whose replacements are equal.
            for inside in characters.by_ref() {
                if inside == '\'' {
                    break;
                }
            }
            out.push_str(LITERAL);
        } else if character.is_ascii_digit() && begins_word {
            while let Some(more) = characters.next_if(|next| next.is_ascii_digit() || *next == '.') {
                before = more;
            }
            out.push_str(LITERAL);
        } else {
            out.push(character);
        }
    }
    out
}

/// Skips the rest of a placeholder, if this character begins one: `?`, `$1`, `:name` or `%(name)s`. Two colons are a cast.
fn skip_placeholder(before: char, first: char, rest: &mut Peekable<Chars<'_>>) -> bool {
    let mut ahead = rest.clone();
    let is_placeholder = match first {
        '?' => true,
        '$' => skip(&mut ahead, char::is_ascii_digit) > 0,
        ':' => before != ':' && skip(&mut ahead, is_of_word) > 0,
        '%' => {
            ahead.next_if_eq(&'(').is_some()
                && skip(&mut ahead, is_of_word) > 0
                && [ahead.next(), ahead.next()] == [Some(')'), Some('s')]
        }
        _ => false,
    };
    if is_placeholder {
        *rest = ahead;
    }
    is_placeholder
}

/// Skips characters as long as they are wanted. Returns their number.
fn skip(rest: &mut Peekable<Chars<'_>>, is_wanted: fn(&char) -> bool) -> usize {
    iter::from_fn(|| rest.next_if(is_wanted)).count()
}

fn is_of_word(character: &char) -> bool {
    character.is_alphanumeric() || *character == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(system: &str, action: Option<&str>) -> Facts {
        let action = action.map(str::to_owned);
        Facts { system: Some(system.to_owned()), domain: action.as_ref().map(|_| "bets".to_owned()), action }
    }

    #[test]
    fn values_are_replaced_collection_is_kept() {
        let mongo = facts("mongodb", Some("find"));
        let plain = r#"{"find":"bets","filter":{"_id":"?"}}"#;
        let list = r#"{"find": "bets", "filter": {"a": {"$in": [1, "x"]}}}"#;
        let without = r#"{"find":"bets","filter":{"a":{"$in":["?","?"]}}}"#;
        let cases =
            [(plain, Some(plain)), (list, Some(without)), ("find bets", None), ("[]", None), ("", None)];
        for (description, expected) in cases {
            assert_eq!(normalised("db", description, &mongo).as_deref(), expected, "{description}");
        }
        let incomplete = normalised("db", r#"{"find":"bets"}"#, &facts("mongodb", None));
        assert_eq!(incomplete, None, "without operation and collection");
    }

    #[test]
    fn deep_value_is_replaced_as_a_whole() {
        let nested = |levels: usize, inner: &str| {
            format!("{{\"find\":\"bets\",\"filter\":{}{inner}{}}}", "[".repeat(levels), "]".repeat(levels))
        };
        let written = normalised("db", &nested(8_000, ""), &facts("mongodb", Some("find")));
        assert_eq!(written, Some(nested(DEPTH_MAX, VALUE)));
    }

    #[test]
    fn literals_of_a_text_query_are_replaced() {
        let sql = facts("postgresql", None);
        for (description, expected) in [
            ("SELECT a1 FROM t WHERE b = 'x y' AND c > 1.5", "SELECT a1 FROM t WHERE b = %s AND c > %s"),
            ("SELECT * FROM t2 LIMIT 10", "SELECT * FROM t2 LIMIT %s"),
            ("INSERT INTO t VALUES ('open", "INSERT INTO t VALUES (%s"),
            (
                "SELECT a FROM v$t WHERE b=$12 AND c::int = :c_1",
                "SELECT a FROM v$t WHERE b=%s AND c::int = %s",
            ),
            ("UPDATE t SET a = ?, b=%(b)s, c = %s", "UPDATE t SET a = %s, b=%s, c = %s"),
            ("SELECT a %(b) FROM t WHERE d LIKE '$1 ?'", "SELECT a %(b) FROM t WHERE d LIKE %s"),
        ] {
            assert_eq!(normalised("db.sql.query", description, &sql).as_deref(), Some(expected));
        }
        assert_eq!(normalised("db.redis", "GET x", &sql), None);
        assert_eq!(normalised("db", "GET x", &facts("redis", None)), None);
    }
}
