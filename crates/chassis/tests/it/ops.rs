//! The ops listener has its own limits, independent of those of the service's interface.

use std::time::Duration;

use chassis::{Lifecycle, Shutdown, config::Secret, internal::Internal};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Time that an idle connection stays open. An evicted connection is closed immediately.
const IDLE: Duration = Duration::from_secs(60);
/// The internal token.
const TOKEN: &str = "the internal token of the tests of chassis";

#[tokio::test]
async fn ops_listener_is_limited_to_64_connections() {
    let listeners = crate::lifecycle::listeners(1_000, &[]).await;
    let ops = listeners.ops.local_addr().expect("an address");
    let lifecycle = Lifecycle::start(listeners, Shutdown::new());
    let mut held = Vec::new();
    for _ in 0..65 {
        let mut stream = TcpStream::connect(ops).await.expect("connects");
        let request = format!("GET /livez HTTP/1.1\r\nhost: {ops}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("writes");
        let mut status_line = [0; 12];
        stream.read_exact(&mut status_line).await.expect("an answer");
        assert_eq!(String::from_utf8_lossy(&status_line), "HTTP/1.1 200");
        held.push(stream);
    }
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(IDLE / 2, held[0].read_to_end(&mut rest)).await;
    assert!(closed.is_ok(), "the longest idle connection was not evicted for the 65th");
    drop(lifecycle);
}

/// Sends a request on a connection of its own, and returns the whole answer.
async fn answer(ops: std::net::SocketAddr, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(ops).await.expect("connects");
    let length = body.len();
    let request =
        format!("{head}\r\nhost: {ops}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.expect("writes");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

#[tokio::test]
async fn profile_needs_json_a_duration_and_telemetry() {
    let listeners = crate::lifecycle::listeners(1_000, &[]).await;
    let ops = listeners.ops.local_addr().expect("an address");
    let lifecycle = Lifecycle::start(listeners, Shutdown::new());
    let running = answer(ops, "GET /profile HTTP/1.1", "").await;
    assert!(running.ends_with("{\"profiler_id\":null}"), "off by default: {running}");
    lifecycle.accept_profile_requests(Internal::new(Secret::from(TOKEN)));
    let post =
        |kind: &str| format!("POST /profile HTTP/1.1\r\nx-internal-token: {TOKEN}\r\ncontent-type: {kind}");
    for (kind, body, status) in [
        ("text/plain", r#"{"seconds":5}"#, 415),
        ("application/json", r#"{"seconds":0}"#, 400),
        ("application/json", r#"{"seconds":601}"#, 400),
        ("application/json", r#"{"seconds":5,"more":1}"#, 422),
        ("application/json", r#"{"seconds":5}"#, 503),
    ] {
        let answer = answer(ops, &post(kind), body).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{body}: {answer}");
    }
    drop(lifecycle);
}

#[tokio::test]
async fn profile_needs_the_internal_token() {
    let listeners = crate::lifecycle::listeners(1_000, &[]).await;
    let ops = listeners.ops.local_addr().expect("an address");
    let lifecycle = Lifecycle::start(listeners, Shutdown::new());
    let post = |token: &str| {
        let token = if token.is_empty() { String::new() } else { format!("\r\nx-internal-token: {token}") };
        format!("POST /profile HTTP/1.1\r\ncontent-type: application/json{token}")
    };
    let body = r#"{"seconds":5}"#;
    let early = answer(ops, &post(TOKEN), body).await;
    assert!(early.starts_with("HTTP/1.1 401"), "a process without a token accepts none: {early}");
    lifecycle.accept_profile_requests(Internal::new(Secret::from(TOKEN)));
    lifecycle.accept_profile_requests(Internal::new(Secret::from("another internal token")));
    for wrong in ["", "another internal token"] {
        let refused = answer(ops, &post(wrong), body).await;
        assert!(
            refused.starts_with("HTTP/1.1 401") && refused.contains("/problems/internal-token"),
            "{refused}"
        );
    }
    let accepted = answer(ops, &post(TOKEN), body).await;
    assert!(accepted.starts_with("HTTP/1.1 503"), "it only lacks telemetry: {accepted}");
    drop(lifecycle);
}
