//! Removal of personal data: e-mail addresses, bearer tokens, JWTs, card numbers, and all values under a secret key.
//!
//! It runs where bytes are written (spans, errors, logs, metrics, log lines), so that no path can skip it. It works on the text
//! alone and needs no knowledge of its meaning. The tests plant canaries in every field and search for them on the wire.

use std::borrow::Cow;

use serde_json::Value;

mod card;
mod text;

/// Replacement for removed text.
pub const FILTERED: &str = "[Filtered]";

/// Parts of a key that make its whole value secret.
const SECRET_KEYS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "authorization",
    "cookie",
    "apikey",
    "api_key",
    "api-key",
    "jwt",
    "credential",
    "private_key",
    "card_number",
    "cardnumber",
    "cvv",
    "cvc",
    "iban",
    "session_id",
    "session.id",
    "sessionid",
    "email",
    "e-mail",
    "phone",
    "ssn",
];

/// Keys that look secret and are not.
const HARMLESS_KEYS: &[&str] = &["email_enabled", "token_count", "has_token", "event.type"];

/// Text without secrets. It is borrowed if there were none, which is the usual case.
pub fn text(input: &str) -> Cow<'_, str> {
    text::scrub(input)
}

/// Scrubs text that may be a release. `name@version` looks like an e-mail address without a dot, but stays.
pub(crate) fn name_at_version(input: &str) -> Cow<'_, str> {
    let is_one_word = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte))
    };
    match input.split_once('@') {
        Some((name, version))
            if is_one_word(name) && is_one_word(version) && !text::is_dotted_host(version) =>
        {
            Cow::Borrowed(input)
        }
        _ => text(input),
    }
}

/// Returns true if every value under this key is secret.
pub fn is_secret_key(key: &str) -> bool {
    if HARMLESS_KEYS.contains(&key) {
        return false;
    }
    SECRET_KEYS.iter().any(|secret| contains_ignore_case(key, secret))
}

/// Returns true for a card number.
pub(crate) fn is_card_number(number: u64) -> bool {
    number >= 100_000_000_000 && card::is_card(&number.to_string())
}

/// Scrubs a JSON document in place: values by their text, and whole values under secret keys.
pub fn json(value: &mut Value) {
    scrub_json(value, 0);
}

/// Deeper than anything the SDK writes. Deeper values are removed completely.
const DEPTH_MAX: usize = 64;

fn scrub_json(value: &mut Value, depth: usize) {
    if depth > DEPTH_MAX {
        *value = Value::String(FILTERED.to_owned());
        return;
    }
    match value {
        Value::String(s) => {
            if let Cow::Owned(clean) = text(s) {
                *s = clean;
            }
        }
        Value::Number(n) => {
            if n.as_u64().is_some_and(is_card_number) {
                *value = Value::String(FILTERED.to_owned());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| scrub_json(item, depth + 1)),
        Value::Object(map) => {
            for (key, item) in map.iter_mut() {
                if is_secret_key(key) && !matches!(item, Value::Null | Value::Bool(_)) {
                    *item = filtered_like(item);
                } else if RELEASE_KEYS.contains(&key.as_str()) {
                    scrub_release(item);
                } else {
                    scrub_json(item, depth + 1);
                }
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

/// Keys of a release, as plain text or wrapped as an attribute.
const RELEASE_KEYS: [&str; 2] = ["release", "sentry.release"];

fn scrub_release(item: &mut Value) {
    let release = if item.is_object() { item.get_mut("value") } else { Some(item) };
    if let Some(Value::String(release)) = release
        && let Cow::Owned(clean) = name_at_version(release)
    {
        *release = clean;
    }
}

/// Logs and metrics wrap each attribute as `{"value", "type"}`. The wrapper stays valid and its value is replaced.
fn filtered_like(item: &Value) -> Value {
    match item {
        Value::Object(map) if map.contains_key("value") && map.contains_key("type") => {
            serde_json::json!({ "value": FILTERED, "type": "string" })
        }
        _ => Value::String(FILTERED.to_owned()),
    }
}

fn contains_ignore_case(haystack: &str, needle: &str) -> bool {
    let (haystack, needle) = (haystack.as_bytes(), needle.as_bytes());
    haystack.windows(needle.len()).any(|window| window.eq_ignore_ascii_case(needle))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_secrets_from_text() {
        for (dirty, clean) in [
            ("mail to jo.doe+x@example.com now", "mail to [Filtered] now"),
            ("mail to jo@host now", "mail to [Filtered] now"),
            ("no mail to \"jo@x\": refused", "no mail to \"[Filtered]\": refused"),
            ("GET /players?mail=jo%40host", "GET /players?mail=[Filtered]"),
            ("jo@127.0.0.1 and jo@[127.0.0.1]", "[Filtered] and [Filtered]"),
            ("session 4f1c5a2b-0000-4000-8000-00000000abcd ended", "session [Filtered] ended"),
            ("key session:4f1c5a2b00004000800000000000abcd", "key session:[Filtered]"),
            (
                "DELETE /internal/v1/sessions/4f1c5a2b-0000-4000-8000-00000000abcd",
                "DELETE /internal/v1/sessions/[Filtered]",
            ),
            ("GET /players?mail=jo%40example.com", "GET /players?mail=[Filtered]"),
            ("Authorization: Bearer abcDEF123456.7", "Authorization: [Filtered] [Filtered]"),
            ("got Bearer abcDEF123456789012 here", "got Bearer [Filtered] here"),
            ("jwt eyJhbGciOi.eyJzdWIi.c2ln-_ end", "jwt [Filtered] end"),
            ("card 4111 1111 1111 1111 12/27", "card [Filtered] 12/27"),
            ("pan=5555555555554444.", "pan=[Filtered]."),
            (r#"{"password":"hunter 2","game":"slots"}"#, r#"{"password":"[Filtered]","game":"slots"}"#),
            (r#"{\"api_key\": \"k-1\"}"#, r#"{\"api_key\": \"[Filtered]\"}"#),
            ("key token::4711", "key token:[Filtered]"),
            ("key token::deadbeef01", "key token:[Filtered]"),
            ("password::hunter2", "password:[Filtered]"),
            ("secrets::key=hunter2", "secrets:[Filtered]"),
            ("login password=hunter2&next=/", "login password=[Filtered]&next=/"),
        ] {
            assert_eq!(text(dirty), clean, "of {dirty:?}");
        }
    }

    #[test]
    fn keeps_text_without_secrets() {
        for same in [
            "casino.bets.commands.v1",
            r#"{"find":"wallets","filter":{"_id":"?","version":"?"}}"#,
            "0af7651916cd43dd8448eb211c80319c",
            "1763731200000123456",
            "offset 4111111111111112 at 2026-11-21T13:10:00Z",
            "basic rules of the game: be kind",
            "sum=12 of 34 in EUR, seq 18446744073709551615",
            "12345678-1234-4123-8123-123456789012",
            "ratio 3.14159 @ 12",
            "game@1.2.3 follows web@2 and web@1.2.34, web@1.2.3-rc10, web@1.2.3-rc.alpha",
            "built from game@4f1c5a2b",
            "version 0.1.0+20261130T142858.94bcff4",
            "the session: expired, sessions 12, session:?",
            "/internal/v1/sessions/{session_id}",
            "chassis::http::layers::require_internal_token::{{closure}}",
            "user::secret::<impl core::fmt::Debug for user::Account>::fmt",
        ] {
            assert!(matches!(text(same), Cow::Borrowed(_)), "{same:?} became {:?}", text(same));
        }
    }

    #[test]
    fn scrubs_documents_by_key_and_form() {
        let mut document = serde_json::json!({
            "user": {"id": "p-1", "email": "jo@example.com"},
            "headers": [["Authorization", "Bearer abcdef1234567890"]],
            "attributes": {"session.token": {"value": "abc", "type": "string"}, "n": 4_111_111_111_111_111_u64},
        });
        json(&mut document);
        assert_eq!(document["user"], serde_json::json!({"id": "p-1", "email": FILTERED}));
        assert_eq!(document["headers"][0][1], "Bearer [Filtered]");
        assert_eq!(
            document["attributes"]["session.token"],
            serde_json::json!({"value": FILTERED, "type": "string"})
        );
        assert_eq!(document["attributes"]["n"], FILTERED);
    }
}
