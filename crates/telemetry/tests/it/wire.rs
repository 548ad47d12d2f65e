//! Headers of a call, read by a server without telemetry.

use axum::Router;
use axum::routing::get;
use telemetry::http::{Client, Options, server_layer};
use telemetry::propagation::TrustPolicy;
use telemetry::spans;
use tracing::Instrument as _;

use super::receiver::{Behaviour, Received, Receiver, span_with_op};
use super::{http, scenario};

pub(crate) fn scenario(name: &str) -> Option<fn()> {
    (name == "wire").then_some(wire)
}

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// A call in a trace that begins here, and a call in a trace that came in with a request.
fn wire() {
    let telemetry = scenario::telemetry();
    let plain = format!("http://{}", scenario::argument("PLAIN").unwrap());
    scenario::block_on(async {
        let client = Client::with(&Options { timeout_ms: scenario::SOON_MS, ..Options::default() }).unwrap();
        let caller = spans::background("caller", []);
        client.get(&format!("{plain}/fresh")).send().instrument(caller).await.unwrap();

        let forward = move || async move {
            client.get(&format!("{plain}/forwarded")).send().await.unwrap();
        };
        let app = Router::new().route("/forward", get(forward)).layer(server_layer(TrustPolicy::inside()));
        let address = http::serve(app).await;
        let other_client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = other_client
            .get(format!("{address}/forward"))
            .header("traceparent", format!("00-{TRACE}-b7ad6b7169203331-01"))
            .header("tracestate", "a=1,b=2")
            .header("baggage", format!("other=1,sentry-trace_id={TRACE};p=1"))
            .header("baggage", "pitboss.faults=x%2Cy , sentry-public_key=k,sentry-sample_rate=0.5")
            .header("baggage", "sentry-sampled=true,sentry-release=web%401.0%20b,sentry-newfield=1");
        assert_eq!(request.send().await.unwrap().status(), 200);
    });
    scenario::finish(telemetry);
}

/// The telemetry of the scenario that Sentry received, and the request of that path as it was sent.
fn run(path: &str) -> (Receiver, Received) {
    let (receiver, plain) = (Receiver::start(Behaviour::Normal), Receiver::start(Behaviour::Normal));
    scenario::run("wire", &receiver.dsn(), &[("PLAIN", &plain.address())]);
    let line = format!("GET {path} HTTP/1.1");
    let request = plain.received().into_iter().find(|request| request.request_line == line);
    (receiver, request.unwrap_or_else(|| panic!("{line} did not arrive")))
}

/// Checks that both headers with ids occur once and name the span of the call.
fn assert_names_the_call(request: &Received, trace_id: &str, receiver: &Receiver, transaction: &str) {
    let span = span_with_op(&receiver.transaction(transaction), "http.client");
    assert_eq!(span["trace_id"], trace_id);
    let span_id = span["span_id"].as_str().unwrap();
    assert_eq!(request.headers_named("traceparent"), [format!("00-{trace_id}-{span_id}-01")]);
    assert_eq!(request.headers_named("sentry-trace"), [format!("{trace_id}-{span_id}-1")]);
}

#[test]
fn call_headers_of_own_trace_are_exact() {
    let (receiver, request) = run("/fresh");
    let caller = receiver.transaction("caller");
    let context = |name: &str| caller.envelope["trace"][name].as_str().unwrap();
    assert_names_the_call(&request, context("trace_id"), &receiver, "caller");
    assert!(request.headers_named("tracestate").is_empty(), "none was received");
    let baggage = format!(
        "sentry-trace_id={},sentry-public_key=0123456789abcdef0123456789abcdef,sentry-sample_rate=1,\
         sentry-sample_rand={},sentry-sampled=true,sentry-release=game@1.2.3,sentry-environment=test,\
         sentry-transaction=caller",
        context("trace_id"),
        context("sample_rand"),
    );
    assert_eq!(request.headers_named("baggage"), [baggage]);
}

#[test]
fn call_headers_of_callers_trace_are_unchanged() {
    let (receiver, request) = run("/forwarded");
    assert_names_the_call(&request, TRACE, &receiver, "GET /forward");
    assert_eq!(request.headers_named("tracestate"), ["a=1,b=2"]);
    let baggage = format!(
        "pitboss.faults=x%2Cy,sentry-trace_id={TRACE},sentry-public_key=k,sentry-sample_rate=0.5,\
         sentry-sampled=true,sentry-release=web@1.0%20b,sentry-newfield=1"
    );
    assert_eq!(request.headers_named("baggage"), [baggage], "three lines become one without foreign entries");
}
