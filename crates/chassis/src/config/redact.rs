//! Renders the configuration for the log without secrets, even where a field is not declared as a [`super::Secret`].

use serde::Serialize;
use serde_json::Value;
use url::Url;

use super::secret::REDACTED;

/// Parts of a field's name that mark its value as a secret.
const SECRET_WORDS: [&str; 6] = ["token", "secret", "password", "dsn", "private", "credential"];

/// The configuration as JSON for the log. Fields whose name suggests a secret are masked, and passwords in URLs are replaced.
#[must_use]
pub fn redacted<C: Serialize>(config: &C) -> Value {
    let mut value = serde_json::to_value(config).unwrap_or(Value::Null);
    mask(&mut value, "");
    value
}

fn mask(value: &mut Value, name: &str) {
    match value {
        Value::Object(fields) => fields.iter_mut().for_each(|(name, field)| mask(field, name)),
        Value::Array(items) => items.iter_mut().for_each(|item| mask(item, name)),
        Value::String(text) if !text.is_empty() => {
            let name = name.to_ascii_lowercase();
            if SECRET_WORDS.iter().any(|word| name.contains(word)) {
                REDACTED.clone_into(text);
            } else if let Some(masked) = without_password(text) {
                *text = masked;
            }
        }
        _ => {}
    }
}

/// `mongodb://user:pass@host` → `mongodb://user:***@host`, or `None` if there is no password.
fn without_password(text: &str) -> Option<String> {
    let mut url = Url::parse(text).ok()?;
    url.password()?;
    url.set_password(Some("***")).ok()?;
    Some(url.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn redacted_config_contains_no_secrets() {
        let shown = redacted(&json!({
            "mongo": {"uri": "mongodb://casino:hunter2@127.0.0.1:8122/x", "database": "payment"},
            "redis": {"url": "redis://:hunter2@127.0.0.1:8123"},
            "security": {"operator_token": "hunter2", "jwt_secret": "hunter2", "peers": ["https://a:hunter2@b/"]},
            "http": {"address": "127.0.0.1:8100"},
        }));
        let text = shown.to_string();
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("127.0.0.1:8100") && text.contains("payment"), "{text}");
    }
}
