//! Every listener answers for its own host names only, and internal routes for Pitboss services only.

use axum::{
    Router,
    routing::{delete, get},
};
use chassis::{
    Lifecycle, Shutdown,
    config::{Http, Secret},
    http::Hosts,
    internal::{INTERNAL_TOKEN_HEADER, Internal},
};
use telemetry::propagation::TrustPolicy;
use testkit::guard::every_route_refuses;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

/// Status and text of the answer to these lines.
async fn answer(address: std::net::SocketAddr, head: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    stream.write_all(format!("{head}\r\nconnection: close\r\n\r\n").as_bytes()).await.expect("writes");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("reads");
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no status in {text:?}")), text)
}

#[tokio::test]
async fn unknown_host_returns_421_on_every_listener() {
    let mut listeners = crate::lifecycle::listeners(60_000, &["query"]).await;
    listeners.common.http.hosts = Hosts::parse("casino").expect("a name");
    let (http, ops) =
        (listeners.http.local_addr().expect("an address"), listeners.ops.local_addr().expect("an address"));
    let query = listeners.more["query"].local_addr().expect("an address");
    let query_listener = listeners.take("query").expect("a listener");
    let shutdown = Shutdown::new();
    let mut lifecycle = Lifecycle::start(listeners, shutdown.clone());
    // The second router has no layers of the chassis, like a service's own router.
    let routes = || Router::new().route("/livez", get(|| async { "here" }));
    lifecycle.serve(chassis::http::router(routes(), lifecycle.http(), TrustPolicy::inside()));
    lifecycle.serve_on("query", query_listener, routes(), testkit::long_timeouts::http(query));
    let running = telemetry::spawn(lifecycle.run());
    for address in [http, ops, query] {
        let port = address.port();
        for host in [
            format!("127.0.0.1:{port}"),
            format!("localhost:{port}"),
            format!("[::1]:{port}"),
            "casino:1".to_owned(),
        ] {
            let (status, text) = answer(address, &format!("GET /livez HTTP/1.1\r\nhost: {host}")).await;
            assert_eq!(status, 200, "{host}: {text}");
        }
        let (misdirected, invalid) = ((421, "misdirected"), (400, "bad-request"));
        for (head, (expected, problem)) in [
            (format!("GET /livez HTTP/1.1\r\nhost: evil.example:{port}"), misdirected),
            ("GET /livez HTTP/1.1\r\nhost: 127.0.0.1:1".to_owned(), misdirected),
            ("GET /livez HTTP/1.1".to_owned(), invalid),
            ("GET /livez HTTP/1.1\r\nhost:".to_owned(), invalid),
            ("GET /livez HTTP/1.1\r\nhost: evil@127.0.0.1".to_owned(), invalid),
            ("GET /livez HTTP/1.0".to_owned(), invalid),
            (format!("GET /livez HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nhost: 127.0.0.1:{port}"), invalid),
            (format!("GET http://evil.example/livez HTTP/1.1\r\nhost: 127.0.0.1:{port}"), misdirected),
            (format!("DELETE /nowhere HTTP/1.1\r\nhost: evil.example:{port}"), misdirected),
        ] {
            let (status, text) = answer(address, &head).await;
            assert_eq!(status, expected, "{head}: {text}");
            let lower = text.to_ascii_lowercase();
            assert!(lower.contains("application/problem+json") && lower.contains("x-trace-id"), "{text}");
            assert!(text.contains(&format!("/problems/{problem}")) && !text.contains("evil"), "{text}");
        }
    }
    shutdown.trigger();
    running.await.expect("no panic").expect("drained");
}

/// A request for another host is not trusted, even by a listener that trusts its callers.
#[tokio::test]
async fn trace_of_refused_host_is_not_continued() {
    crate::init_telemetry();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let http: Http = testkit::long_timeouts::http(address);
    let routes = Router::new().route("/", get(|| async { "here" }));
    let router = chassis::http::router(routes, &http, TrustPolicy::inside());
    let stop = CancellationToken::new();
    telemetry::spawn(chassis::http::serve(listener, router, http, stop.clone()));
    let trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
    for (host, expected, is_continued) in [
        (address.to_string(), 200, true),
        ("evil.example".to_owned(), 421, false),
        ("a@evil.example".to_owned(), 400, false),
    ] {
        let trace = format!("traceparent: 00-{trace_id}-00f067aa0ba902b7-01");
        let (status, text) = answer(address, &format!("GET / HTTP/1.1\r\nhost: {host}\r\n{trace}")).await;
        assert_eq!((status, text.contains(trace_id)), (expected, is_continued), "{host}: {text}");
    }
    stop.cancel();
}

#[tokio::test]
async fn every_route_requires_internal_token() {
    crate::init_telemetry();
    let routes = Router::new()
        .route("/internal/v1/players/{player_id}", get(|| async { "a player" }))
        .route("/internal/v1/sessions/{session_id}", delete(|| async { "gone" }));
    let paths = chassis::http::paths(&routes);
    assert_eq!(paths, ["/internal/v1/players/{player_id}", "/internal/v1/sessions/{session_id}"]);
    let internal = Internal::new(Secret::from("internal-token-of-32-bytes-and-more"));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let http: Http = testkit::long_timeouts::http(address);
    let router = chassis::http::layered(
        chassis::http::internal(routes, internal.clone()),
        &http,
        TrustPolicy::inside(),
    );
    let stop = CancellationToken::new();
    telemetry::spawn(chassis::http::serve(listener, router, http, stop.clone()));
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let send = |method: &'static str, path: String, headers: Vec<(String, String)>| {
        let method = method.parse().expect("a method");
        let mut request = client.request(method, format!("http://{address}{path}"));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        async move { request.send().await.expect("an answer").status().as_u16() }
    };
    let credentials = [
        ("no token", vec![]),
        ("an empty token", vec![("x-internal-token", String::new())]),
        ("another token", vec![("x-internal-token", "internal-token-of-32-bytes-and-morf".to_owned())]),
        (
            "a player's token",
            vec![("authorization", "Bearer internal-token-of-32-bytes-and-more".to_owned())],
        ),
        ("the operator's", vec![("x-operator-token", "internal-token-of-32-bytes-and-more".to_owned())]),
    ];
    assert_eq!(every_route_refuses(&paths, &credentials, 401, send).await, 3 * 6 * 5);
    let refused =
        client.get(format!("http://{address}/internal/v1/players/x")).send().await.expect("an answer");
    let refused: serde_json::Value = refused.json().await.expect("JSON");
    assert_eq!(refused["type"], "/problems/internal-token", "a caller can tell it from its own client's 401");
    let with_token =
        |request: reqwest::RequestBuilder| request.header(INTERNAL_TOKEN_HEADER, internal.value());
    let url = |path: &str| format!("http://{address}{path}");
    let found = with_token(client.get(url("/internal/v1/players/x"))).send().await.expect("an answer");
    assert_eq!((found.status().as_u16(), found.text().await.expect("text").as_str()), (200, "a player"));
    let unknown = with_token(client.get(url("/nowhere"))).send().await.expect("an answer");
    assert_eq!(unknown.status().as_u16(), 404);
    stop.cancel();
}
