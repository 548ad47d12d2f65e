//! Debug faults: off by default, guarded, bounded, and each is one issue of its own in Sentry.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use chassis::{
    config::{DebugConfig, Http},
    debug::Debug,
    internal::Internal,
};
use contracts::{
    DebugFault, DebugStore, Part,
    debug::{DebugEvent, SERVICES, StoreCall},
};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use telemetry::propagation::TrustPolicy;
use testkit::receiver::Receiver;
use tokio::{net::TcpListener, sync::Notify};
use tokio_util::sync::CancellationToken;

const TOKEN: &str = "the internal token of these tests";
const ENABLED: DebugConfig = DebugConfig { enabled: true };

/// A store that refuses its command once it is allowed to, and whose query is slow.
#[derive(Clone, Default)]
struct FakeStore {
    begun: Arc<Notify>,
    may_fail: Arc<Notify>,
}

#[derive(Debug, thiserror::Error)]
#[error("unknown operator")]
struct UnknownOperator;

impl DebugStore for FakeStore {
    fn refused_operation(&self) -> &'static str {
        "find"
    }

    fn fail(&self) -> StoreCall<'_, ()> {
        Box::pin(async move {
            self.begun.notify_one();
            self.may_fail.notified().await;
            Err(UnknownOperator.into())
        })
    }

    fn query_slowly(&self) -> StoreCall<'_, Option<u64>> {
        Box::pin(async { Ok(Some(700)) })
    }
}

/// A listener with routes, until it is dropped.
struct Server {
    address: String,
    stop: CancellationToken,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Server {
    async fn start(routes: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let http = Http { body_bytes_max: 256, ..testkit::long_timeouts::http(address) };
        let stop = CancellationToken::new();
        let router = chassis::http::router(routes, &http, TrustPolicy::inside());
        telemetry::spawn(chassis::http::serve(listener, router, http, stop.clone()));
        Self { address: address.to_string(), stop }
    }

    fn post(&self, fault: &str) -> RequestBuilder {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        client.post(format!("http://{}/internal/v1/debug/{fault}", self.address))
    }
}

async fn answer(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    (status, response.json().await.expect("JSON"))
}

#[tokio::test]
async fn they_do_not_exist_by_default() {
    crate::init_telemetry();
    let debug = Debug::new(Part::Game, &DebugConfig::default());
    assert!(!debug.is_enabled());
    for routes in [debug.routes(), debug.guarded_routes(Internal::new(TOKEN.into()))] {
        let server = Server::start(routes).await;
        let (status, body) = answer(server.post("crash").header("x-internal-token", TOKEN)).await;
        assert_eq!((status, &body["type"]), (404, &json!("/problems/not-found")));
        assert!(body.get("detail").is_none(), "it is answered as any unknown path: {body}");
    }
}

#[tokio::test]
async fn unknown_fault_is_answered_with_those_of_the_service() {
    crate::init_telemetry();
    let server = Server::start(Debug::new(Part::Analytics, &ENABLED).routes()).await;
    // The second one exists at another service only.
    for fault in ["no-such-fault", "deadlock"] {
        let (status, body) = answer(server.post(fault)).await;
        let detail = body["detail"].as_str().expect("a detail");
        assert_eq!(status, 404, "{fault}");
        assert!(detail.contains("memory-spike") && !detail.contains("deadlock"), "{detail}");
    }
}

#[tokio::test]
async fn guarded_routes_require_the_internal_token() {
    crate::init_telemetry();
    let debug = Debug::new(Part::Analytics, &ENABLED);
    let server = Server::start(debug.guarded_routes(Internal::new(TOKEN.into()))).await;
    for token in [None, Some("another internal token of the tests")] {
        let request = server.post("error-parse");
        let request =
            token.into_iter().fold(request, |request, token| request.header("x-internal-token", token));
        let (status, body) = answer(request).await;
        assert_eq!((status, &body["type"]), (401, &json!("/problems/internal-token")));
    }
    let (status, _) = answer(server.post("error-parse").header("x-internal-token", TOKEN)).await;
    assert_eq!(status, 500);
}

#[tokio::test]
async fn body_is_optional_checked_and_bounded() {
    crate::init_telemetry();
    let server = Server::start(Debug::new(Part::Game, &ENABLED).routes()).await;
    let post = || server.post("error-parse");
    let long = "p".repeat(129);
    for (request, status) in [
        (post(), 500),
        (post().json(&json!({})), 500),
        (post().json(&json!({ "player_id": "p-1" })), 500),
        (post().json(&json!({ "player_id": "" })), 422),
        (post().json(&json!({ "player_id": "p 1" })), 422),
        (post().json(&json!({ "player_id": long })), 422),
        (post().json(&json!({ "other": 1 })), 422),
        (post().json(&json!({ "player_id": "p".repeat(300) })), 413),
    ] {
        let described = format!("{request:?}");
        assert_eq!(answer(request).await.0, status, "{described}");
    }
}

#[tokio::test]
async fn one_fault_runs_at_a_time() {
    crate::init_telemetry();
    let store = FakeStore::default();
    let server = Server::start(Debug::new(Part::Payment, &ENABLED).with_store(store.clone()).routes()).await;
    let first = telemetry::spawn(answer(server.post("database-error")));
    store.begun.notified().await;
    let (status, body) = answer(server.post("error-parse")).await;
    assert_eq!((status, &body["type"]), (429, &json!("/problems/debug-busy")));
    store.may_fail.notify_one();
    assert_eq!(first.await.expect("an answer").0, 500);
    assert_eq!(answer(server.post("error-parse")).await.0, 500, "the next one may run");
}

/// Causes every fault once, at the first service that offers it, except those that would end this process. Returns status and body of each answer.
async fn cause_all(receiver: Arc<Receiver>) -> BTreeMap<DebugFault, (u16, Value)> {
    let _watchdog = telemetry::watchdog::start().expect("a thread");
    let mut answers = BTreeMap::new();
    for service in SERVICES {
        let store = FakeStore::default();
        store.may_fail.notify_one();
        let server = Server::start(Debug::new(service, &ENABLED).with_store(store).routes()).await;
        let is_first =
            |fault: &DebugFault| !fault.is_deadly() && fault.definition().services.first() == Some(&service);
        for fault in DebugFault::of(service).filter(is_first) {
            let request = server.post(fault.as_str()).json(&json!({ "player_id": "p-7" }));
            answers.insert(fault, answer(request).await);
        }
    }
    // Nobody waits for its task, so that its event may be the last of all.
    let trace_id = answers[&DebugFault::TaskPanic].1["trace_id"].clone();
    testkit::eventually("the event of the detached task", Duration::from_secs(60), || async {
        events(&receiver).iter().any(|event| event["contexts"]["trace"]["trace_id"] == trace_id).then_some(())
    })
    .await;
    answers
}

fn events(receiver: &Receiver) -> Vec<Value> {
    receiver.items().into_iter().filter(|(kind, _)| kind == "event").map(|(_, event)| event).collect()
}

/// What an issue is grouped by: the fingerprint, or else the type and the innermost function of ours.
fn grouping(event: &Value) -> String {
    if let Some(fingerprint) = event.get("fingerprint") {
        return fingerprint.to_string();
    }
    let exception = event["exception"]["values"].as_array().and_then(|values| values.last()).expect("one");
    let frames = exception["stacktrace"]["frames"].as_array().expect("a stack");
    let own = frames.iter().rev().find(|frame| frame["in_app"] == true).expect("a frame of ours");
    format!("{} in {}", exception["type"], own["function"])
}

fn check(fault: DebugFault, status: u16, answer: &Value, events: &[Value]) -> Option<String> {
    let definition = fault.definition();
    assert_eq!(status, definition.status, "{fault}: {answer}");
    let trace_id = answer["trace_id"].as_str().unwrap_or_else(|| panic!("{fault}: {answer}"));
    let own: Vec<&Value> =
        events.iter().filter(|event| event["contexts"]["trace"]["trace_id"] == trace_id).collect();
    if definition.event == DebugEvent::None {
        assert!(own.is_empty() && answer.get("sentry_event_id").is_none(), "{fault}: {own:#?}");
        return None;
    }
    assert_eq!(own.len(), 1, "{fault} has one event: {own:#?}");
    let event = own[0];
    let event_id = event["event_id"].as_str().expect("an id").replace('-', "");
    let told = (fault != DebugFault::TaskPanic).then_some(event_id.as_str());
    assert_eq!(answer.get("sentry_event_id").and_then(Value::as_str), told, "{fault}");
    assert_eq!(event["user"]["id"], "p-7", "{fault}");
    assert!(event["contexts"]["process"]["rss_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{fault}");
    let crumbs = event["breadcrumbs"].to_string();
    assert!(crumbs.contains("an operator asked for a debug fault"), "{fault}: {crumbs}");
    let exception = event["exception"]["values"].as_array().and_then(|values| values.last()).expect("one");
    let is_unhandled = exception["mechanism"]["handled"] == false;
    assert_eq!(is_unhandled, definition.event == DebugEvent::Panic, "{fault}: {exception}");
    if !is_unhandled {
        let kind = if fault == DebugFault::RuntimeBlock { "worker-blocked" } else { fault.as_str() };
        assert_eq!(event["tags"]["kind"], kind);
    }
    Some(grouping(event))
}

#[test]
#[ignore = "a scenario of each_fault_is_one_issue"]
fn every_fault() {
    let Some((receiver, answers)) = testkit::scenario::received("payment", cause_all) else { return };
    let survived = DebugFault::ALL.iter().filter(|fault| !fault.is_deadly()).count();
    assert_eq!(answers.len(), survived);
    let events = events(&receiver);
    let mut groups = BTreeMap::new();
    for (fault, (status, answer)) in &answers {
        if let Some(group) = check(*fault, *status, answer, &events)
            && let Some(other) = groups.insert(group.clone(), *fault)
        {
            panic!("{fault} and {other} are one issue: {group}");
        }
    }
    assert_eq!(groups.len(), survived - 1, "all but the slow query");
    let linked = events.iter().find(|event| event["tags"]["kind"] == "async-error").expect("an event");
    let values = linked["exception"]["values"].as_array().expect("exceptions");
    let roots = values.iter().filter(|value| value["mechanism"]["is_exception_group"] == true).count();
    let parts = values.iter().filter(|value| value["mechanism"]["parent_id"] == 0).count();
    assert_eq!((roots, parts), (1, 3), "{values:#?}");
}

#[test]
fn each_fault_is_one_issue() {
    testkit::scenario::run("debug::every_fault");
}
