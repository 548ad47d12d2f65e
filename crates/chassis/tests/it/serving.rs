//! HTTP server of every service: its limits hold, and every error is answered as a problem.

use std::time::Duration;

use axum::{
    Router,
    routing::{get, post},
};
use chassis::{
    config::Http,
    http::{Json, RawBody},
};
use serde::Deserialize;
use serde_json::{Value, json};
use telemetry::propagation::TrustPolicy;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

#[derive(Deserialize)]
struct Wanted {
    number: i64,
}

async fn broken() -> &'static str {
    panic!("broken on purpose")
}

async fn serve(http: Http) -> (String, CancellationToken) {
    crate::init_telemetry();
    let routes = Router::new()
        .route("/number", post(|Json(wanted): Json<Wanted>| async move { wanted.number.to_string() }))
        .route("/bytes", post(|RawBody(body): RawBody| async move { body.len().to_string() }))
        .route("/counted", get(|| async { "here" }))
        .route("/panic", get(broken))
        .route("/slow", get(|| tokio::time::sleep(Duration::from_secs(60))));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    let stop = CancellationToken::new();
    let router = chassis::http::router(routes, &http, TrustPolicy::inside());
    telemetry::spawn(chassis::http::serve(listener, router, http, stop.clone()));
    (address, stop)
}

fn small_limits() -> Http {
    let http = testkit::long_timeouts::http("127.0.0.1:0".parse().expect("an address"));
    Http { body_bytes_max: 64, ..http }
}

async fn problem(request: reqwest::RequestBuilder) -> (u16, String) {
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    assert!(response.headers().contains_key("x-trace-id"), "every response has its trace id");
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let body: Value = response.json().await.expect("JSON");
    assert_eq!(body["status"], status);
    (status, body["type"].as_str().expect("a type").to_owned())
}

#[tokio::test]
async fn errors_are_returned_as_problems() {
    let (address, _stop) = serve(small_limits()).await;
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let at = |path: &str| format!("http://{address}{path}");
    let cases = [
        (client.get(at("/nothing")), 404, "not-found"),
        (client.get(at("/number")), 405, "method-not-allowed"),
        (client.post(at("/number")).body("{}"), 415, "unsupported-media-type"),
        (
            client.post(at("/number")).header("content-type", "text/json").body("{}"),
            415,
            "unsupported-media-type",
        ),
        (client.post(at("/number")).header("content-type", "application/json").body("{"), 400, "bad-request"),
        (client.post(at("/number")).json(&json!({ "number": "x" })), 422, "invalid-body"),
        (client.post(at("/number")).json(&json!([7])), 422, "invalid-body"),
        (client.post(at("/number")).json(&json!({ "number": 1, "more": "x".repeat(100) })), 413, "too-large"),
        (client.get(at("/panic")), 500, "internal"),
    ];
    for (request, status, slug) in cases {
        assert_eq!(problem(request).await, (status, format!("/problems/{slug}")));
    }
    let good = client.post(at("/number")).json(&json!({ "number": 7 })).send().await.expect("an answer");
    assert_eq!(good.text().await.expect("a body"), "7", "a valid request is answered");
    let other = client.post(at("/number")).header("content-type", "application/problem+json");
    let good = other.body(r#"{"number":8}"#).send().await.expect("an answer");
    assert_eq!(good.text().await.expect("a body"), "8", "a type that ends with +json is JSON");
}

#[tokio::test]
async fn slow_handler_returns_503() {
    let (address, _stop) = serve(Http { request_deadline_ms: 200, ..small_limits() }).await;
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let answer = problem(client.get(format!("http://{address}/slow"))).await;
    assert_eq!(answer, (503, "/problems/unavailable".to_owned()));
}

#[tokio::test]
async fn chunked_body_over_limit_returns_413() {
    let (address, _stop) = serve(small_limits()).await;
    for path in ["/number", "/bytes"] {
        assert_chunked_body_over_limit_returns_413(&address, path).await;
    }
}

async fn assert_chunked_body_over_limit_returns_413(address: &str, path: &str) {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    let chunk = format!("{{\"number\":1,\"x\":\"{}\"}}", "y".repeat(200));
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{chunk}\r\n0\r\n\r\n",
        chunk.len()
    );
    stream.write_all(request.as_bytes()).await.expect("writes");
    let mut answer = vec![0; 64];
    let length = stream.read(&mut answer).await.expect("reads");
    assert!(answer[..length].starts_with(b"HTTP/1.1 413"), "{}", String::from_utf8_lossy(&answer[..length]));
}

/// Status of the answer to a request with these headers besides its host, or `None` if the connection is closed instead.
async fn status_with(address: &str, headers: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    let head = format!("GET /nothing HTTP/1.1\r\nhost: {address}\r\n{headers}\r\n");
    // The server does not read all of a head that is too large, so the write may fail.
    stream.write_all(head.as_bytes()).await.ok();
    let mut status_line = [0; 12];
    stream.read_exact(&mut status_line).await.ok()?;
    String::from_utf8_lossy(&status_line).rsplit(' ').next()?.parse().ok()
}

#[tokio::test]
async fn head_with_65_headers_or_70_kb_is_refused() {
    let (address, _stop) = serve(small_limits()).await;
    let many = |count: usize| (0..count).map(|n| format!("x-{n}: y\r\n")).collect::<Vec<_>>().concat();
    let long = |bytes: usize| format!("x-long: {}\r\n", "y".repeat(bytes));
    // The limit is 32 KiB. Bytes beyond it that arrive with the same read are still parsed.
    for (headers, what) in [(many(63), "64 headers"), (long(30_000), "30 000 bytes")] {
        assert_eq!(status_with(&address, &headers).await, Some(404), "{what}");
    }
    for (headers, what) in [(many(64), "65 headers"), (long(70_000), "70 000 bytes")] {
        let status = status_with(&address, &headers).await;
        assert!(matches!(status, Some(431) | None), "{what}: {status:?}");
    }
}

/// Sends the head of a request whose body no handler reads.
async fn begin(address: &str, host: &str, framing: &str) -> TcpStream {
    begin_at("/nothing", address, host, framing).await
}

async fn begin_at(path: &str, address: &str, host: &str, framing: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    let head = format!("POST {path} HTTP/1.1\r\nhost: {host}\r\n{framing}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("writes");
    stream
}

/// Status of the next answer. Its bytes come in one piece.
async fn next_status(stream: &mut TcpStream) -> String {
    let mut answer = vec![0; 4_096];
    let length = stream.read(&mut answer).await.expect("an answer");
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

/// Status of the answer, which comes after this rest of the body. Then the connection is used again.
async fn status_after(rest: &str, stream: &mut TcpStream, address: &str) -> String {
    let early = tokio::time::timeout(Duration::from_millis(100), stream.readable()).await;
    assert!(early.is_err(), "answered before {rest:?}");
    stream.write_all(rest.as_bytes()).await.expect("writes");
    let status = next_status(stream).await;
    let next = format!("POST /bytes HTTP/1.1\r\nhost: {address}\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(next.as_bytes()).await.expect("still open");
    assert_eq!(next_status(stream).await, "200", "after {rest:?}");
    status
}

#[tokio::test]
async fn answer_comes_after_a_body_that_nobody_reads() {
    let (address, _stop) = serve(small_limits()).await;
    let too_large = "b".repeat(100);
    for (host, framing, body, status) in [
        (address.as_str(), "content-length: 4", "body", "404"),
        (address.as_str(), "transfer-encoding: chunked", "4\r\nbody\r\n0\r\n\r\n", "404"),
        (address.as_str(), "content-length: 100", too_large.as_str(), "413"),
        ("other.example", "content-length: 4", "body", "421"),
    ] {
        let mut stream = begin(&address, host, framing).await;
        assert_eq!(status_after(body, &mut stream, &address).await, status, "{framing}");
    }
}

/// The handler begins to read, so the client sends. The handler stops when the body is too long.
#[tokio::test]
async fn refusal_comes_after_an_expected_body() {
    let (address, _stop) = serve(small_limits()).await;
    let framing = "expect: 100-continue\r\ntransfer-encoding: chunked";
    let mut stream = begin_at("/bytes", &address, &address, framing).await;
    assert_eq!(next_status(&mut stream).await, "100");
    let first = format!("64\r\n{}\r\n", "b".repeat(100));
    stream.write_all(first.as_bytes()).await.expect("writes");
    assert_eq!(status_after("0\r\n\r\n", &mut stream, &address).await, "413");
}

/// The connection closes behind the answer, since nobody reads the rest.
#[tokio::test]
async fn long_slow_or_offered_body_is_not_awaited() {
    let (address, _stop) = serve(small_limits()).await;
    for (framing, status) in [
        ("content-length: 4", "404"),
        ("content-length: 20000", "413"),
        ("transfer-encoding: chunked", "404"),
        ("expect: 100-continue\r\ncontent-length: 4", "404"),
    ] {
        let mut stream = begin(&address, &address, framing).await;
        let mut answer = String::new();
        let read = tokio::time::timeout(Duration::from_secs(60), stream.read_to_string(&mut answer)).await;
        read.expect("closed in time").expect("text");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{framing}: {answer}");
    }
}

#[tokio::test]
async fn endless_body_does_not_delay_the_answer() {
    let (address, _stop) = serve(small_limits()).await;
    let stream = begin(&address, &address, "transfer-encoding: chunked").await;
    let (mut read, mut write) = stream.into_split();
    let chunk = format!("400\r\n{}\r\n", "b".repeat(1_024));
    let sending = async {
        while write.write_all(chunk.as_bytes()).await.is_ok() {}
        std::future::pending::<()>().await;
    };
    let mut status_line = [0; 12];
    tokio::select! {
        answer = tokio::time::timeout(Duration::from_secs(60), read.read_exact(&mut status_line)) => {
            answer.expect("in time").expect("an answer");
        }
        () = sending => {}
    }
    assert_eq!(String::from_utf8_lossy(&status_line), "HTTP/1.1 404");
}

#[tokio::test]
async fn one_request_is_counted_once() {
    let (address, _stop) = serve(small_limits()).await;
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let url = format!("http://{address}/counted");
    client.get(&url).send().await.expect("an answer");
    let shown = telemetry::metric::render_prometheus();
    for name in ["requests_total", "duration_milliseconds_count"] {
        let name = format!("pitboss_http_server_{name}");
        let counts = testkit::metrics::series(&shown, &name, &[("route", "/counted")]);
        assert_eq!(counts.iter().map(|(_, count)| *count).collect::<Vec<f64>>(), [1.0], "{counts:?}");
    }
    let invented = reqwest::Method::from_bytes(b"AEVIL42").expect("a method");
    client.request(invented, &url).send().await.expect("an answer");
    let shown = telemetry::metric::render_prometheus();
    assert!(shown.contains(r#"method="_OTHER",route="/counted""#) && !shown.contains("EVIL"), "{shown}");
}
