//! The HTTP server layer and the HTTP client.

use axum::Router;
use axum::routing::get;
use telemetry::http::{Client, Options, server_layer};
use telemetry::propagation::{self, TrustPolicy};
use telemetry::spans;
use tracing::Instrument as _;

use super::receiver::{Mood, Receiver, span_with_op};
use super::scenario;

pub(crate) fn scenario(name: &str) -> Option<fn()> {
    match name {
        "server" => Some(server),
        "client" => Some(client),
        "odd_method" => Some(odd_method),
        "given_up" => Some(given_up),
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

const STRANGER: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn server() {
    let telemetry = scenario::telemetry();
    scenario::block_on(async {
        let policy = TrustPolicy::outside([OURS.to_owned()])
            .with_operator(|headers| headers.get("x-operator").is_some_and(|token| token == "t0ken"));
        let address = listen(policy).await;
        let plain = reqwest::Client::builder().no_proxy().build().unwrap();
        let ask = |path: &str| plain.get(format!("{address}{path}"));

        let answer = ask("/bets/b-77?email=jo@example.com").send().await.unwrap();
        println!("trace_id={}", answer.headers()["x-trace-id"].to_str().unwrap());
        println!("unmatched={}", ask("/nothing/here").send().await.unwrap().status().as_u16());
        let fallen = ask("/panics").send().await.unwrap();
        println!(
            "panics={} {}",
            fallen.status().as_u16(),
            fallen.headers()["content-type"].to_str().unwrap()
        );
        println!("panics_trace={}", fallen.headers()["x-trace-id"].to_str().unwrap());
        println!("panics_body={}", fallen.text().await.unwrap());

        let parent = format!("00-{STRANGER}-bbbbbbbbbbbbbbbb-01");
        let tell = |baggage: &str| {
            ask("/inner")
                .header("traceparent", parent.clone())
                .header("baggage", baggage.to_owned())
                .header("baggage", "pitboss.faults=f1,evil=1")
        };
        let strange =
            tell(&format!("sentry-trace_id={STRANGER},sentry-public_key=feedfacefeedfacefeedfacefeedface"));
        println!("stranger={}", strange.send().await.unwrap().text().await.unwrap());
        let ours = tell(&format!(
            "sentry-trace_id={STRANGER},sentry-public_key={OURS},sentry-sampled=false,sentry-sample_rate=0.1,sentry-release=web%401"
        ));
        println!("ours={}", ours.send().await.unwrap().text().await.unwrap());
        let operator = tell("a=b").header("x-operator", "t0ken");
        println!("operator={}", operator.send().await.unwrap().text().await.unwrap());
    });
    scenario::finish(telemetry);
}

#[test]
fn a_request_is_a_transaction_named_by_its_route() {
    let receiver = Receiver::start(Mood::Well);
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
fn a_panicking_handler_answers_500_and_is_reported_in_its_trace() {
    let receiver = Receiver::start(Mood::Well);
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
fn a_strangers_trace_is_linked_and_ours_is_continued() {
    let receiver = Receiver::start(Mood::Well);
    let output = scenario::run("server", &receiver.dsn(), &[]);
    let said = |who: &str| -> (String, String) {
        let text = scenario::printed(&output, who);
        let (trace, baggage) = text.split_once(' ').unwrap();
        (trace.to_owned(), baggage.to_owned())
    };
    let (stranger, baggage) = said("stranger");
    assert_ne!(stranger, STRANGER);
    for not_his in ["evil", "feedface", "pitboss."] {
        assert!(!baggage.contains(not_his), "{baggage}");
    }
    let ours = said("ours");
    assert_eq!(ours.0, STRANGER, "continued");
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
    assert!(!ours.1.contains("evil") && !ours.1.contains("pitboss."), "a key gives no orders: {}", ours.1);
    let (operator, baggage) = said("operator");
    assert_eq!(operator, STRANGER, "an operator's is continued");
    assert!(baggage.contains("pitboss.faults=f1") && !baggage.contains("evil"), "{baggage}");
    let all = receiver.transactions();
    let inner: Vec<_> = all.iter().filter(|item| item.payload["transaction"] == "GET /inner").collect();
    let linked =
        inner.iter().find(|item| item.payload["contexts"]["trace"]["trace_id"] == stranger.as_str()).unwrap();
    assert_eq!(linked.payload["contexts"]["trace"]["links"][0]["trace_id"], STRANGER);
    assert!(linked.payload["contexts"]["trace"].get("parent_span_id").is_none());
    let continued =
        inner.iter().find(|item| item.payload["contexts"]["trace"]["trace_id"] == STRANGER).unwrap();
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
fn a_call_is_a_span_and_the_callee_its_child() {
    let receiver = Receiver::start(Mood::Well);
    let output = scenario::run("client", &receiver.dsn(), &[]);
    assert_eq!(scenario::printed(&output, "refused"), "GET /refused: server not reached");
    assert_eq!(scenario::printed(&output, "hung"), "POST /hung: no answer in time");
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
fn an_invented_method_is_nowhere_to_be_seen() {
    let receiver = Receiver::start(Mood::Well);
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
        let app = Router::new()
            .route("/never", get(|| async { std::future::pending::<&'static str>().await }))
            .layer(server_layer(TrustPolicy::inside()));
        let url = format!("{}/never", serve(app).await);
        let client = Client::with(&Options { timeout_ms: scenario::SOON_MS, ..Options::default() }).unwrap();
        let caller = spans::background("caller", []);
        let call = client.get(&url).send().instrument(caller);
        let waited = tokio::time::timeout(std::time::Duration::from_millis(500), call).await;
        assert!(waited.is_err());
    });
    scenario::finish(telemetry);
}

#[test]
fn what_is_given_up_ends_once_and_is_not_well() {
    let receiver = Receiver::start(Mood::Well);
    scenario::run("given_up", &receiver.dsn(), &[]);
    let served = receiver.transaction("GET /never");
    assert_eq!(served.payload["contexts"]["trace"]["status"], "cancelled");
    let call = span_with_op(&receiver.transaction("caller"), "http.client");
    assert_eq!(call["status"], "cancelled");
}
