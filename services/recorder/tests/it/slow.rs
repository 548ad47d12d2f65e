//! Slow senders and slow readers hold only their own connection, and never the place of another client.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{Recorder, key, transaction};

async fn open(url: &str, first: &str, rest: &str) -> TcpStream {
    let host = url.strip_prefix("http://").expect("http");
    let mut stream = TcpStream::connect(host).await.expect("a connection");
    let head = format!("{first} HTTP/1.1\r\nhost: {host}\r\n{rest}");
    stream.write_all(head.as_bytes()).await.expect("the bytes are sent");
    stream
}

/// Begins to send a body of this length.
async fn begin(recorder: &Recorder, path: &str, length: usize) -> TcpStream {
    let rest = format!("content-length: {length}\r\n\r\n{{}}\n");
    open(&recorder.ingest, &format!("POST {path}"), &rest).await
}

/// Stores more bytes than a connection buffers.
async fn store_large_events(recorder: &Recorder) {
    let mut body = b"{}\n{\"type\":\"event\",\"length\":1000000}\n".to_vec();
    body.resize(body.len() + 1_000_000, b' ');
    for _ in 0..40 {
        recorder.store(1, body.clone()).await;
    }
}

/// Requests all envelopes and reads the status only.
async fn begin_listing(recorder: &Recorder) -> TcpStream {
    let mut stream = open(&recorder.query, "GET /api/v1/envelopes", "\r\n").await;
    assert_eq!(status(&mut stream).await, "200");
    stream
}

async fn status(stream: &mut TcpStream) -> String {
    let mut response = [0; 12];
    stream.read_exact(&mut response).await.expect("a response");
    String::from_utf8_lossy(&response[9..]).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_senders_do_not_block_others() {
    let recorder = Recorder::start(&[]).await;
    // More than there are places, in each state: without a key, with a key, and in the middle of a large body.
    let keyed = format!("/api/1/envelope/?sentry_key={}", key(1));
    let mut slow = Vec::new();
    for _ in 0..120 {
        slow.push(begin(&recorder, &keyed, 1_000).await);
    }
    for _ in 0..4 {
        let mut large = begin(&recorder, &keyed, 10_000_000).await;
        large.write_all(&vec![b'\n'; 200_000]).await.expect("the bytes are sent");
        slow.push(large);
    }
    for _ in 0..30 {
        slow.push(begin(&recorder, "/api/1/envelope/", 1_000).await);
    }
    // A small body without a place is refused after less, and a large one waits for longer: a slow sender has ten seconds.
    let quick = recorder.client.clone();
    let send = |body: Vec<u8>| {
        quick.post(format!("{}{keyed}", recorder.ingest)).timeout(Duration::from_secs(8)).body(body).send()
    };
    let small =
        send(transaction(&"ab".repeat(16), "aaaaaaaaaaaaaaaa", None, "f", "x", 1.0).into_bytes()).await;
    assert_eq!(small.expect("a small body is accepted while others are slow").status(), 200);
    let mut large = b"{}\n{\"type\":\"attachment\",\"length\":1000000}\n".to_vec();
    large.resize(large.len() + 1_000_000, b'a');
    assert_eq!(send(large).await.expect("a large body is accepted, too").status(), 200);
    drop(slow);
}

#[tokio::test(flavor = "multi_thread")]
async fn trickling_body_times_out() {
    let recorder = Recorder::start(&[]).await;
    for path in [format!("/api/1/envelope/?sentry_key={}", key(1)), "/api/1/envelope/".to_owned()] {
        let mut stream = begin(&recorder, &path, 100_000).await;
        let (mut reading, mut writing) = stream.split();
        let trickle = async {
            loop {
                if writing.write_all(b"\n").await.is_err() {
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        let mut response = [0; 12];
        tokio::select! {
            () = trickle => {}
            read = reading.read_exact(&mut response) => assert_eq!(read.expect("a response"), 12),
        }
        let status = String::from_utf8_lossy(&response[9..]).into_owned();
        assert!(["408", "400"].contains(&status.as_str()), "{path}: {status}");
    }
    assert!(recorder.lines("/api/v1/envelopes").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn body_without_a_key_must_be_small() {
    let recorder = Recorder::start(&[]).await;
    let dsn = format!("{{\"dsn\":\"http://{}@localhost/1\"}}\n", key(1));
    let url = format!("{}/api/1/envelope/", recorder.ingest);
    let send = |body: String| recorder.client.post(&url).body(body).send();
    assert_eq!(send(dsn.clone()).await.expect("a response").status(), 200);
    assert_eq!(send(dsn.clone() + &"\n".repeat(200_000)).await.expect("a response").status(), 413);
    let bomb = crate::protocol::encoded((dsn + &"\n".repeat(2_000_000)).as_bytes()).swap_remove(4).1;
    let response = recorder.client.post(&url).header("content-encoding", "zstd").body(bomb).send().await;
    assert_eq!(
        response.expect("a response").status(),
        413,
        "a small body that decompresses to a large one is refused"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_readers_do_not_block_queries() {
    let recorder = Recorder::start(&[]).await;
    store_large_events(&recorder).await;
    let mut slow = Vec::new();
    for _ in 0..3 {
        let mut stream = begin_listing(&recorder).await;
        slow.push(telemetry::spawn(async move {
            let mut chunk = vec![0; 32 * 1024];
            let mut read = 0;
            while let Ok(1..) = stream.read(&mut chunk).await {
                read += chunk.len();
                tokio::time::sleep(Duration::from_millis(400)).await;
            }
            read
        }));
    }
    assert_eq!(recorder.lines("/api/v1/envelopes?limit=1").await.len(), 1, "a fourth request is answered");
    for reader in slow {
        reader.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_response_is_visible_to_the_client() {
    let recorder = Recorder::start(&[]).await;
    store_large_events(&recorder).await;
    let mut readers = Vec::new();
    for _ in 0..3 {
        readers.push(begin_listing(&recorder).await);
    }
    // All three readers stand still, so one of them loses its place to this request.
    assert_eq!(recorder.lines("/api/v1/envelopes?limit=1").await.len(), 1);
    let mut cut_short = 0;
    for mut stream in readers {
        let mut all = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut all)).await;
        let whole = all.ends_with(b"0\r\n\r\n");
        cut_short += usize::from(ended.is_ok() && !whole);
    }
    assert!(cut_short > 0, "a truncated response must not look complete");
}
