//! SIGKILL right after responses: every envelope that was acknowledged with 200 is there unchanged after the next start. A
//! recorder that answers before it writes must fail the same test.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::sync::Mutex;

use crate::{
    protocol::encoded,
    support::{Program, client, key, lines, transaction},
};

/// Concurrent senders. Each sends the next envelope after the response to the last one.
const SENDERS: usize = 24;

struct Sent {
    /// Acknowledged envelopes: event id → bytes that were sent.
    acknowledged: HashMap<String, Vec<u8>>,
    /// Number of envelopes that were sent and not acknowledged.
    unacknowledged: usize,
}

/// Sends until the recorder is killed at a random moment.
async fn run_until_kill(directory: &Path, more: &[(&str, &str)], random: &mut StdRng) -> Sent {
    let mut program = Program::start(directory, more).await;
    let sent = Arc::new(Mutex::new(Sent { acknowledged: HashMap::new(), unacknowledged: 0 }));
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let url = format!("{}/api/3/envelope/?sentry_key={}", program.ingest, key(3));
            let (sent, stop) = (Arc::clone(&sent), Arc::clone(&stop));
            let mut random = StdRng::seed_from_u64(random.random());
            telemetry::spawn(async move {
                let client = client();
                while !stop.load(Ordering::Relaxed) {
                    let trace = format!("{:032x}", random.random::<u128>());
                    let name = "x".repeat(random.random_range(1..3_000));
                    let plain =
                        transaction(&trace, "aaaaaaaaaaaaaaaa", None, "function", &name, 1.0).into_bytes();
                    let id = event_id(&plain);
                    let (encoding, body) = encoded(&plain).swap_remove(sender % 5);
                    let response =
                        client.post(&url).header("content-encoding", encoding).body(body).send().await;
                    let stored = response.is_ok_and(|response| response.status() == 200);
                    let mut sent = sent.lock().await;
                    if stored {
                        sent.acknowledged.insert(id, plain);
                    } else {
                        sent.unacknowledged += 1;
                    }
                }
            })
        })
        .collect();
    // Five runs give two hundred responses, however slow the machine is.
    testkit::eventually("responses", Duration::from_secs(60), || async {
        (sent.lock().await.acknowledged.len() > 40).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(random.random_range(0..300))).await;
    program.kill();
    stop.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.await.expect("no panic");
    }
    Arc::into_inner(sent).expect("all senders ended").into_inner()
}

fn event_id(envelope: &[u8]) -> String {
    let header = envelope.split(|byte| *byte == b'\n').next().expect("a header");
    let header: serde_json::Value = serde_json::from_slice(header).expect("JSON");
    header["event_id"].as_str().expect("an id").to_owned()
}

/// Returns the number of acknowledged envelopes that are missing or differ from what was sent.
async fn lost(directory: &Path, acknowledged: &HashMap<String, Vec<u8>>) -> usize {
    let program = Program::start(directory, &[]).await;
    let client = client();
    let get = |path: String| client.get(format!("{}{path}", program.query)).send();
    let listing = get("/api/v1/envelopes".to_owned()).await.expect("a response").text().await.expect("text");
    let mut there = 0;
    for line in lines(&listing) {
        let Some(expected) = line["headers"]["event_id"].as_str().and_then(|id| acknowledged.get(id)) else {
            continue;
        };
        let raw = get(format!("/api/v1/envelopes/{}/raw", line["seq"])).await.expect("a response");
        there += usize::from(raw.bytes().await.expect("bytes") == expected.as_slice());
    }
    acknowledged.len() - there
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_envelopes_survive_sigkill() {
    let mut random = StdRng::seed_from_u64(testkit::seed());
    let directory = tempfile::tempdir().expect("a folder");
    let (mut acknowledged, mut unacknowledged) = (HashMap::new(), 0);
    for _ in 0..5 {
        let sent =
            run_until_kill(directory.path(), &[("PITBOSS__RECORDER__SEGMENT_BYTES", "200000")], &mut random)
                .await;
        acknowledged.extend(sent.acknowledged);
        unacknowledged += sent.unacknowledged;
    }
    assert!(acknowledged.len() > 200, "only {} responses checked", acknowledged.len());
    assert!(unacknowledged > 0, "no envelope was in flight when the recorder was killed");
    assert_eq!(lost(directory.path(), &acknowledged).await, 0, "of {} acknowledged", acknowledged.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn answering_before_writing_loses_envelopes() {
    let mut random = StdRng::seed_from_u64(testkit::seed());
    for _ in 0..10 {
        let directory = tempfile::tempdir().expect("a folder");
        let more = [("PITBOSS__RECORDER__ANSWER_BEFORE_WRITE", "true")];
        let sent = run_until_kill(directory.path(), &more, &mut random).await;
        if lost(directory.path(), &sent.acknowledged).await > 0 {
            return;
        }
    }
    panic!(
        "ten runs of a recorder that answers before it writes lost nothing, so the test of SIGKILL would detect nothing"
    );
}
