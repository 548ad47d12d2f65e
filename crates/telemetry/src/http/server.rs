//! HTTP server layer. Each request gets a transaction named by its route, an error scope, and its trace id in the response.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Instant;

use axum::body::Body;
use axum::extract::MatchedPath;
use axum::response::Response;
use futures::FutureExt as _;
use http::{HeaderName, HeaderValue, Request, StatusCode, header};
use sentry::{Hub, SentryFutureExt as _};
use tower::{Layer, Service};
use tracing::{Instrument as _, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::known_method;
use crate::activity::{Work, observed};
use crate::attributes as names;
use crate::crash::shown;
use crate::metric::{self, Metric};
use crate::propagation::{Incoming, TrustPolicy, extract_untrusted};
use crate::sampling;
use crate::sessions::RequestSession;
use crate::spans::{self, Status};
use crate::watchdog::Route;

/// Response header with the trace id.
pub const TRACE_ID_HEADER: HeaderName = HeaderName::from_static("x-trace-id");

/// Marks a request that gets no transaction, in its extensions or in those of its answer. It is counted and answered as any other
/// request, with a trace id.
///
/// It is for requests of which there can be too many. A layer around [`ServerLayer`] marks the request, so that nothing of it is
/// recorded. What is only known inside marks the answer, and the spans up to there are discarded. A request that is always recorded
/// ([`TrustPolicy::with_own_entry`]) stays recorded then.
#[derive(Debug, Clone, Copy)]
pub struct Unrecorded;

/// The layer for an axum router. Only a layer that sets [`Unrecorded`] may be around it. `policy` decides which trace headers are
/// trusted.
pub fn server_layer(policy: TrustPolicy) -> ServerLayer {
    ServerLayer { policy: Arc::new(policy) }
}

/// See [`server_layer`].
#[derive(Debug, Clone)]
pub struct ServerLayer {
    policy: Arc<TrustPolicy>,
}

impl<S> Layer<S> for ServerLayer {
    type Service = ServerService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ServerService { inner, policy: Arc::clone(&self.policy) }
    }
}

/// See [`server_layer`].
#[derive(Debug, Clone)]
pub struct ServerService<S> {
    inner: S,
    policy: Arc<TrustPolicy>,
}

impl<S> Service<Request<Body>> for ServerService<S>
where
    S: Service<Request<Body>, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut incoming = extract_untrusted(request.headers(), &self.policy);
        if request.extensions().get::<Unrecorded>().is_some() {
            incoming.context = incoming.context.with_value(sampling::Request::Skip);
        }
        let always_recorded = incoming.context.get::<sampling::Request>() == Some(&sampling::Request::Record);
        let name = transaction_name(&request);
        let span = request_span(&request, incoming, &name);
        // The future takes the ready instance, because the clone may not be ready
        let ready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready);
        let hub = Arc::new(Hub::new_from_top(Hub::main()));
        describe_request(&hub, &request);
        let counted = Counted::of(&request, RequestSession::begin(&hub));
        let inner = async move { inner.call(request).await };
        let answer = answer(span.clone(), counted, always_recorded, inner);
        let work = Work { what: Arc::new(Route(name)), span: span.clone(), hub: Arc::clone(&hub) };
        let answer = shown(&span, answer.instrument(span.clone()).bind_hub(hub));
        Box::pin(observed(Arc::new(work), answer))
    }
}

fn route_of(request: &Request<Body>) -> Option<&str> {
    request.extensions().get::<MatchedPath>().map(MatchedPath::as_str)
}

/// Method and route. An unmatched path is untrusted text, and each one would create another name.
fn transaction_name(request: &Request<Body>) -> String {
    format!("{} {}", known_method(request.method()), route_of(request).unwrap_or("<unmatched>"))
}

fn request_span(request: &Request<Body>, incoming: Incoming, name: &str) -> Span {
    let route = route_of(request);
    let (method, source) = (known_method(request.method()), if route.is_some() { "route" } else { "custom" });
    let span = tracing::info_span!(
        parent: None,
        "http.server",
        otel.name = name,
        otel.kind = "server",
        sentry.op = "http.server",
        sentry.source = source,
        sentry.origin = "auto.http.server",
        http.request.method = method,
        http.route = route,
        url.scheme = "http",
        network.protocol.version = protocol_version(request.version()),
    );
    // Refused only if telemetry is off
    span.set_parent(incoming.context).ok();
    for link in incoming.links {
        span.add_link(link);
    }
    span
}

/// The protocol version as the conventions define it: `1.1`, not `HTTP/1.1`.
fn protocol_version(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_09 => "0.9",
        http::Version::HTTP_10 => "1.0",
        http::Version::HTTP_2 => "2",
        http::Version::HTTP_3 => "3",
        _ => "1.1",
    }
}

fn describe_request(hub: &Hub, request: &Request<Body>) {
    let route = request.extensions().get::<MatchedPath>().map(|route| route.as_str().to_owned());
    let method = known_method(request.method());
    hub.configure_scope(|scope| {
        scope.set_transaction(route.as_deref().map(|route| format!("{method} {route}")).as_deref());
        scope.set_tag("http.method", method);
        if let Some(route) = route {
            scope.set_tag("http.route", route);
        }
    });
}

async fn answer(
    span: Span,
    counted: Counted,
    always_recorded: bool,
    inner: impl Future<Output = Result<Response, Infallible>> + Send,
) -> Result<Response, Infallible> {
    // The caller may disconnect before there is a response
    let unanswered = spans::unfinished(&span);
    // The panic hook has already reported it in this trace. The connection and its other requests continue.
    let outcome = AssertUnwindSafe(inner).catch_unwind().await;
    let mut response = match outcome {
        Ok(Ok(response)) => response,
        Err(_) => after_panic(),
    };
    unanswered.finished();
    let status = response.status();
    spans::set_attr(&span, names::HTTP_RESPONSE_STATUS_CODE, i64::from(status.as_u16()));
    spans::set_status(&span, Status::from_http(status.as_u16()));
    if let Some(value) = spans::trace_id().and_then(|id| HeaderValue::from_str(&id).ok()) {
        response.headers_mut().insert(TRACE_ID_HEADER, value);
    }
    counted.answered(status);
    if !always_recorded && response.extensions().get::<Unrecorded>().is_some() {
        spans::discard(&span);
    }
    // Tasks that the handler started hold the span, some of them as long as the process lives
    spans::end(&span);
    Ok(response)
}

/// Metrics status of a request whose caller disconnected before the response. HTTP has no status for it.
const GIVEN_UP: &str = "499";

/// A request for the metrics, which counts it exactly once, on drop.
struct Counted {
    started: Instant,
    method: &'static str,
    route: String,
    /// `None` until there is a response.
    status: Option<StatusCode>,
    /// Ends with the request.
    _session: Option<RequestSession>,
}

impl Counted {
    fn of(request: &Request<Body>, session: Option<RequestSession>) -> Self {
        let route = request.extensions().get::<MatchedPath>().map_or("<unmatched>", MatchedPath::as_str);
        let method = known_method(request.method());
        Self { started: Instant::now(), method, route: route.to_owned(), status: None, _session: session }
    }

    fn answered(mut self, status: StatusCode) {
        self.status = Some(status);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let (method, route) = (("method", self.method), ("route", self.route.as_str()));
        let status = self.status.as_ref().map_or(GIVEN_UP, StatusCode::as_str);
        metric::count(Metric::HttpRequests, 1, &[method, route, ("status", status)]);
        let took_ms = self.started.elapsed().as_secs_f64() * 1_000.0;
        metric::distribution(Metric::HttpRequestDuration, took_ms, &[method, route]);
    }
}

/// An RFC 9457 error response. It is built by hand, because its type is in chassis, which depends on this crate.
fn after_panic() -> Response {
    let trace_id = spans::trace_id().unwrap_or_default();
    let body = format!(
        r#"{{"type":"about:blank","title":"Internal Server Error","status":500,"detail":"the request failed and was reported","trace_id":"{trace_id}"}}"#
    );
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tower::ServiceExt as _;
    use tracing::span::Id;
    use tracing_subscriber::layer::{Context, SubscriberExt as _};

    use super::*;

    /// Counts closed spans. A span is closed when its last handle is dropped.
    struct Closed(Arc<AtomicUsize>);

    impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Closed {
        fn on_close(&self, _: Id, _: Context<'_, S>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The number of requests with this method and status that were counted in this process.
    fn counted(method: &str, status: &str) -> f64 {
        // The page of the crate under test: testkit links another copy of it, with metrics of its own
        let page = metric::render_prometheus();
        let labels = [("method", method), ("status", status)];
        let found = testkit::metrics::series(&page, "pitboss_http_server_requests_total", &labels);
        found.iter().map(|(_, count)| count).sum()
    }

    #[test]
    fn cancelled_request_is_counted_once() {
        let request = || Request::builder().method("PATCH").body(Body::empty()).unwrap();
        let never = tower::service_fn(|_| std::future::pending::<Result<Response, Infallible>>());
        let mut given_up = Box::pin(server_layer(TrustPolicy::default()).layer(never).oneshot(request()));
        assert!((&mut given_up).now_or_never().is_none());
        assert_eq!(counted("PATCH", GIVEN_UP), 0.0, "it may still be answered");
        drop(given_up);
        assert_eq!(counted("PATCH", GIVEN_UP), 1.0);

        let fine = tower::service_fn(|_| async { Ok::<_, Infallible>(Response::new(Body::empty())) });
        let answered = server_layer(TrustPolicy::default()).layer(fine).oneshot(request()).now_or_never();
        assert!(answered.is_some());
        assert_eq!((counted("PATCH", "200"), counted("PATCH", GIVEN_UP)), (1.0, 1.0));
    }

    #[test]
    fn answered_request_leaves_no_span_open() {
        let closed = Arc::new(AtomicUsize::new(0));
        let subscriber = tracing_subscriber::registry().with(Closed(Arc::clone(&closed)));
        tracing::subscriber::with_default(subscriber, || {
            let inner = tower::service_fn(|_| async { Ok::<_, Infallible>(Response::new(Body::empty())) });
            let service = server_layer(TrustPolicy::default()).layer(inner);
            for _ in 0..3 {
                let answered =
                    futures::executor::block_on(service.clone().oneshot(Request::new(Body::empty())));
                assert!(answered.is_ok());
            }
        });
        assert_eq!(closed.load(Ordering::Relaxed), 3);
    }
}
