//! Sentry protocol: places of the key, accepted and refused requests, and the texts of refusals.

use std::io::Write;

use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value;

use crate::support::{Recorder, TOKEN, fetch, key};

const EVENT: &str = "{\"event_id\":\"9ec79c33ec9942ab8353589fcb2e04dc\"}\n{\"type\":\"event\",\"length\":15}\n{\"message\":\"x\"}\n";
const EVENT_ID: &str = "9ec79c33ec9942ab8353589fcb2e04dc";

async fn assert_refused(request: RequestBuilder, status: u16) -> String {
    let response = fetch(request).await;
    assert_eq!(response.status().as_u16(), status);
    let body: Value = response.json().await.expect("JSON");
    assert_eq!(body.as_object().expect("an object").len(), 1, "as Sentry: detail and nothing else");
    body["detail"].as_str().expect("a detail").to_owned()
}

async fn assert_accepted(request: RequestBuilder) {
    let response = fetch(request).await;
    assert_eq!(response.status(), StatusCode::OK);
    let body: Value = response.json().await.expect("JSON");
    assert_eq!(body, serde_json::json!({"id": EVENT_ID}));
}

#[tokio::test(flavor = "multi_thread")]
async fn key_is_accepted_in_header_query_and_dsn() {
    let recorder = Recorder::start(&[]).await;
    let post = |path: &str| recorder.client.post(format!("{}{path}", recorder.ingest)).body(EVENT);
    let auth = format!("Sentry sentry_key={}, sentry_version=7, sentry_client=test/1", key(1));
    for path in ["/api/1/envelope/", "/api/1/envelope"] {
        assert_accepted(post(path).header("x-sentry-auth", &auth)).await;
        assert_accepted(post(path).header("authorization", &auth)).await;
        let query = format!("{path}?sentry_version=7&sentry_key={}", key(1));
        assert_accepted(post(&query)).await;
        let dsn = format!("{{\"event_id\":\"{EVENT_ID}\",\"dsn\":\"http://{}@localhost/1\"}}\n", key(1));
        let body = dsn + EVENT.split_once('\n').expect("a line").1;
        assert_accepted(post(path).body(body)).await;
    }
    for path in ["/api/1/store/", "/api/1/store"] {
        let body = format!("{{\"event_id\":\"{EVENT_ID}\",\"message\":\"x\"}}");
        assert_accepted(post(path).header("x-sentry-auth", &auth).body(body)).await;
    }
    assert_eq!(recorder.lines("/api/v1/envelopes?project=gateway&type=event").await.len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_keys_are_refused() {
    let recorder = Recorder::start(&[]).await;
    let post = |path: &str| recorder.client.post(format!("{}{path}", recorder.ingest)).body(EVENT);
    let auth = |key: &str| format!("Sentry sentry_key={key}");

    assert!(assert_refused(post("/api/1/envelope/"), 401).await.contains("missing authorization"));
    assert_refused(post("/api/1/store/"), 401).await;
    assert_refused(post("/api/1/envelope/").header("x-sentry-auth", "Sentry nonsense"), 401).await;
    assert_refused(post("/api/1/envelope/").header("x-sentry-auth", auth("0123")), 403).await;
    assert!(
        assert_refused(post("/api/2/envelope/").header("x-sentry-auth", auth(&key(1))), 403)
            .await
            .contains("ProjectId")
    );
    assert_refused(post("/api/x/envelope/").header("x-sentry-auth", auth(&key(1))), 400).await;
    let other = format!("{{\"dsn\":\"http://{}@localhost/2\"}}\n", key(2));
    assert_refused(post("/api/1/envelope/").header("x-sentry-auth", auth(&key(1))).body(other.clone()), 400)
        .await;
    assert_refused(post("/api/1/envelope/").body(other), 403).await;
    let unknown = "{\"dsn\":\"http://0123@localhost/1\"}\n";
    assert_refused(post("/api/1/envelope/").body(unknown), 403).await;
    assert_refused(post("/api/1/minidump/").header("x-sentry-auth", auth(&key(1))), 415).await;
    assert_refused(post("/api/1/unreal/").header("x-sentry-auth", auth(&key(1))), 404).await;
    assert!(recorder.lines("/api/v1/envelopes").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn security_reports_of_browsers_are_kept() {
    let recorder = Recorder::start(&[]).await;
    let report = r#"{"csp-report":{"blocked-uri":"inline","effective-directive":"script-src"}}"#;
    let url = format!("{}/api/1/security/?sentry_key={}&sentry_release=1.0", recorder.ingest, key(1));
    let post = |url: &str, content_type: &str, body: &'static str| {
        recorder.client.post(url).header("content-type", content_type).body(body)
    };
    let response = fetch(post(&url, "application/csp-report", report)).await;
    assert_eq!(response.status(), StatusCode::OK);
    let listed = recorder.lines("/api/v1/envelopes?type=raw_security").await;
    let item = &listed[0]["items"][0];
    assert_eq!((&item["headers"]["sentry_release"], listed.len()), (&Value::from("1.0"), 1));
    assert_eq!(item["payload"]["csp-report"]["blocked-uri"], "inline");
    assert!(assert_refused(post(&url, "application/csp-report", "{"), 400).await.contains("not JSON"));
    assert!(assert_refused(post(&url, "text/html", report), 415).await.contains("csp-report"));
    let sized = |bytes: usize| {
        let report = format!("{{\"csp-report\":\"{}\"}}", "a".repeat(bytes));
        recorder.client.post(&url).header("content-type", "application/csp-report").body(report)
    };
    assert_eq!(fetch(sized(120_000)).await.status(), StatusCode::OK);
    assert!(assert_refused(sized(140_000), 413).await.contains("131072"));
    let without_key = format!("{}/api/1/security/", recorder.ingest);
    assert_refused(post(&without_key, "application/csp-report", report), 401).await;
    assert_eq!(recorder.lines("/api/v1/envelopes").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_report_of_the_reporting_api_is_kept_as_an_item() {
    let recorder = Recorder::start(&[]).await;
    let list = r#"[{"age":5,"type":"csp-violation","body":{"blockedURL":"inline"}},{"age":1,"type":"deprecation","body":{}}]"#;
    let post = |path: &str, body: &'static str| {
        let url = format!("{}/api/1/{path}?sentry_key={}", recorder.ingest, key(1));
        recorder.client.post(url).header("content-type", "application/reports+json").body(body)
    };
    assert_eq!(fetch(post("security", list)).await.status(), StatusCode::OK);
    for path in ["csp-report/", "csp-report"] {
        assert_eq!(fetch(post(path, list)).await.status(), StatusCode::OK, "Sentry has {path}, too");
    }
    assert!(assert_refused(post("security", "[]"), 400).await.contains("0 reports"));
    let listed = recorder.lines("/api/v1/envelopes?type=raw_security").await;
    assert_eq!(listed.len(), 3);
    for envelope in listed {
        let items = envelope["items"].as_array().expect("items");
        let types: Vec<&Value> = items.iter().map(|item| &item["payload"]["type"]).collect();
        assert_eq!(types, ["csp-violation", "deprecation"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_returns_received_and_decompressed_bytes() {
    let recorder = Recorder::start(&[]).await;
    for (name, body) in encoded(EVENT.as_bytes()) {
        let response = fetch(recorder.post(3, body.clone()).header("content-encoding", name)).await;
        assert_eq!(response.status(), StatusCode::OK, "{name}");
        let seq = response.headers()["x-recorder-seq"].to_str().expect("text").to_owned();
        let raw = recorder.get(&format!("/api/v1/envelopes/{seq}/raw")).await.bytes().await.expect("bytes");
        assert_eq!(raw, EVENT.as_bytes(), "{name}");
        let received = recorder.get(&format!("/api/v1/envelopes/{seq}/raw?as=received")).await;
        assert_eq!(received.headers()["x-recorder-content-encoding"], name);
        assert_eq!(received.bytes().await.expect("bytes"), body, "{name}");
    }
    assert_refused(recorder.post(3, EVENT).header("content-encoding", "rot13"), 415).await;
    for name in ["gzip", "deflate", "br", "zstd"] {
        assert_refused(recorder.post(3, "this is plain text").header("content-encoding", name), 400).await;
    }
    assert_eq!(recorder.lines("/api/v1/envelopes").await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn bare_deflate_of_any_size_is_accepted() {
    let recorder = Recorder::start(&[]).await;
    for bytes in [10, 1_000_000] {
        let mut plain = format!("{{}}\n{{\"type\":\"attachment\",\"length\":{bytes}}}\n").into_bytes();
        plain.resize(plain.len() + bytes, b'a');
        let mut bare = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        bare.write_all(&plain).expect("memory");
        let body = bare.finish().expect("memory");
        let response = fetch(recorder.post(3, body).header("content-encoding", "deflate")).await;
        assert_eq!(response.status(), StatusCode::OK, "{bytes}");
        let seq = response.headers()["x-recorder-seq"].to_str().expect("text").to_owned();
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
async fn malformed_envelope_returns_400_with_a_reason() {
    let recorder = Recorder::start(&[]).await;
    let cases = [
        ("", "invalid envelope header"),
        ("nonsense", "invalid envelope header"),
        ("[]\n", "not a JSON object"),
        ("{\"event_id\":\"x\"}\n", "event_id"),
        ("{}\nnonsense\n", "item 0"),
        ("{}\n{\"length\":1}\nx", "item 0"),
        ("{}\n{\"type\":\"event\",\"length\":100}\n{}", "has the length 100"),
        ("{}\n{\"type\":\"event\",\"length\":1}\n{}\n", "not followed by a newline"),
    ];
    for (body, reason) in cases {
        let detail = assert_refused(recorder.post(1, body), 400).await;
        assert!(detail.contains(reason), "{body:?}: {detail}");
    }
    assert!(recorder.lines("/api/v1/envelopes").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_can_send_from_any_origin() {
    let recorder = Recorder::start(&[]).await;
    let url = format!("{}/api/1/envelope/?sentry_key={}", recorder.ingest, key(1));
    let preflight = fetch(
        recorder
            .client
            .request(reqwest::Method::OPTIONS, &url)
            .header("origin", "http://casino.example")
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type"),
    )
    .await;
    assert_eq!(preflight.status(), StatusCode::OK);
    assert_eq!(preflight.headers()["access-control-allow-origin"], "*");
    assert_eq!(preflight.headers()["access-control-allow-methods"], "POST");
    assert!(
        preflight.headers()["access-control-allow-headers"].to_str().expect("text").contains("content-type")
    );
    let response = fetch(recorder.client.post(&url).header("content-type", "text/plain").body(EVENT)).await;
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    assert_eq!(response.status(), StatusCode::OK);
    let refused = fetch(recorder.post(2, "nonsense")).await;
    assert_eq!(refused.headers()["access-control-allow-origin"], "*", "a browser may read the refusal, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_envelopes_requires_the_operator() {
    let recorder = Recorder::start(&[]).await;
    let first = recorder.store(1, EVENT).await;
    let url = format!("{}/api/v1/envelopes", recorder.query);
    let delete = || recorder.client.delete(&url);
    assert_eq!(fetch(delete()).await.status(), StatusCode::UNAUTHORIZED);
    let wrong = fetch(delete().header("x-operator-token", "guess")).await;
    assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED, "as at the gateway");
    assert_eq!(recorder.lines("/api/v1/envelopes").await.len(), 1);
    let done = fetch(delete().header("x-operator-token", TOKEN)).await;
    assert_eq!(done.status(), StatusCode::NO_CONTENT);
    assert!(recorder.lines("/api/v1/envelopes").await.is_empty());
    assert!(recorder.lines("/api/v1/issues").await.is_empty());
    let second = recorder.store(1, EVENT).await;
    assert!(second > first, "a `since` of before stays valid");
    assert_eq!(recorder.lines(&format!("/api/v1/envelopes?since={first}")).await.len(), 1);
}
