//! HTTP client for Pitboss services and partners. Each request has a span, the trace in its headers, and a time-out.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use serde::Serialize;
use tracing::{Instrument as _, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::known_method;
use crate::attributes as names;
use crate::propagation;
use crate::spans::{self, Status};

/// Limits of a client.
#[derive(Debug, Clone)]
pub struct Options {
    /// Time-out of one request from start to end, unless the request sets its own.
    pub timeout_ms: u64,
    /// Time-out of the connection to the server.
    pub connect_timeout_ms: u64,
    /// Connections kept for reuse, per server.
    pub idle_connections_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { timeout_ms: 5_000, connect_timeout_ms: 1_000, idle_connections_max: 32 }
    }
}

/// A `reqwest` client with tracing. It ignores proxies from the environment, because all its peers are addressed directly.
#[derive(Debug, Clone)]
pub struct Client {
    inner: reqwest::Client,
}

/// A request that did not get a response.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The client could not be built.
    #[error("cannot build the HTTP client")]
    Build(#[source] reqwest::Error),
    /// The request is invalid (a bad URL, a body that cannot be serialised).
    #[error("{method} {route}: the request is invalid")]
    Invalid {
        /// Its method.
        method: Method,
        /// Its route, without ids.
        route: String,
        /// The problem.
        #[source]
        source: reqwest::Error,
    },
    /// There was no response in time. The request may have had an effect.
    #[error("{method} {route}: no response in time")]
    TimedOut {
        /// Its method.
        method: Method,
        /// Its route, without ids.
        route: String,
    },
    /// The server could not be reached, so the request had no effect.
    #[error("{method} {route}: cannot reach the server")]
    NotReached {
        /// Its method.
        method: Method,
        /// Its route, without ids.
        route: String,
    },
    /// The connection broke. The request may have had an effect.
    #[error("{method} {route}: the connection broke")]
    Broken {
        /// Its method.
        method: Method,
        /// Its route, without ids.
        route: String,
        /// The problem.
        #[source]
        source: reqwest::Error,
    },
}

impl Client {
    /// Creates a client with the default limits.
    pub fn new() -> Result<Self, ClientError> {
        Self::with(&Options::default())
    }

    /// Creates a client with the given limits.
    pub fn with(options: &Options) -> Result<Self, ClientError> {
        crate::tls::install_crypto();
        let inner = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_millis(options.timeout_ms))
            .connect_timeout(Duration::from_millis(options.connect_timeout_ms))
            .pool_max_idle_per_host(options.idle_connections_max)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(ClientError::Build)?;
        Ok(Self { inner })
    }

    /// A GET.
    pub fn get(&self, url: &str) -> RequestBuilder {
        self.request(Method::GET, url)
    }

    /// A POST.
    pub fn post(&self, url: &str) -> RequestBuilder {
        self.request(Method::POST, url)
    }

    /// A PUT.
    pub fn put(&self, url: &str) -> RequestBuilder {
        self.request(Method::PUT, url)
    }

    /// A DELETE.
    pub fn delete(&self, url: &str) -> RequestBuilder {
        self.request(Method::DELETE, url)
    }

    /// Any method.
    pub fn request(&self, method: Method, url: &str) -> RequestBuilder {
        let inner = self.inner.request(method.clone(), url);
        RequestBuilder { client: self.inner.clone(), inner, method, route: None }
    }
}

/// A request that was not sent yet.
#[derive(Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct RequestBuilder {
    client: reqwest::Client,
    inner: reqwest::RequestBuilder,
    method: Method,
    route: Option<String>,
}

impl RequestBuilder {
    /// Sets the route, which is the URL's path without ids (`/internal/v1/players/{player_id}`) and names the span. Without it,
    /// the span's name has the first segments of the path.
    pub fn route(mut self, route: impl Into<String>) -> Self {
        self.route = Some(route.into());
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: impl Into<HeaderName>, value: impl Into<HeaderValue>) -> Self {
        self.inner = self.inner.header(name.into(), value.into());
        self
    }

    /// Adds a header from text. Invalid text makes the request invalid.
    pub fn header_str(mut self, name: &str, value: &str) -> Self {
        self.inner = self.inner.header(name, value);
        self
    }

    /// Sets a bearer token.
    pub fn bearer_auth(mut self, token: &str) -> Self {
        self.inner = self.inner.bearer_auth(token);
        self
    }

    /// Sets a JSON body.
    pub fn json<T: Serialize + ?Sized>(mut self, body: &T) -> Self {
        self.inner = self.inner.json(body);
        self
    }

    /// Sets a body without encoding it.
    pub fn body(mut self, body: impl Into<reqwest::Body>) -> Self {
        self.inner = self.inner.body(body);
        self
    }

    /// Sets the time-out of this request.
    pub fn timeout_ms(mut self, timeout_ms: u64) -> Self {
        self.inner = self.inner.timeout(Duration::from_millis(timeout_ms));
        self
    }

    /// Sends it as a child of the current span. A response with any status is `Ok`.
    pub async fn send(self) -> Result<reqwest::Response, ClientError> {
        let Self { client, inner, method, route } = self;
        let request = match inner.build() {
            Ok(request) => request,
            Err(source) => {
                let route = route.unwrap_or_else(|| "<invalid>".to_owned());
                return Err(ClientError::Invalid { method, route, source: source.without_url() });
            }
        };
        let route = route.unwrap_or_else(|| first_segments(request.url().path()));
        let span = client_span(&method, &route, request.url());
        perform(client, request, method, route, span.clone()).instrument(span).await
    }
}

fn client_span(method: &Method, route: &str, url: &reqwest::Url) -> Span {
    let port = i64::from(url.port_or_known_default().unwrap_or_default());
    let host = url.host_str().unwrap_or_default();
    let method = known_method(method);
    tracing::info_span!(
        "http.client",
        otel.name = format!("{method} {}://{host}:{port}{route}", url.scheme()),
        otel.kind = "client",
        sentry.op = "http.client",
        sentry.origin = "auto.http.client",
        http.request.method = method,
        server.address = host,
        server.port = port,
        url.template = route,
    )
}

async fn perform(
    client: reqwest::Client,
    mut request: reqwest::Request,
    method: Method,
    route: String,
    span: Span,
) -> Result<reqwest::Response, ClientError> {
    for (name, value) in propagation::headers_of(&span.context()) {
        if let Ok(value) = HeaderValue::from_str(&value) {
            request.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    // The caller may drop this future before the response arrives
    let unanswered = spans::unfinished(&span);
    let answer = client.execute(request).await;
    unanswered.finished();
    match answer {
        Ok(response) => {
            let code = response.status().as_u16();
            spans::set_attr(&span, names::HTTP_RESPONSE_STATUS_CODE, i64::from(code));
            spans::set_status(&span, Status::from_http(code));
            Ok(response)
        }
        Err(error) => {
            let timed_out = error.is_timeout() && !error.is_connect();
            spans::set_error(&span, if timed_out { Status::DeadlineExceeded } else { Status::Unavailable });
            Err(if timed_out {
                ClientError::TimedOut { method, route }
            } else if error.is_connect() {
                ClientError::NotReached { method, route }
            } else {
                ClientError::Broken { method, route, source: error.without_url() }
            })
        }
    }
}

/// `/internal/v1/players/p-77/bets` → `/internal/v1/players`: in all Pitboss APIs ids come after the third segment. An earlier
/// segment that looks like an id (digits, great length) becomes `?`, because it may be a credential.
fn first_segments(path: &str) -> String {
    const WORD_BYTES_MAX: usize = 24;
    let is_version = |part: &str| {
        part.strip_prefix('v').is_some_and(|n| n.len() <= 2 && n.bytes().all(|b| b.is_ascii_digit()))
    };
    let is_word = |part: &str| {
        part.len() <= WORD_BYTES_MAX && part.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-')
    };
    let visible = |part| if is_version(part) || is_word(part) { part } else { "?" };
    path.split('/').take(4).map(visible).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_in_path_are_hidden() {
        for (path, expected) in [
            ("/internal/v1/players/p-77/bets", "/internal/v1/players"),
            ("/api/v1/bets", "/api/v1/bets"),
            ("/sessions/4f1c5a2b-0000-4000-8000-000000000000", "/sessions/?"),
            ("/hooks/abcdefghijklmnopqrstuvwxyzabc", "/hooks/?"),
            ("/", "/"),
        ] {
            assert_eq!(first_segments(path), expected);
        }
    }
}
