//! The index is derived: after damage to it or to the segments, it is rebuilt and catches up.

use recorder::{
    body::Limits,
    index::{self, Index, Page, read},
    journal::{self, Append, BodyKind, Encoding, Journal},
    protocol::digest::{Digest, Kinds},
};
use serde_json::Value;

use crate::support::{Recorder, error};

fn an_error() -> String {
    error(&"ab".repeat(16), "aaaaaaaaaaaaaaaa", "E", "v", "anna")
}

async fn seqs(recorder: &Recorder) -> Vec<u64> {
    let lines = recorder.lines("/api/v1/envelopes").await;
    lines.iter().map(|line| line["seq"].as_u64().expect("a number")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn index_of_another_version_is_rebuilt() {
    let recorder = Recorder::start(&[]).await;
    for _ in 0..3 {
        recorder.store(1, an_error()).await;
    }
    let issues = recorder.lines("/api/v1/issues").await;
    let mut directory = recorder.stop().await;
    for version in [1, 1_000] {
        let file = rusqlite::Connection::open(directory.path().join("data/index.sqlite")).expect("an index");
        let others = format!("DROP TABLE errors; PRAGMA user_version = {version};");
        file.execute_batch(&others).expect("other tables");
        file.close().expect("closed");
        let recorder = Recorder::start_in(directory, &[]).await;
        assert_eq!(recorder.lines("/api/v1/issues").await, issues, "version {version}");
        directory = recorder.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn index_ahead_of_the_journal_is_rebuilt() {
    let recorder = Recorder::start(&[]).await;
    for _ in 0..3 {
        recorder.store(1, an_error()).await;
    }
    assert_eq!(recorder.lines("/api/v1/issues").await[0]["count"], 3);
    let directory = recorder.stop().await;
    std::fs::remove_dir_all(directory.path().join("data/segments")).expect("segments");
    let recorder = Recorder::start_in(directory, &[]).await;
    assert!(recorder.lines("/api/v1/issues").await.is_empty(), "what is not stored is not counted");
    assert_eq!(recorder.store(1, an_error()).await, 1);
    assert_eq!(recorder.lines("/api/v1/issues").await[0]["count"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn envelope_above_new_limit_is_indexed_past() {
    let recorder = Recorder::start(&[]).await;
    let mut large = b"{}\n{\"type\":\"attachment\",\"length\":300000}\n".to_vec();
    large.resize(large.len() + 300_000, b'a');
    recorder.store(1, "{}\n").await;
    recorder.store(1, large.clone()).await;
    recorder.store(1, "{}\n").await;
    let directory = recorder.stop().await;
    std::fs::remove_file(directory.path().join("data/index.sqlite")).expect("an index");

    let lowered = [("PITBOSS__LIMITS__ENVELOPE_BYTES_MAX", "200000")];
    let recorder = Recorder::start_in(directory, &lowered).await;
    assert_eq!(seqs(&recorder).await, [1, 3]);
    let status: Value = recorder.get("/api/v1/status").await.json().await.expect("JSON");
    assert_eq!(status["indexed_seq"], 3);
    let raw = recorder.get("/api/v1/envelopes/2/raw").await.bytes().await.expect("bytes");
    assert_eq!(raw, large, "every byte is still there");
}

async fn store(journal: &Journal) -> u64 {
    let (kind, encoding, digest) = (BodyKind::Envelope, Encoding::Identity, Digest::default());
    let body = b"{}\n".to_vec().into();
    let append = Append { received_at_us: 1, project: 1, kind, encoding, body, digest };
    journal.append(append).await.expect("stored")
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_last_record_is_skipped_by_the_index() {
    let directory = tempfile::tempdir().expect("a folder");
    let open = || {
        let options = journal::Options {
            directory: directory.path().join("segments"),
            segment_bytes: 1 << 20,
            retention_bytes: 1 << 30,
            sync: journal::sync_data,
        };
        Journal::open(options).expect("a journal")
    };
    let (journal, writer) = open();
    for seq in 1..=3 {
        assert_eq!(store(&journal).await, seq);
    }
    journal.close().await;
    writer.join().expect("no panic");

    // After reopening there are no digests. They are read from the segments, whose last record is damaged by then.
    let (journal, writer) = open();
    let segment = directory.path().join(format!("segments/{:020}.segment", 1));
    let mut bytes = std::fs::read(&segment).expect("a segment");
    *bytes.last_mut().expect("bytes") ^= 0x10;
    std::fs::write(&segment, &bytes).expect("a damaged segment");
    let limits = Limits { envelope_bytes_max: 1 << 20, memory_bytes_max: 1 << 20 };
    let path = directory.path().join("index.sqlite");
    let options = index::Options { path, gather: std::time::Duration::ZERO, limits, ongoing_after_s: 60.0 };
    let (index, indexer) = Index::open(options, &journal).expect("an index");
    let listed = || {
        let page = Page { since: 0, project: None, limit: 10 };
        let rows = index.read(|connection| read::envelopes(connection, page, Kinds::default()));
        rows.expect("rows").iter().map(|row| row.seq).collect::<Vec<_>>()
    };
    assert_eq!(index.caught_up().await, 0, "what is lost is not waited for");
    assert_eq!(listed(), [1, 2]);
    assert_eq!(store(&journal).await, 4);
    assert_eq!(index.caught_up().await, 0);
    assert_eq!(listed(), [1, 2, 4]);
    journal.close().await;
    for thread in [writer, indexer] {
        thread.join().expect("no panic");
    }
}
