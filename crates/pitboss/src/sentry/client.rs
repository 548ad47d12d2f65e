//! Sentry's API over HTTP: pages, rate limits, and answers of a limited size.

mod link;

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LINK, RETRY_AFTER};
use reqwest::{Client, Method, StatusCode, Url, redirect};
use serde_json::Value;

/// Deadline of one answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);
/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Largest part of an answer that an error shows.
const SHOWN_CHARS_MAX: usize = 400;
/// Largest number of pages of a list. Sentry returns up to 100 objects on one.
const PAGES_MAX: usize = 100;
/// Attempts of a request that is rate-limited, or of a read that the server could not answer.
const ATTEMPTS_MAX: u32 = 6;
/// Wait if the answer does not say how long.
const WAIT_DEFAULT: Duration = Duration::from_secs(1);
/// Longest wait that is accepted.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// End of the time in which the limit holds, in seconds since the epoch.
const LIMIT_RESET: &str = "x-sentry-rate-limit-reset";

/// A secret that is shown nowhere.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Takes a token as it is in a variable.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// A request that failed. It decides what follows: [`ApiError::is_transient`] errors were repeated already.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The address or the token cannot be used.
    #[error("{0}")]
    Setting(String),
    /// There was no answer.
    #[error(
        "no answer to {request}: {reason}\n  check the network and PITBOSS_SENTRY_URL, which is {address}"
    )]
    Unreachable {
        /// Method and path.
        request: String,
        /// Scheme, host and port.
        address: String,
        /// Reason.
        reason: String,
    },
    /// The server limits requests for longer than this command waits, or again and again.
    #[error("{request} is rate-limited; run the command again later, it continues where it stopped")]
    Limited {
        /// Method and path.
        request: String,
    },
    /// Another status than success.
    #[error("{request} was answered with {status}: {answer}{advice}")]
    Refused {
        /// Method and path.
        request: String,
        /// The status.
        status: u16,
        /// Begin of the answer.
        answer: String,
        /// What to do.
        advice: &'static str,
    },
    /// The answer is no JSON, or too large, or a list has too many pages.
    #[error("the answer to {request} cannot be used: {reason}")]
    Answer {
        /// Method and path.
        request: String,
        /// Reason.
        reason: String,
    },
}

impl ApiError {
    /// Returns true if the same request may succeed later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Limited { .. } => true,
            Self::Refused { status, .. } => *status >= 500,
            Self::Setting(_) | Self::Answer { .. } => false,
        }
    }
}

/// The API of one Sentry.
#[derive(Clone, Debug)]
pub struct Api {
    base: Url,
    http: Client,
}

/// An answer of success.
struct Answer {
    body: Value,
    next: Option<String>,
}

impl Api {
    /// The API at this address, such as `https://sentry.io`.
    ///
    /// # Errors
    /// When the address is not one of HTTPS (or of HTTP on this machine), or the token is empty or no text of a header.
    pub fn new(address: &str, token: &Token) -> Result<Self, ApiError> {
        let base = Url::parse(address).ok().filter(|url| url.has_host() && !url.cannot_be_a_base());
        let base = base.ok_or_else(|| {
            let problem =
                format!("PITBOSS_SENTRY_URL: `{address}` is no address such as https://us.sentry.io");
            ApiError::Setting(problem)
        })?;
        let is_local = matches!(base.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
        if base.scheme() != "https" && !(base.scheme() == "http" && is_local) {
            let problem = format!(
                "PITBOSS_SENTRY_URL: `{address}`: the token is sent over HTTPS only, except to this machine"
            );
            return Err(ApiError::Setting(problem));
        }
        if token.0.is_empty() {
            return Err(ApiError::Setting("the token is empty".to_owned()));
        }
        let mut header = HeaderValue::from_str(&format!("Bearer {}", token.0))
            .map_err(|_| ApiError::Setting("the token has characters that no token has".to_owned()))?;
        header.set_sensitive(true);
        let headers = HeaderMap::from_iter([(AUTHORIZATION, header)]);
        // A redirect is not followed: the token is for one server.
        let builder = Client::builder().timeout(ANSWER_DEADLINE).redirect(redirect::Policy::none());
        let builder = builder.default_headers(headers);
        let builder = if is_local { builder.no_proxy() } else { builder };
        let http = builder.build().map_err(|error| ApiError::Setting(format!("no HTTP client: {error}")))?;
        Ok(Self { base, http })
    }

    /// Reads one object.
    ///
    /// # Errors
    /// When there is no such object, or no usable answer.
    pub async fn get(&self, path: &[&str]) -> Result<Value, ApiError> {
        Ok(self.send(Method::GET, self.url(path, &[]), None).await?.body)
    }

    /// Reads all pages of a list.
    ///
    /// # Errors
    /// When a page has no usable answer, or there are too many.
    pub async fn list(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Vec<Value>, ApiError> {
        let first = self.url(path, query);
        let mut url = first.clone();
        let mut all = Vec::new();
        for _ in 0..PAGES_MAX {
            let answer = self.send(Method::GET, url, None).await?;
            let Value::Array(page) = answer.body else {
                return Err(unusable(&Method::GET, &first, "it is not a list".to_owned()));
            };
            all.extend(page);
            let Some(cursor) = answer.next else { return Ok(all) };
            // Only the cursor is taken from the answer, so that the token is sent to no other address.
            url = first.clone();
            url.query_pairs_mut().append_pair("cursor", &cursor);
        }
        Err(unusable(&Method::GET, &first, format!("the list has more than {PAGES_MAX} pages")))
    }

    /// Creates an object and returns it as Sentry answers.
    ///
    /// # Errors
    /// When it is refused, or there is no usable answer. It may have been created then.
    pub async fn post(&self, path: &[&str], body: &Value) -> Result<Value, ApiError> {
        Ok(self.send(Method::POST, self.url(path, &[]), Some(body)).await?.body)
    }

    /// Replaces an object and returns it as Sentry answers.
    ///
    /// # Errors
    /// When it is refused, or there is no usable answer. It may have been changed then.
    pub async fn put(&self, path: &[&str], body: &Value) -> Result<Value, ApiError> {
        Ok(self.send(Method::PUT, self.url(path, &[]), Some(body)).await?.body)
    }

    /// The address of a path. Each part is escaped, and all paths of the API end with a slash.
    fn url(&self, path: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        url.set_query(None);
        // It has parts, since `new` refused addresses without.
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty().extend(["api", "0"]).extend(path).push("");
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// Sends a request. It is repeated while it is rate-limited. A read is also repeated while the server is not up.
    async fn send(&self, method: Method, url: Url, body: Option<&Value>) -> Result<Answer, ApiError> {
        let mut attempt = 1;
        loop {
            let mut request = self.http.request(method.clone(), url.clone());
            if let Some(body) = body {
                request = request.json(body);
            }
            let response = request.send().await.map_err(|error| ApiError::Unreachable {
                request: named(&method, &url),
                address: url.origin().ascii_serialization(),
                reason: format!("{:#}", anyhow::Error::from(error.without_url())),
            })?;
            let status = response.status();
            let is_busy = matches!(
                status,
                StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
            );
            let is_repeated = status == StatusCode::TOO_MANY_REQUESTS || (is_busy && method == Method::GET);
            if !is_repeated || attempt >= ATTEMPTS_MAX {
                return finish(&method, &url, response).await;
            }
            let wait = wait_of(response.headers(), SystemTime::now());
            if wait > WAIT_MAX {
                return Err(ApiError::Limited { request: named(&method, &url) });
            }
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }
}

/// The answer, or the error that its status is.
async fn finish(method: &Method, url: &Url, mut response: reqwest::Response) -> Result<Answer, ApiError> {
    let status = response.status();
    if status == StatusCode::TOO_MANY_REQUESTS {
        return Err(ApiError::Limited { request: named(method, url) });
    }
    let next = response.headers().get(LINK).and_then(|links| link::next_cursor(links.to_str().ok()?));
    let mut bytes = Vec::new();
    loop {
        let part = response.chunk().await;
        let part = part.map_err(|error| unusable(method, url, error.without_url().to_string()))?;
        let Some(part) = part else { break };
        if bytes.len().saturating_add(part.len()) > ANSWER_BYTES_MAX {
            return Err(unusable(method, url, format!("it is larger than {ANSWER_BYTES_MAX} bytes")));
        }
        bytes.extend_from_slice(&part);
    }
    if !status.is_success() {
        // A control character of an answer must not reach the terminal.
        let plain = |character: char| if character.is_control() { ' ' } else { character };
        let answer = String::from_utf8_lossy(&bytes).chars().take(SHOWN_CHARS_MAX).map(plain).collect();
        let advice = advice(status);
        return Err(ApiError::Refused {
            request: named(method, url),
            status: status.as_u16(),
            answer,
            advice,
        });
    }
    let body = serde_json::from_slice(&bytes);
    let body = body.map_err(|error| {
        let advice = "\n  check that PITBOSS_SENTRY_URL is the address of a Sentry";
        unusable(method, url, format!("it is no JSON: {error}{advice}"))
    })?;
    Ok(Answer { body, next })
}

/// What to do about a refusal.
const fn advice(status: StatusCode) -> &'static str {
    match status.as_u16() {
        300..=399 => {
            "\n  set PITBOSS_SENTRY_URL to the address of the organisation's region, such as https://us.sentry.io"
        }
        401 => "\n  PITBOSS_SENTRY_TOKEN is not valid at PITBOSS_SENTRY_URL",
        403 => "\n  the token lacks a scope; docs/SENTRY_SETUP.md lists them",
        404 => {
            "\n  check PITBOSS_SENTRY_ORG and the team (PITBOSS_SENTRY_TEAM), and whether this Sentry has monitors and alerts as docs/SENTRY_SETUP.md needs them"
        }
        _ => "",
    }
}

/// Time to wait before the request is repeated.
fn wait_of(headers: &HeaderMap, now: SystemTime) -> Duration {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    if let Some(seconds) = number(RETRY_AFTER.as_str()) {
        return Duration::from_secs(seconds);
    }
    let Some(reset_s) = number(LIMIT_RESET) else { return WAIT_DEFAULT };
    let now_s = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    // The second of the reset itself may still be limited.
    Duration::from_secs(reset_s.saturating_sub(now_s).saturating_add(1))
}

/// Method and path of a request, without the server and without the query.
fn named(method: &Method, url: &Url) -> String {
    format!("{method} {}", url.path())
}

fn unusable(method: &Method, url: &Url, reason: String) -> ApiError {
    ApiError::Answer { request: named(method, url), reason }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderName;

    use super::*;

    #[test]
    fn token_is_sent_only_over_https() {
        drop(rustls::crypto::ring::default_provider().install_default());
        let token = Token::new(" secret \n");
        for good in ["https://sentry.io", "https://sentry.example/self/", "http://127.0.0.1:9000"] {
            assert!(Api::new(good, &token).is_ok(), "{good}");
        }
        for bad in ["http://sentry.example", "sentry.io", "ftp://127.0.0.1", "data:text"] {
            let error = Api::new(bad, &token).unwrap_err().to_string();
            assert!(error.contains(bad) && error.contains("PITBOSS_SENTRY_URL"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(Api::new("https://sentry.io", &Token::new(" ")).is_err());
        assert!(Api::new("https://sentry.io", &Token::new("a\nb")).is_err());
        let shown = format!("{token:?} {:?}", Api::new("https://sentry.io", &token).unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }

    #[test]
    fn parts_of_a_path_are_escaped() {
        drop(rustls::crypto::ring::default_provider().install_default());
        let api = Api::new("https://sentry.example/self/?x=1", &Token::new("t")).unwrap();
        let url = api.url(&["organizations", "a/../b"], &[("query", "type:metric x")]);
        assert_eq!(
            url.as_str(),
            "https://sentry.example/self/api/0/organizations/a%2F..%2Fb/?query=type%3Ametric+x"
        );
        assert_eq!(named(&Method::GET, &url), "GET /self/api/0/organizations/a%2F..%2Fb/");
    }

    #[test]
    fn wait_is_what_the_answer_says() {
        let wait = |pairs: &[(&'static str, &str)]| {
            let headers = pairs
                .iter()
                .map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
            wait_of(&headers.collect(), UNIX_EPOCH + Duration::from_secs(1_000)).as_secs()
        };
        assert_eq!(wait(&[]), 1);
        assert_eq!(wait(&[("retry-after", "0")]), 0);
        assert_eq!(wait(&[("retry-after", "7"), ("x-sentry-rate-limit-reset", "1002")]), 7);
        assert_eq!(wait(&[("x-sentry-rate-limit-reset", "1002")]), 3);
        assert_eq!(wait(&[("x-sentry-rate-limit-reset", "10")]), 1);
        assert_eq!(wait(&[("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT")]), 1);
    }
}
