//! Sizes: what is too large is refused before it costs anything, and many bombs cost the memory of one.

use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    protocol::encoded,
    support::{Program, Recorder, client, fetch, key},
};

const SMALL: [(&str, &str); 2] =
    [("PITBOSS__LIMITS__BODY_BYTES_MAX", "300000"), ("PITBOSS__LIMITS__ENVELOPE_BYTES_MAX", "1000000")];

/// Returns an envelope of about this size.
fn envelope(bytes: usize) -> Vec<u8> {
    with_attachment(&vec![b'a'; bytes])
}

fn with_attachment(payload: &[u8]) -> Vec<u8> {
    let head = format!("{{}}\n{{\"type\":\"attachment\",\"length\":{}}}\n", payload.len());
    [head.as_bytes(), payload].concat()
}

/// Returns an envelope with one batch of about this size, all of which is read into memory.
fn with_batch(item_type: &str, bytes: usize) -> Vec<u8> {
    let head = format!("{{}}\n{{\"type\":\"{item_type}\"}}\n{{\"items\":[{{\"body\":\"");
    [head.as_bytes(), &vec![b'a'; bytes], b"\"}]}\n"].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_above_the_limit_return_413() {
    let recorder = Recorder::start(&SMALL).await;
    // An uncompressed body may be as large as an envelope.
    for (bytes, status) in [(1_000, 200), (200_000, 200), (900_000, 200), (1_000_001, 413), (5_000_000, 413)]
    {
        let response = fetch(recorder.post(1, envelope(bytes))).await;
        assert_eq!(response.status(), status, "{bytes}");
        let chunks: Vec<Result<Vec<u8>, std::io::Error>> =
            envelope(bytes).chunks(10_000).map(|c| Ok(c.to_vec())).collect();
        let body = reqwest::Body::wrap_stream(futures::stream::iter(chunks));
        let response = fetch(recorder.post(1, body)).await;
        assert_eq!(response.status(), status, "{bytes} without an announced length");
    }
    let mut statuses = Vec::new();
    for bytes in [200_000, 400_000] {
        let mut noise = vec![0_u8; bytes];
        StdRng::seed_from_u64(1).fill(noise.as_mut_slice());
        for (name, body) in encoded(&with_attachment(&noise)).into_iter().skip(1) {
            assert_eq!(body.len() > 300_000, bytes > 300_000, "noise does not shrink, not even in {name}");
            let response = recorder.post(1, body).header("content-encoding", name).send().await;
            statuses.push(response.expect("a response").status().as_u16());
        }
    }
    assert_eq!(statuses, [200, 200, 200, 200, 413, 413, 413, 413], "compressed and still too large");
    for (bytes, status) in [(10_000, 200), (900_000, 200), (1_000_001, 413), (50_000_000, 413)] {
        for (name, body) in encoded(&envelope(bytes)).into_iter().skip(1) {
            let response = fetch(recorder.post(1, body).header("content-encoding", name)).await;
            assert_eq!(response.status(), status, "{bytes} in {name}");
        }
    }
    let stored = recorder.lines("/api/v1/envelopes?type=attachment").await;
    assert_eq!(stored.len(), 3 * 2 + 4 + 2 * 4);
    assert!(stored.iter().all(|line| {
        let payload = &line["items"][0]["payload"];
        payload["base64"].as_str().is_some_and(|text| text.len() > 1_000)
            || payload["omitted_bytes"].as_u64().is_some_and(|bytes| bytes > 128 * 1024)
    }));
}

#[tokio::test(flavor = "multi_thread")]
async fn largest_attachment_needs_bounded_memory() {
    const ATTACHMENT_BYTES: usize = 200 * 1024 * 1024;
    let directory = tempfile::tempdir().expect("a folder");
    let program = Program::start(directory.path(), &[]).await;
    let client = client();
    let trace = "ab".repeat(16);
    let event = crate::support::error(&trace, "aaaaaaaaaaaaaaaa", "E", "with a dump", "anna");
    let head =
        format!("{event}{{\"type\":\"attachment\",\"length\":{ATTACHMENT_BYTES},\"filename\":\"core\"}}\n");
    let sent: u64 = head.len() as u64 + ATTACHMENT_BYTES as u64;
    let pieces = std::iter::once(head.clone().into_bytes())
        .chain((0..ATTACHMENT_BYTES / 65_536).map(|n| vec![u8::try_from(n % 251).expect("a byte"); 65_536]));
    let url = format!("{}/api/1/envelope/?sentry_key={}", program.ingest, key(1));
    let body = reqwest::Body::wrap_stream(futures::stream::iter(pieces.map(Ok::<_, std::io::Error>)));
    let response = fetch(client.post(&url).body(body)).await;
    assert_eq!(response.status(), 200, "{:?}", response.text().await);

    let get = |path: String| client.get(format!("{}{path}", program.query)).send();
    let issues = get("/api/v1/issues".to_owned()).await.expect("a response").text().await.expect("text");
    assert!(issues.contains("E: with a dump"), "the event beside it is read: {issues}");
    let mut raw = get("/api/v1/envelopes/1/raw".to_owned()).await.expect("a response");
    let mut back = 0_u64;
    while let Some(chunk) = raw.chunk().await.expect("bytes") {
        back += chunk.len() as u64;
    }
    assert_eq!(back, sent, "every byte comes back");
    let line = get("/api/v1/envelopes".to_owned()).await.expect("a response").text().await.expect("text");
    assert!(line.contains(&format!("\"omitted_bytes\":{ATTACHMENT_BYTES}")), "{}", line.len());

    let head = format!("{{}}\n{{\"type\":\"attachment\",\"length\":{}}}\n", ATTACHMENT_BYTES + 1);
    let over = head + &"x".repeat(200_000);
    let response = fetch(client.post(&url).body(over)).await;
    assert_eq!(response.status(), 413);
    let peak = program.peak_bytes();
    assert!(peak < 64 * 1024 * 1024, "a peak of {peak} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn item_size_limits_match_sentry() {
    let recorder = Recorder::start(&[]).await;
    for (item_type, bytes_max) in [
        ("event", 1 << 20),
        ("transaction", 1 << 20),
        ("check_in", 100 * 1024),
        ("profile", 50 << 20),
        ("replay_recording", 10 << 20),
    ] {
        for (bytes, status) in [(bytes_max, 200), (bytes_max + 1, 413)] {
            let payload = format!("{{\"x\":\"{}\"}}", "a".repeat(bytes - 8));
            assert_eq!(payload.len(), bytes);
            for header in [
                format!("{{\"type\":\"{item_type}\",\"length\":{bytes}}}"),
                format!("{{\"type\":\"{item_type}\"}}"),
            ] {
                let (name, body) = encoded(format!("{{}}\n{header}\n{payload}\n").as_bytes()).swap_remove(4);
                let response = fetch(recorder.post(1, body).header("content-encoding", name)).await;
                assert_eq!(response.status(), status, "{item_type} of {bytes}: {:?}", response.text().await);
            }
        }
    }
    let sessions = "{\"type\":\"session\"}\n{}\n";
    for (count, status) in [(100, 200), (101, 413)] {
        let response = fetch(recorder.post(1, format!("{{}}\n{}", sessions.repeat(count)))).await;
        assert_eq!(response.status(), status, "{count} sessions");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_bombs_need_the_memory_of_one() {
    let directory = tempfile::tempdir().expect("a folder");
    // As in production. Each arena of the allocator keeps the memory that was freed in it.
    let program = Program::start(directory.path(), &[("MALLOC_ARENA_MAX", "2")]).await;
    // Each is read into memory up to 8 MiB. The second kind is refused only then.
    let bombs: Vec<_> = [("log", 8_000_000), ("span", 60_000_000), ("trace_metric", 8_000_000)]
        .into_iter()
        .flat_map(|(item_type, bytes)| encoded(&with_batch(item_type, bytes)).into_iter().skip(1))
        .collect();
    assert_eq!(bombs.len(), 12);
    let client = client();
    let sends = bombs.iter().chain(&bombs).map(|(name, body)| {
        client
            .post(format!("{}/api/1/envelope/?sentry_key={}", program.ingest, key(1)))
            .header("content-encoding", *name)
            .body(body.clone())
            .send()
    });
    let responses = futures::future::join_all(sends).await;
    let statuses: Vec<u16> =
        responses.into_iter().map(|response| response.expect("a response").status().as_u16()).collect();
    // Only one is opened at a time. On a slow machine the last ones are asked to retry.
    assert!(statuses.iter().all(|status| [200, 413, 503].contains(status)), "{statuses:?}");
    assert!(statuses.contains(&200) && statuses.contains(&413), "{statuses:?}");
    let peak = program.peak_bytes();
    assert!(peak < 64 * 1024 * 1024, "a peak of {peak} bytes");
}
