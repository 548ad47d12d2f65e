//! Forwarded copies of bodies that are in files.

use rand::{RngCore as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

use crate::{
    protocol::encoded,
    stub::{ENVELOPE, Stub, forward, forwarding_to, wait_for_count},
    support::{Recorder, fetch, key},
};

/// Returns bytes that no encoding makes smaller.
fn noise(bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    StdRng::seed_from_u64(7).fill_bytes(&mut noise);
    noise
}

/// Returns an envelope with an error, an attachment and a log, the last without a newline at its end.
fn envelope(key: &str, attachment: &[u8]) -> Vec<u8> {
    let bytes = attachment.len();
    let head = format!(
        "{{\"event_id\":\"9ec79c33ec9942ab8353589fcb2e04dc\",\"trace\":{{\"public_key\":\"{key}\"}}}}\n\
         {{\"type\":\"event\"}}\n{{\"message\":\"x\"}}\n{{\"type\":\"attachment\",\"length\":{bytes}}}\n"
    );
    [head.as_bytes(), attachment, b"\n{\"type\":\"log\",\"length\":24}\n{\"items\":[{\"body\":\"y\"}]}"]
        .concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn large_envelope_arrives_whole_with_the_targets_key() {
    let other = Recorder::start(&[]).await;
    let host = other.ingest.strip_prefix("http://").expect("http");
    let dsn = format!("http://{}@{host}/2", key(2));
    let recorder = Recorder::start(&[("PITBOSS__FORWARD__GAME", &dsn)]).await;
    let attachment = noise(300_000);
    for (name, body) in encoded(&envelope(&key(3), &attachment)) {
        let response = fetch(recorder.post(3, body).header("content-encoding", name)).await;
        assert_eq!(response.status(), 200, "{name}");
    }
    wait_for_count(&recorder, "sent", 5).await;
    let expected = [envelope(&key(2), &attachment), b"\n".to_vec()].concat();
    for seq in 1..=5 {
        let arrived = other.get(&format!("/api/v1/envelopes/{seq}/raw")).await.bytes().await.expect("bytes");
        assert!(arrived == expected, "envelope {seq} has {} bytes", arrived.len());
    }
    assert_eq!(other.lines("/api/v1/envelopes?project=user").await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn envelope_that_is_small_only_when_compressed_arrives_whole() {
    let other = Recorder::start(&[]).await;
    let host = other.ingest.strip_prefix("http://").expect("http");
    let dsn = format!("http://{}@{host}/2", key(2));
    let recorder = Recorder::start(&[("PITBOSS__FORWARD__GAME", &dsn)]).await;
    // More than is read into memory.
    let attachment = vec![b'a'; 9_000_000];
    let (name, body) = encoded(&envelope(&key(3), &attachment)).swap_remove(4);
    assert!(body.len() < 32_768, "{} bytes in {name}", body.len());
    assert_eq!(fetch(recorder.post(3, body).header("content-encoding", name)).await.status(), 200);
    wait_for_count(&recorder, "sent", 1).await;
    let arrived = other.get("/api/v1/envelopes/1/raw").await.bytes().await.expect("bytes");
    assert!(arrived == [envelope(&key(2), &attachment), b"\n".to_vec()].concat(), "{} bytes", arrived.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn limited_items_of_a_large_envelope_are_omitted_and_reported() {
    let limits = ("x-sentry-rate-limits", "600:attachment:organization".to_owned());
    let (stub, host) = Stub::start(vec![(200, vec![limits])]).await;
    let recorder = forwarding_to(&host).await;
    recorder.store(3, ENVELOPE).await;
    wait_for_count(&recorder, "sent", 1).await;
    recorder.store(3, envelope("foreign", &noise(300_000))).await;
    wait_for_count(&recorder, "sent", 2).await;
    assert_eq!(stub.types()[1], ["event", "log"]);
    assert_eq!(forward(&recorder).await["left_out"], 1);
    let alone = [&b"{}\n{\"type\":\"attachment\",\"length\":300000}\n"[..], &noise(300_000)].concat();
    recorder.store(3, alone).await;
    wait_for_count(&recorder, "dropped_rate_limited", 1).await;
    recorder.store(3, ENVELOPE).await;
    wait_for_count(&recorder, "sent", 3).await;
    assert_eq!(stub.reported_losses()[2], json!({"attachment": {"ratelimit_backoff": 600_000}}));
}

#[tokio::test(flavor = "multi_thread")]
async fn large_copy_that_is_refused_is_a_loss() {
    let (stub, host) = Stub::start(vec![(413, Vec::new()), (200, Vec::new())]).await;
    let recorder = forwarding_to(&host).await;
    // The stub reads lines of JSON.
    let attachment = format!("\"{}\"", "a".repeat(299_998));
    recorder.store(3, envelope("foreign", attachment.as_bytes())).await;
    wait_for_count(&recorder, "refused", 1).await;
    assert_eq!(forward(&recorder).await["last_error"]["status"], 413);
    recorder.store(3, ENVELOPE).await;
    wait_for_count(&recorder, "sent", 1).await;
    let losses = &stub.reported_losses()[1];
    assert_eq!(
        (&losses["attachment"]["send_error"], &losses["error"]["send_error"]),
        (&json!(300_000), &json!(1))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn large_export_is_forwarded_as_received() {
    let other = Recorder::start(&[]).await;
    let host = other.ingest.strip_prefix("http://").expect("http");
    let dsn = format!("http://{}@{host}/2", key(2));
    let recorder = Recorder::start(&[("PITBOSS__FORWARD__GAME", &dsn)]).await;
    let spans: Vec<Value> =
        (0..2_000).map(|number| json!({"name": "a".repeat(100), "kind": number % 6})).collect();
    let export = json!({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).to_string();
    assert!(export.len() > 200_000);
    let url = format!("{}/api/3/integration/otlp/v1/traces?sentry_key={}", recorder.ingest, key(3));
    let request = recorder.client.post(url).header("content-type", "application/json").body(export.clone());
    assert_eq!(fetch(request).await.status(), 200);
    wait_for_count(&recorder, "sent", 1).await;
    let arrived = other.get("/api/v1/envelopes/1/raw?as=received").await.text().await.expect("text");
    assert!(arrived == export, "{} bytes", arrived.len());
}
