//! Sizes: what is too large is refused before it costs anything, and bombs cost the memory of one.

use crate::{
    protocol::encoded,
    support::{Program, Recorder, client, key},
};

const SMALL: [(&str, &str); 2] =
    [("PITBOSS__LIMITS__BODY_BYTES_MAX", "300000"), ("PITBOSS__LIMITS__ENVELOPE_BYTES_MAX", "1000000")];

/// An envelope of about this size.
fn envelope(bytes: usize) -> Vec<u8> {
    let mut envelope = format!("{{}}\n{{\"type\":\"attachment\",\"length\":{bytes}}}\n").into_bytes();
    envelope.resize(envelope.len() + bytes, b'a');
    envelope
}

#[tokio::test(flavor = "multi_thread")]
async fn large_is_kept_and_too_large_is_413() {
    let recorder = Recorder::start(&SMALL).await;
    for (bytes, status) in [(1_000, 200), (200_000, 200), (299_000, 200), (301_000, 413), (5_000_000, 413)] {
        let answer = recorder.post(1, envelope(bytes)).send().await.expect("an answer");
        assert_eq!(answer.status(), status, "{bytes}");
        let chunks: Vec<Result<Vec<u8>, std::io::Error>> =
            envelope(bytes).chunks(10_000).map(|c| Ok(c.to_vec())).collect();
        let body = reqwest::Body::wrap_stream(futures::stream::iter(chunks));
        let answer = recorder.post(1, body).send().await.expect("an answer");
        assert_eq!(answer.status(), status, "{bytes} without an announced length");
    }
    for (bytes, status) in [(10_000, 200), (900_000, 200), (1_000_001, 413), (50_000_000, 413)] {
        for (name, body) in encoded(&envelope(bytes)).into_iter().skip(1) {
            let answer =
                recorder.post(1, body).header("content-encoding", name).send().await.expect("an answer");
            assert_eq!(answer.status(), status, "{bytes} in {name}");
        }
    }
    let kept = recorder.lines("/api/v1/envelopes?type=attachment").await;
    assert_eq!(kept.len(), 3 * 2 + 2 * 4);
    assert!(
        kept.iter().all(|line| line["items"][0]["payload"]["base64"]
            .as_str()
            .is_some_and(|text| text.len() > 1_000))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_bombs_at_once_cost_the_memory_of_one() {
    let directory = tempfile::tempdir().expect("a folder");
    let program = Program::start(directory.path(), &[]).await;
    let bombs = encoded(&envelope(100_000_000));
    let client = client();
    let sends = (0..100).map(|index| {
        let (name, body) = &bombs[1 + index % 4];
        client
            .post(format!("{}/api/1/envelope/?sentry_key={}", program.ingest, key(1)))
            .header("content-encoding", *name)
            .body(body.clone())
            .send()
    });
    for answer in futures::future::join_all(sends).await {
        assert_eq!(answer.expect("an answer").status(), 413);
    }
    let peak = program.peak_bytes();
    assert!(peak < 64 * 1024 * 1024, "a peak of {peak} bytes");
}
