//! Large bodies wait in files while they arrive. When the spool has no room or no file, the sender is asked to retry.

use reqwest::Response;

use crate::support::{Recorder, fetch};

async fn send(recorder: &Recorder, bytes: usize) -> Response {
    let mut envelope = format!("{{}}\n{{\"type\":\"attachment\",\"length\":{bytes}}}\n").into_bytes();
    envelope.resize(envelope.len() + bytes, b'a');
    fetch(recorder.post(1, envelope)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn full_spool_returns_503_for_large_bodies_only() {
    let recorder = Recorder::start(&[("PITBOSS__LIMITS__SPOOL_BYTES_MAX", "300000")]).await;
    for _ in 0..3 {
        let refused = send(&recorder, 300_000).await;
        assert_eq!(refused.status(), 503);
        assert_eq!(refused.headers()["retry-after"], "1");
        assert_eq!(send(&recorder, 200_000).await.status(), 200, "what was refused has left the spool");
        assert_eq!(send(&recorder, 1_000).await.status(), 200);
    }
    assert_eq!(recorder.lines("/api/v1/envelopes").await.len(), 6);
}
