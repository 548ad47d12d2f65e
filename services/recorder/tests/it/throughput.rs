//! Measures throughput: `cargo test -p recorder --test it throughput -- --ignored --nocapture`.
//!
//! Ignored by default, because other tests that run at the same time distort the result.

use std::{
    io::Write as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use flate2::{Compression, write::GzEncoder};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{Program, client, fetch, key, transaction};

const CONNECTIONS: u64 = 16;
const SECONDS: u64 = 20;

/// Returns a compressed request with a transaction of about the size that a bet's handler sends.
fn request(host: &str, trace: u128) -> Vec<u8> {
    let mut envelope = transaction(
        &format!("{trace:032x}"),
        "aaaaaaaaaaaaaaaa",
        None,
        "queue.process",
        "casino.bets.commands.v1",
        1.0,
    );
    envelope.insert_str(envelope.len() - 1, &" ".repeat(1_500));
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(envelope.as_bytes()).expect("memory");
    let body = gzip.finish().expect("memory");
    let mut request = format!(
        "POST /api/3/envelope/ HTTP/1.1\r\nhost: {host}\r\nx-sentry-auth: Sentry sentry_key={}\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        key(3),
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(&body);
    request
}

/// Sends at a rate and counts responses with 200. A rate of 0 sends as fast as responses arrive.
async fn send(address: String, connection: u64, rate_per_s: u64, count: Arc<AtomicU64>) {
    let mut stream = TcpStream::connect(&address).await.expect("a connection");
    stream.set_nodelay(true).expect("a socket");
    let begun = Instant::now();
    let mut buffer = [0; 4096];
    for number in 0_u64.. {
        if rate_per_s > 0 {
            let due = Duration::from_secs_f64(number as f64 * CONNECTIONS as f64 / rate_per_s as f64);
            tokio::time::sleep_until((begun + due).into()).await;
        }
        if begun.elapsed() > Duration::from_secs(SECONDS) {
            return;
        }
        let trace = (u128::from(connection) << 64 | u128::from(number / 8))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        stream.write_all(&request(&address, trace)).await.expect("the bytes are sent");
        let read = stream.read(&mut buffer).await.expect("a response");
        assert!(buffer[..read].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer[..read]));
        count.fetch_add(1, Ordering::Relaxed);
    }
}

async fn measure(directory: &Path, rate_per_s: u64) -> f64 {
    let program = Program::start(directory, &[("MALLOC_ARENA_MAX", "2")]).await;
    let count = Arc::new(AtomicU64::new(0));
    let address = program.ingest.strip_prefix("http://").expect("http").to_owned();
    let (cpu, begun) = (program.cpu_seconds(), Instant::now());
    let senders: Vec<_> = (0..CONNECTIONS)
        .map(|connection| telemetry::spawn(send(address.clone(), connection, rate_per_s, Arc::clone(&count))))
        .collect();
    for sender in senders {
        sender.await.expect("no panic");
    }
    let (took, cpu) = (begun.elapsed().as_secs_f64(), program.cpu_seconds() - cpu);
    let count = count.load(Ordering::Relaxed);
    let queried_at = Instant::now();
    let url = format!("{}/api/v1/envelopes?since={}", program.query, count - 1);
    let last = fetch(client().get(url)).await;
    let seen = last.text().await.expect("text").lines().count();
    let per_s = count as f64 / took;
    #[expect(clippy::print_stdout, reason = "a measurement is for reading")]
    {
        println!(
            "target {rate_per_s}/s: {per_s:.0} envelopes/s stored, {:.0} % of one core, {:.0} µs each, peak {:.1} MiB; a query right after sees the last one: {} ({} ms)",
            cpu / took * 100.0,
            cpu / count as f64 * 1e6,
            program.peak_bytes() as f64 / 1024.0 / 1024.0,
            seen == 1,
            queried_at.elapsed().as_millis(),
        );
    }
    assert_eq!(seen, 1);
    assert!(program.peak_bytes() < 64 * 1024 * 1024);
    per_s
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement, to be run alone"]
async fn throughput() {
    for rate_per_s in [500, 2_000, 0] {
        let directory = tempfile::tempdir().expect("a folder");
        measure(directory.path(), rate_per_s).await;
    }
}
