//! The HTTP server layer and the HTTP client.

use std::sync::{Arc, Mutex};

use axum::routing::get;
use axum::{Extension, Router};
use telemetry::Category;
use telemetry::http::{Client, Options, Unrecorded, server_layer};
use telemetry::propagation::{self, TrustPolicy};
use telemetry::spans;
use tokio::sync::Notify;
use tracing::Instrument as _;

use super::receiver::{Behaviour, Receiver, span_with_op};
use super::scenario;

pub(crate) fn scenario(name: &str) -> Option<fn()> {
    match name {
        "server" => Some(server),
        "client" => Some(client),
        "odd_method" => Some(odd_method),
        "given_up" => Some(given_up),
        "unrecorded" => Some(unrecorded),
        _ => None,
    }
}

const OURS: &str = "0123456789abcdef0123456789abcdef";

async fn listen(policy: TrustPolicy) -> String {
    let app = Router::new()
        .route("/bets/{id}", get(|| async { "fine" }))
        .route("/inner", get(inner))
        .route("/panics", get(panics))
        .layer(server_layer(policy));
    serve(app).await
}

/// Serves `app` on a free port and returns its address.
pub(crate) async fn serve(app: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    telemetry::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

/// Returns its trace id and the baggage that it would pass on.
async fn inner() -> String {
    let baggage = propagation::current_headers().into_iter().find(|(name, _)| name == "baggage");
    format!("{} {}", telemetry::trace_id().unwrap(), baggage.unwrap_or_default().1)
}

async fn panics() -> &'static str {
    panic!("handler fell over")
}

const UNTRUSTED: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn server() {
    let telemetry = scenario::telemetry();
    scenario::block_on(async {
        let policy = TrustPolicy::outside([OURS.to_owned()])
            .with_operator(|headers| headers.get("x-operator").is_some_and(|token| token == "t0ken"));
        let address = listen(policy).await;
        let plain = reqwest::Client::builder().no_proxy().build().unwrap();
        let get = |path: &str| plain.get(format!("{address}{path}"));

        let answer = get("/bets/b-77?email=jo@example.com").send().await.unwrap();
        println!("trace_id={}", answer.headers()["x-trace-id"].to_str().unwrap());
        println!("unmatched={}", get("/nothing/here").send().await.unwrap().status().as_u16());
        let panicked = get("/panics").send().await.unwrap();
        println!(
            "panics={} {}",
            panicked.status().as_u16(),
            panicked.headers()["content-type"].to_str().unwrap()
        );
        println!("panics_trace={}", panicked.headers()["x-trace-id"].to_str().unwrap());
        println!("panics_body={}", panicked.text().await.unwrap());

        let parent = format!("00-{UNTRUSTED}-bbbbbbbbbbbbbbbb-01");
        let with_baggage = |baggage: &str| {
            get("/inner")
                .header("traceparent", parent.clone())
                .header("baggage", baggage.to_owned())
                .header("baggage", "pitboss.faults=f1,evil=1")
        };
        let untrusted = with_baggage(&format!(
            "sentry-trace_id={UNTRUSTED},sentry-public_key=feedfacefeedfacefeedfacefeedface"
        ));
        println!("untrusted={}", untrusted.send().await.unwrap().text().await.unwrap());
        let ours = with_baggage(&format!(
            "sentry-trace_id={UNTRUSTED},sentry-public_key={OURS},sentry-sampled=false,sentry-sample_rate=0.1,sentry-release=web%401"
        ));
        println!("ours={}", ours.send().await.unwrap().text().await.unwrap());
        let operator = with_baggage("a=b").header("x-operator", "t0ken");
        println!("operator={}", operator.send().await.unwrap().text().await.unwrap());
    });
    scenario::finish(telemetry);
}

#[test]
fn request_transaction_has_route_name() {
    let receiver = Receiver::start(Behaviour::Normal);
    let output = scenario::run("server", &receiver.dsn(), &[]);
    let transaction = receiver.transaction("GET /bets/{id}");
    let trace = &transaction.payload["contexts"]["trace"];
    assert_eq!(trace["op"], "http.server");
    assert_eq!(trace["status"], "ok");
    assert_eq!(trace["trace_id"], scenario::printed(&output, "trace_id"));
    assert_eq!(transaction.payload["transaction_info"]["source"], "route");
    assert_eq!(trace["data"]["http.response.status_code"], 200);
    assert_eq!(trace["data"]["http.request.method"], "GET");
    assert_eq!(trace["data"]["http.route"], "/bets/{id}");
    assert!(!transaction.payload.to_string().contains("b-77"), "no ids in names");
    let unmatched = receiver.transaction("GET <unmatched>");
    assert_eq!(unmatched.payload["contexts"]["trace"]["status"], "not_found");
    assert_eq!(scenario::printed(&output, "unmatched"), "404");
}

#[test]
fn panicking_handler_returns_500_and_is_reported() {
    let receiver = Receiver::start(Behaviour::Normal);
    let output = scenario::run("server", &receiver.dsn(), &[]);
    assert_eq!(scenario::printed(&output, "panics"), "500 application/problem+json");
    let trace_id = scenario::printed(&output, "panics_trace");
    assert!(scenario::printed(&output, "panics_body").contains(&trace_id));
    let transaction = receiver.transaction("GET /panics");
    assert_eq!(transaction.payload["contexts"]["trace"]["trace_id"], trace_id);
    assert_eq!(transaction.payload["contexts"]["trace"]["status"], "internal_error");
    let events = receiver.items_of("event");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].payload["contexts"]["trace"]["trace_id"], trace_id);
    assert_eq!(events[0].payload["transaction"], "GET /panics");
}

#[test]
fn unknown_trace_is_linked_and_known_continued() {
    let receiver = Receiver::start(Behaviour::Normal);
    let output = scenario::run("server", &receiver.dsn(), &[]);
    let headers_of = |caller: &str| -> (String, String) {
        let text = scenario::printed(&output, caller);
        let (trace, baggage) = text.split_once(' ').unwrap();
        (trace.to_owned(), baggage.to_owned())
    };
    let (untrusted, baggage) = headers_of("untrusted");
    assert_ne!(untrusted, UNTRUSTED);
    for foreign in ["evil", "feedface", "pitboss."] {
        assert!(!baggage.contains(foreign), "{baggage}");
    }
    let ours = headers_of("ours");
    assert_eq!(ours.0, UNTRUSTED, "continued");
    assert!(
        ours.1.contains("sentry-release=web%401") || ours.1.contains("sentry-release=web@1"),
        "{}",
        ours.1
    );
    assert!(
        ours.1.contains("sentry-sampled=true") && ours.1.contains("sentry-sample_rate=1"),
        "decided here: {}",
        ours.1
    );
    assert!(
        !ours.1.contains("evil") && !ours.1.contains("pitboss."),
        "a public key may not send commands: {}",
        ours.1
    );
    let (operator, baggage) = headers_of("operator");
    assert_eq!(operator, UNTRUSTED, "the trace of an operator is continued");
    assert!(baggage.contains("pitboss.faults=f1") && !baggage.contains("evil"), "{baggage}");
    let all = receiver.transactions();
    let inner: Vec<_> = all.iter().filter(|item| item.payload["transaction"] == "GET /inner").collect();
    let linked = inner
        .iter()
        .find(|item| item.payload["contexts"]["trace"]["trace_id"] == untrusted.as_str())
        .unwrap();
    assert_eq!(linked.payload["contexts"]["trace"]["links"][0]["trace_id"], UNTRUSTED);
    assert!(linked.payload["contexts"]["trace"].get("parent_span_id").is_none());
    let continued =
        inner.iter().find(|item| item.payload["contexts"]["trace"]["trace_id"] == UNTRUSTED).unwrap();
    assert_eq!(continued.payload["contexts"]["trace"]["parent_span_id"], "bbbbbbbbbbbbbbbb");
}

fn client() {
    let telemetry = scenario::telemetry();
    scenario::block_on(async {
        let address = listen(TrustPolicy::inside()).await;
        let span = spans::background("caller", []);
        async {
            let with = |timeout_ms| Client::with(&Options { timeout_ms, ..Options::default() }).unwrap();
            let (client, hasty) = (with(scenario::SOON_MS), with(300));
            let answer = client.get(&format!("{address}/bets/b-5")).route("/bets/{id}").send().await.unwrap();
            println!("status={}", answer.status().as_u16());
            let closed = client.get("http://127.0.0.1:9/x").route("/refused").send().await.unwrap_err();
            println!("refused={closed}");
            let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let silent_address = format!("http://{}/x", silent.local_addr().unwrap());
            let hung = hasty.post(&silent_address).route("/hung").json(&1).send().await.unwrap_err();
            println!("hung={hung}");
        }
        .instrument(span)
        .await;
    });
    scenario::finish(telemetry);
}

#[test]
fn callee_transaction_is_child_of_call() {
    let receiver = Receiver::start(Behaviour::Normal);
    let output = scenario::run("client", &receiver.dsn(), &[]);
    assert_eq!(scenario::printed(&output, "refused"), "GET /refused: cannot reach the server");
    assert_eq!(scenario::printed(&output, "hung"), "POST /hung: no response in time");
    let caller = receiver.transaction("caller");
    let calls = caller.payload["spans"].as_array().unwrap();
    let call = |route: &str| calls.iter().find(|span| span["data"]["url.template"] == route).unwrap();
    let fine = call("/bets/{id}");
    assert_eq!(fine["op"], "http.client");
    assert!(fine["description"].as_str().unwrap().starts_with("GET http://127.0.0.1:"));
    assert!(fine["description"].as_str().unwrap().ends_with("/bets/{id}"));
    assert_eq!(fine["data"]["http.response.status_code"], 200);
    assert_eq!(fine["status"], "ok");
    assert_eq!(call("/refused")["status"], "unavailable");
    assert_eq!(call("/hung")["status"], "deadline_exceeded");
    let callee = receiver.transaction("GET /bets/{id}");
    assert_eq!(callee.payload["contexts"]["trace"]["parent_span_id"], fine["span_id"]);
    assert_eq!(callee.payload["contexts"]["trace"]["trace_id"], fine["trace_id"]);
    assert_eq!(
        callee.envelope["trace"], caller.envelope["trace"],
        "one sampling context for the whole trace"
    );
    assert_eq!(span_with_op(&callee, "http.server")["status"], "ok");
}

/// A client sends an unknown method, to a route and without a route.
fn odd_method() {
    let telemetry = scenario::telemetry();
    scenario::block_on(async {
        let app = Router::new()
            .route("/falls", axum::routing::any(panics))
            .layer(server_layer(TrustPolicy::outside([])));
        let address = serve(app).await;
        let plain = reqwest::Client::builder().no_proxy().build().unwrap();
        let client = Client::with(&Options { timeout_ms: scenario::SOON_MS, ..Options::default() }).unwrap();
        let odd = reqwest::Method::from_bytes(b"AEVIL42").unwrap();
        for path in ["/falls", "/nothing"] {
            plain.request(odd.clone(), format!("{address}{path}")).send().await.unwrap();
        }
        let caller = spans::background("caller", []);
        client.request(odd, &format!("{address}/falls")).send().instrument(caller).await.unwrap();
    });
    println!("counted={}", telemetry::metric::render_prometheus().matches(r#"method="_OTHER""#).count() > 0);
    scenario::finish(telemetry);
}

#[test]
fn unknown_method_is_not_sent() {
    let receiver = Receiver::start(Behaviour::Normal);
    let output = scenario::run("odd_method", &receiver.dsn(), &[]);
    assert_eq!(scenario::printed(&output, "counted"), "true");
    let unmatched = receiver.transaction("_OTHER <unmatched>");
    assert_eq!(unmatched.payload["contexts"]["trace"]["data"]["http.request.method"], "_OTHER");
    assert_eq!(unmatched.envelope["trace"]["transaction"], "_OTHER <unmatched>");
    for event in receiver.items_of("event") {
        assert_eq!(event.payload["transaction"], "_OTHER /falls");
        assert_eq!(event.payload["tags"]["http.method"], "_OTHER");
    }
    let call = span_with_op(&receiver.transaction("caller"), "http.client");
    assert!(call["description"].as_str().unwrap().starts_with("_OTHER http://"), "{call}");
    for request in receiver.received() {
        assert!(!String::from_utf8(request.body).unwrap().contains("EVIL"));
    }
}

/// A caller that disconnects, and a call whose response is not awaited.
fn given_up() {
    let telemetry = scenario::telemetry();
    scenario::block_on(async {
        let reached = Arc::new(Notify::new());
        let server = Arc::clone(&reached);
        let never = move || async move {
            server.notify_one();
            std::future::pending::<&'static str>().await
        };
        let app = Router::new().route("/never", get(never)).layer(server_layer(TrustPolicy::inside()));
        let url = format!("{}/never", serve(app).await);
        let client = Client::with(&Options { timeout_ms: scenario::SOON_MS, ..Options::default() }).unwrap();
        let caller = spans::background("caller", []);
        let call = client.get(&url).send().instrument(caller);
        tokio::select! {
            _ = call => panic!("the server answered"),
            () = reached.notified() => {}
        }
    });
    scenario::finish(telemetry);
}

#[test]
fn abandoned_call_is_cancelled_once() {
    let receiver = Receiver::start(Behaviour::Normal);
    scenario::run("given_up", &receiver.dsn(), &[]);
    let served = receiver.transaction("GET /never");
    assert_eq!(served.payload["contexts"]["trace"]["status"], "cancelled");
    let call = span_with_op(&receiver.transaction("caller"), "http.client");
    assert_eq!(call["status"], "cancelled");
}

fn sampled_out(category: Category) -> u64 {
    let counts = telemetry::sampled_out();
    counts.iter().filter(|count| count.category == category).map(|count| count.quantity).sum()
}

/// Answers that are marked as unrecorded, of requests with a span that ends later. One of them is always recorded.
fn unrecorded() {
    let telemetry = scenario::telemetry();
    let open: Arc<Mutex<Vec<tracing::Span>>> = Arc::default();
    scenario::block_on(async {
        let opened = Arc::clone(&open);
        let refuse = move || async move {
            spans::function("work").in_scope(|| {});
            let late = spans::function("late");
            late.in_scope(|| {});
            opened.lock().unwrap().push(late);
            (Extension(Unrecorded), "too many")
        };
        let policy =
            TrustPolicy::outside([]).with_always_recorded(|headers| headers.contains_key("x-operator"));
        let app = Router::new()
            .route("/refused", get(refuse))
            .route("/kept", get(|| async { "fine" }))
            .layer(server_layer(policy));
        let address = serve(app).await;
        let plain = reqwest::Client::builder().no_proxy().build().unwrap();
        let get = |path: &str| plain.get(format!("{address}{path}"));

        let refused = get("/refused").send().await.unwrap();
        assert!(refused.headers().contains_key("x-trace-id"), "every answer has a trace id");
        scenario::until("the wait for the open span is over", || sampled_out(Category::Transaction) == 1);
        let late = open.lock().unwrap().pop().unwrap();
        late.in_scope(|| spans::function("after").in_scope(|| {}));
        drop(late);

        get("/kept").send().await.unwrap();
        get("/refused").header("x-operator", "1").send().await.unwrap();
        open.lock().unwrap().clear();
    });
    scenario::finish(telemetry);
}

#[test]
fn unrecorded_answer_is_counted_and_not_sent() {
    let receiver = Receiver::start(Behaviour::Normal);
    scenario::run("unrecorded", &receiver.dsn(), &[]);
    let sent = receiver.transactions();
    let mut names: Vec<&str> =
        sent.iter().map(|item| item.payload["transaction"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["GET /kept", "GET /refused"], "only the operator's refused request is there");
    let spans = receiver.transaction("GET /refused").payload["spans"].as_array().unwrap().len();
    assert_eq!(spans, 2);
    // The request, and the two spans that would have been sent alone.
    assert_eq!(receiver.reported("sample_rate", "transaction"), 3);
    assert_eq!(receiver.reported("sample_rate", "span"), 4);
}
