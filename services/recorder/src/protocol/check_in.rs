//! Check-ins that come as a request of their own and not as an item of an envelope.

use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

/// Statuses that a sender may give. Sentry replaces any other by [`UNKNOWN`].
const STATUSES: [&str; 3] = ["in_progress", "ok", "error"];
const UNKNOWN: &str = "unknown";

/// Largest number of characters of a monitor's slug. Sentry cuts a longer one.
const SLUG_CHARS_MAX: usize = 50;

/// Reason why a request is not a check-in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckInError {
    /// The slug in the path is empty.
    #[error("bad request: the monitor slug is empty")]
    Slug,
    /// The body is not a JSON object.
    #[error("bad request: the check-in is not a JSON object: {0}")]
    Json(String),
    /// A member or parameter is missing or malformed.
    #[error("bad request: {0}")]
    Field(&'static str),
}

#[derive(Serialize)]
struct Header {
    #[serde(rename = "type")]
    item_type: &'static str,
    length: usize,
}

/// Returns the slug under which Sentry keeps the monitor that a check-in names.
///
/// It is cut, in lower case, with one hyphen for spaces and hyphens, and without other characters than letters, digits, `_` and `-`.
/// If nothing is left, it is empty. Unlike here, Sentry replaces a letter with an accent by the one without.
#[must_use]
pub fn slug(name: &str) -> String {
    let mut slug = String::new();
    for character in name.chars().take(SLUG_CHARS_MAX) {
        if character == '-' || character.is_whitespace() {
            if !slug.ends_with('-') {
                slug.push('-');
            }
        } else if character.is_ascii_alphanumeric() || character == '_' {
            slug.push(character.to_ascii_lowercase());
        }
    }
    slug.trim_matches(['-', '_']).to_owned()
}

/// Returns the envelope of a check-in in the query of a URL: `status`, and `check_in_id`, `environment` and `duration` if wanted.
pub fn envelope_of_query(slug: &str, query: &str) -> Result<Vec<u8>, CheckInError> {
    let mut members = Map::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let value = match name.as_ref() {
            "status" | "check_in_id" | "environment" => Value::from(value.into_owned()),
            "duration" => {
                let duration = value.parse::<f64>().ok().filter(|duration| duration.is_finite());
                Value::from(duration.ok_or(CheckInError::Field("duration is not a number of seconds"))?)
            }
            _ => continue,
        };
        members.insert(name.into_owned(), value);
    }
    envelope(slug, members)
}

/// Returns the envelope of a check-in in JSON, which may have a `monitor_config`. The slug is that of the path.
pub fn envelope_of_json(slug: &str, json: &[u8]) -> Result<Vec<u8>, CheckInError> {
    let members = serde_json::from_slice(json).map_err(|error| CheckInError::Json(error.to_string()))?;
    envelope(slug, members)
}

fn envelope(slug: &str, mut members: Map<String, Value>) -> Result<Vec<u8>, CheckInError> {
    if slug.is_empty() {
        return Err(CheckInError::Slug);
    }
    let status = members.get("status").and_then(Value::as_str);
    let status = status.ok_or(CheckInError::Field("status is missing: in_progress, ok or error"))?;
    let status = STATUSES.into_iter().find(|known| *known == status).unwrap_or(UNKNOWN);
    let id = match members.get("check_in_id") {
        // The id of zeros means the newest run.
        None | Some(Value::Null) => Uuid::nil(),
        Some(id) => {
            let id = id.as_str().and_then(|id| Uuid::try_parse(id).ok());
            id.ok_or(CheckInError::Field("check_in_id is not a UUID"))?
        }
    };
    members.insert("check_in_id".to_owned(), id.simple().to_string().into());
    members.insert("status".to_owned(), status.into());
    members.insert("monitor_slug".to_owned(), slug.into());
    let unwritable = |error: serde_json::Error| CheckInError::Json(error.to_string());
    let payload = serde_json::to_vec(&members).map_err(unwritable)?;
    let header = Header { item_type: "check_in", length: payload.len() };
    let header = serde_json::to_vec(&header).map_err(unwritable)?;
    Ok([&b"{}\n"[..], &header, b"\n", &payload, b"\n"].concat())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::protocol::envelope::Envelope;

    const ID: &str = "9ec79c33ec9942ab8353589fcb2e04dc";

    fn payload(envelope: Result<Vec<u8>, CheckInError>) -> Value {
        let envelope = envelope.expect("a check-in");
        let envelope = Envelope::parse(&envelope).expect("an envelope");
        assert_eq!((envelope.items.len(), &*envelope.items[0].item_type()), (1, "check_in"));
        serde_json::from_slice(envelope.items[0].payload).expect("JSON")
    }

    #[test]
    fn query_is_a_check_in() {
        let zeros = "0".repeat(32);
        let shortest = payload(envelope_of_query("nightly", "status=ok&other=1"));
        assert_eq!(shortest, json!({"monitor_slug": "nightly", "status": "ok", "check_in_id": zeros}));
        let query =
            "status=error&check_in_id=9ec79c33-ec99-42ab-8353-589fcb2e04dc&environment=a%20b&duration=1.5";
        let expected = json!({
            "monitor_slug": "nightly", "status": "error", "check_in_id": ID, "environment": "a b", "duration": 1.5,
        });
        assert_eq!(payload(envelope_of_query("nightly", query)), expected);
        assert_eq!(payload(envelope_of_query("nightly", "status=missed"))["status"], "unknown");
    }

    #[test]
    fn json_keeps_its_settings_and_gets_the_slug_of_the_path() {
        let config = json!({"schedule": {"type": "crontab", "value": "0 3 * * *"}, "timezone": "UTC"});
        let body = json!({"status": "in_progress", "monitor_slug": "other", "monitor_config": config});
        let check_in = payload(envelope_of_json("nightly", body.to_string().as_bytes()));
        assert_eq!(check_in["monitor_slug"], "nightly");
        assert_eq!((&check_in["monitor_config"], &check_in["status"]), (&config, &json!("in_progress")));
    }

    #[test]
    fn names_of_one_slug_are_one_monitor() {
        for name in ["my-job", "My-Job", "My Job", " my  job ", "my - job!", "-my-job_", "my-j\u{fc}ob"] {
            assert_eq!(slug(name), "my-job", "{name}");
        }
        assert_eq!(slug("consumer-game_2"), "consumer-game_2");
        assert_eq!(slug(&"a".repeat(60)), "a".repeat(50));
        assert_eq!(slug(&format!("{} b", "a".repeat(49))), "a".repeat(49), "it does not end with the cut");
        for name in ["", "--", "!", "\u{591c}"] {
            assert_eq!(slug(name), "", "{name}");
        }
    }

    #[test]
    fn what_is_no_check_in_is_refused() {
        assert_eq!(envelope_of_query("", "status=ok"), Err(CheckInError::Slug));
        for query in
            ["", "duration=1", "status=ok&check_in_id=7", "status=ok&duration=long", "status=ok&duration=inf"]
        {
            assert!(matches!(envelope_of_query("a", query), Err(CheckInError::Field(_))), "{query}");
        }
        for body in [&b"{}"[..], br#"{"status":7}"#, br#"{"status":"ok","check_in_id":7}"#] {
            assert!(matches!(envelope_of_json("a", body), Err(CheckInError::Field(_))), "{body:?}");
        }
        for body in [&b"[]"[..], b"", b"{", b"7"] {
            assert!(matches!(envelope_of_json("a", body), Err(CheckInError::Json(_))), "{body:?}");
        }
    }
}
