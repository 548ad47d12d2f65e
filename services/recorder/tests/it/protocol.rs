//! Sentry protocol: places of the key, accepted and refused requests, and the texts of refusals.

use std::io::Write;

use reqwest::{Response, StatusCode};
use serde_json::Value;

use crate::support::{Recorder, TOKEN, key};

const EVENT: &str = "{\"event_id\":\"9ec79c33ec9942ab8353589fcb2e04dc\"}\n{\"type\":\"event\",\"length\":15}\n{\"message\":\"x\"}\n";
const EVENT_ID: &str = "9ec79c33ec9942ab8353589fcb2e04dc";

async fn refused(answer: Response, status: u16) -> String {
    assert_eq!(answer.status().as_u16(), status);
    let body: Value = answer.json().await.expect("JSON");
    assert_eq!(body.as_object().expect("an object").len(), 1, "as Sentry: detail and nothing else");
    body["detail"].as_str().expect("a detail").to_owned()
}

async fn taken(answer: Response) {
    assert_eq!(answer.status(), StatusCode::OK);
    let body: Value = answer.json().await.expect("JSON");
    assert_eq!(body, serde_json::json!({"id": EVENT_ID}));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_found_wherever_sdks_put_them() {
    let recorder = Recorder::start(&[]).await;
    let post = |path: &str| recorder.client.post(format!("{}{path}", recorder.ingest)).body(EVENT);
    let auth = format!("Sentry sentry_key={}, sentry_version=7, sentry_client=test/1", key(1));
    for path in ["/api/1/envelope/", "/api/1/envelope"] {
        taken(post(path).header("x-sentry-auth", &auth).send().await.expect("an answer")).await;
        taken(post(path).header("authorization", &auth).send().await.expect("an answer")).await;
        let query = format!("{path}?sentry_version=7&sentry_key={}", key(1));
        taken(post(&query).send().await.expect("an answer")).await;
        let dsn = format!("{{\"event_id\":\"{EVENT_ID}\",\"dsn\":\"http://{}@localhost/1\"}}\n", key(1));
        let body = dsn + EVENT.split_once('\n').expect("a line").1;
        taken(post(path).body(body).send().await.expect("an answer")).await;
    }
    for path in ["/api/1/store/", "/api/1/store"] {
        let body = format!("{{\"event_id\":\"{EVENT_ID}\",\"message\":\"x\"}}");
        taken(post(path).header("x-sentry-auth", &auth).body(body).send().await.expect("an answer")).await;
    }
    assert_eq!(recorder.lines("/api/v1/envelopes?project=gateway&type=event").await.len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_keys_are_refused_and_nothing_is_kept() {
    let recorder = Recorder::start(&[]).await;
    let post = |path: &str| recorder.client.post(format!("{}{path}", recorder.ingest)).body(EVENT);
    let auth = |key: &str| format!("Sentry sentry_key={key}");
    let send = |request: reqwest::RequestBuilder| async { request.send().await.expect("an answer") };

    assert!(refused(send(post("/api/1/envelope/")).await, 401).await.contains("missing authorization"));
    refused(send(post("/api/1/store/")).await, 401).await;
    refused(send(post("/api/1/envelope/").header("x-sentry-auth", "Sentry nonsense")).await, 401).await;
    refused(send(post("/api/1/envelope/").header("x-sentry-auth", auth("0123"))).await, 403).await;
    assert!(
        refused(send(post("/api/2/envelope/").header("x-sentry-auth", auth(&key(1)))).await, 403)
            .await
            .contains("ProjectId")
    );
    refused(send(post("/api/x/envelope/").header("x-sentry-auth", auth(&key(1)))).await, 400).await;
    let other = format!("{{\"dsn\":\"http://{}@localhost/2\"}}\n", key(2));
    refused(
        send(post("/api/1/envelope/").header("x-sentry-auth", auth(&key(1))).body(other.clone())).await,
        400,
    )
    .await;
    refused(send(post("/api/1/envelope/").body(other)).await, 403).await;
    let unknown = "{\"dsn\":\"http://0123@localhost/1\"}\n";
    refused(send(post("/api/1/envelope/").body(unknown)).await, 403).await;
    refused(send(post("/api/1/minidump/").header("x-sentry-auth", auth(&key(1)))).await, 404).await;
    assert!(recorder.lines("/api/v1/envelopes").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_encoding_is_kept_as_it_came_and_answered_as_it_was_meant() {
    let recorder = Recorder::start(&[]).await;
    for (name, body) in encoded(EVENT.as_bytes()) {
        let answer =
            recorder.post(3, body.clone()).header("content-encoding", name).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK, "{name}");
        let seq = answer.headers()["x-recorder-seq"].to_str().expect("text").to_owned();
        let raw = recorder.get(&format!("/api/v1/envelopes/{seq}/raw")).await.bytes().await.expect("bytes");
        assert_eq!(raw, EVENT.as_bytes(), "{name}");
        let received = recorder.get(&format!("/api/v1/envelopes/{seq}/raw?as=received")).await;
        assert_eq!(received.headers()["x-recorder-content-encoding"], name);
        assert_eq!(received.bytes().await.expect("bytes"), body, "{name}");
    }
    let answer = recorder.post(3, EVENT).header("content-encoding", "rot13").send().await.expect("an answer");
    refused(answer, 415).await;
    for name in ["gzip", "deflate", "br", "zstd"] {
        let answer = recorder.post(3, "this is plain text").header("content-encoding", name).send().await;
        refused(answer.expect("an answer"), 400).await;
    }
    assert_eq!(recorder.lines("/api/v1/envelopes").await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn bare_deflate_is_taken_and_comes_back_whatever_its_size() {
    let recorder = Recorder::start(&[]).await;
    for bytes in [10, 1_000_000] {
        let mut plain = format!("{{}}\n{{\"type\":\"attachment\",\"length\":{bytes}}}\n").into_bytes();
        plain.resize(plain.len() + bytes, b'a');
        let mut bare = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        bare.write_all(&plain).expect("memory");
        let body = bare.finish().expect("memory");
        let answer = recorder.post(3, body).header("content-encoding", "deflate").send().await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK, "{bytes}");
        let seq = answer.headers()["x-recorder-seq"].to_str().expect("text").to_owned();
        let raw = recorder.get(&format!("/api/v1/envelopes/{seq}/raw")).await.bytes().await.expect("bytes");
        assert_eq!(raw, plain, "{bytes}");
    }
}

/// Returns the same bytes in every encoding.
pub(crate) fn encoded(plain: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    use flate2::{Compression, write};
    let mut gzip = write::GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(plain).expect("memory");
    let mut zlib = write::ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(plain).expect("memory");
    let mut br = Vec::new();
    brotli::CompressorWriter::new(&mut br, 4096, 5, 22).write_all(plain).expect("memory");
    vec![
        ("identity", plain.to_vec()),
        ("gzip", gzip.finish().expect("memory")),
        ("deflate", zlib.finish().expect("memory")),
        ("br", br),
        ("zstd", zstd::encode_all(plain, 3).expect("memory")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_envelopes_are_refused_with_a_reason() {
    let recorder = Recorder::start(&[]).await;
    let cases = [
        ("", "invalid envelope header"),
        ("nonsense", "invalid envelope header"),
        ("[]\n", "not a JSON object"),
        ("{\"event_id\":\"x\"}\n", "event_id"),
        ("{}\nnonsense\n", "item 0"),
        ("{}\n{\"length\":1}\nx", "item 0"),
        ("{}\n{\"type\":\"event\",\"length\":100}\n{}", "announces 100 bytes"),
        ("{}\n{\"type\":\"event\",\"length\":1}\n{}\n", "not ended by a newline"),
    ];
    for (body, reason) in cases {
        let detail = refused(recorder.post(1, body).send().await.expect("an answer"), 400).await;
        assert!(detail.contains(reason), "{body:?}: {detail}");
    }
    assert!(recorder.lines("/api/v1/envelopes").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_may_send_from_anywhere() {
    let recorder = Recorder::start(&[]).await;
    let url = format!("{}/api/1/envelope/?sentry_key={}", recorder.ingest, key(1));
    let preflight = recorder
        .client
        .request(reqwest::Method::OPTIONS, &url)
        .header("origin", "http://casino.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type")
        .send()
        .await
        .expect("an answer");
    assert_eq!(preflight.status(), StatusCode::OK);
    assert_eq!(preflight.headers()["access-control-allow-origin"], "*");
    assert_eq!(preflight.headers()["access-control-allow-methods"], "POST");
    assert!(
        preflight.headers()["access-control-allow-headers"].to_str().expect("text").contains("content-type")
    );
    let answer = recorder
        .client
        .post(&url)
        .header("content-type", "text/plain")
        .body(EVENT)
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.headers()["access-control-allow-origin"], "*");
    assert_eq!(answer.status(), StatusCode::OK);
    let refused = recorder.post(2, "nonsense").send().await.expect("an answer");
    assert_eq!(refused.headers()["access-control-allow-origin"], "*", "a browser may read the refusal, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_operator_may_forget() {
    let recorder = Recorder::start(&[]).await;
    let first = recorder.keep(1, EVENT).await;
    let url = format!("{}/api/v1/envelopes", recorder.query);
    let delete = || recorder.client.delete(&url);
    assert_eq!(delete().send().await.expect("an answer").status(), StatusCode::UNAUTHORIZED);
    let wrong = delete().header("x-operator-token", "guess").send().await.expect("an answer");
    assert_eq!(wrong.status(), StatusCode::FORBIDDEN);
    assert_eq!(recorder.lines("/api/v1/envelopes").await.len(), 1);
    let done = delete().header("x-operator-token", TOKEN).send().await.expect("an answer");
    assert_eq!(done.status(), StatusCode::NO_CONTENT);
    assert!(recorder.lines("/api/v1/envelopes").await.is_empty());
    assert!(recorder.lines("/api/v1/issues").await.is_empty());
    let second = recorder.keep(1, EVENT).await;
    assert!(second > first, "a `since` of before stays valid");
    assert_eq!(recorder.lines(&format!("/api/v1/envelopes?since={first}")).await.len(), 1);
}
