//! Finds the key of a Sentry client.
//!
//! All places that the SDKs use are read, in this order: `X-Sentry-Auth`, `Authorization`, the query, the envelope's `dsn`.

/// Returns the key in an `X-Sentry-Auth` or `Authorization` header: `Sentry sentry_key=…, sentry_version=7, …`.
#[must_use]
pub fn key_from_header(header: &str) -> Option<&str> {
    let header = header.trim();
    let (scheme, fields) = header.split_once(char::is_whitespace)?;
    if !scheme.eq_ignore_ascii_case("sentry") {
        return None;
    }
    fields
        .split(',')
        .filter_map(|field| field.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("sentry_key"))
        .map(|(_, value)| value.trim())
        .filter(|key| !key.is_empty())
}

/// Returns the key in the query: `?sentry_key=…&sentry_version=7`.
#[must_use]
pub fn key_from_query(query: &str) -> Option<String> {
    url::form_urlencoded::parse(query.as_bytes())
        .find(|(name, value)| name == "sentry_key" && !value.is_empty())
        .map(|(_, value)| value.into_owned())
}

/// Parts of a DSN: `http://<key>@<host>/<path>/<project>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dsn {
    /// The public key.
    pub key: String,
    /// The project's number.
    pub project: u32,
    /// URL for its envelopes.
    pub endpoint: String,
}

impl Dsn {
    /// Returns the URL of another path below the project's, such as `store/`.
    #[must_use]
    pub fn endpoint_at(&self, path: &str) -> String {
        let project = self.endpoint.strip_suffix("envelope/").unwrap_or(&self.endpoint);
        format!("{project}{path}")
    }

    /// Parses a DSN. Returns `None` when it is invalid.
    #[must_use]
    pub fn parse(dsn: &str) -> Option<Self> {
        let url = url::Url::parse(dsn).ok()?;
        let (path, project) = url.path().rsplit_once('/')?;
        let project = project.parse().ok()?;
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let endpoint = format!("{}://{}{port}{path}/api/{project}/envelope/", url.scheme(), url.host_str()?);
        (!url.username().is_empty()).then(|| Self { key: url.username().to_owned(), project, endpoint })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        assert_eq!(key_from_header("Sentry sentry_key=abc, sentry_version=7"), Some("abc"));
        assert_eq!(key_from_header("sentry sentry_version=7,sentry_key=abc,sentry_client=x/1"), Some("abc"));
        assert_eq!(key_from_header("Sentry sentry_version=7"), None);
        assert_eq!(key_from_header("Sentry sentry_key="), None);
        assert_eq!(key_from_header("Bearer sentry_key=abc"), None);
        assert_eq!(key_from_header(""), None);
    }

    #[test]
    fn keys_in_queries_and_dsns() {
        assert_eq!(key_from_query("sentry_version=7&sentry_key=abc").as_deref(), Some("abc"));
        assert_eq!(key_from_query("sentry_key="), None);
        let dsn = Dsn::parse("http://abc@127.0.0.1:8101/4").expect("a DSN");
        assert_eq!((dsn.key.as_str(), dsn.project), ("abc", 4));
        assert_eq!(dsn.endpoint, "http://127.0.0.1:8101/api/4/envelope/");
        let dsn = Dsn::parse("https://abc@example.org/some/path/4").expect("a DSN");
        assert_eq!(dsn.endpoint, "https://example.org/some/path/api/4/envelope/");
        assert_eq!(dsn.endpoint_at("store/"), "https://example.org/some/path/api/4/store/");
        for nonsense in ["https://example.org/4", "https://abc@example.org/x", "nonsense", "abc@x/4"] {
            assert_eq!(Dsn::parse(nonsense), None, "{nonsense}");
        }
    }
}
