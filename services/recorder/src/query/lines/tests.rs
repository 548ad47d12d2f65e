use std::{path::Path, thread::JoinHandle};

use chassis::{config::Secret, operator::Operator};
use tokio::runtime::Runtime;

use super::*;
use crate::{
    config::Limits,
    forward::Forwarder,
    index::{self, Index},
    ingest::{Answered, ModeSwitch},
    journal::{self, Append, BodyKind, Encoding, Journal},
    projects::Projects,
    protocol::digest::Digest,
    query::Shared,
};

/// Returns queries on an empty journal, and its threads.
fn open(directory: &Path) -> (Query, [JoinHandle<()>; 2]) {
    let bytes_max = 1 << 20;
    let limits = Limits {
        body_bytes_max: bytes_max,
        envelope_bytes_max: bytes_max,
        memory_bytes_max: bytes_max,
        spool_bytes_max: bytes_max as u64,
    };
    let options = journal::Options {
        directory: directory.join("segments"),
        segment_bytes: 1 << 20,
        retention_bytes: 1 << 30,
        sync: journal::sync_data,
    };
    let (journal, writer) = Journal::open(options).expect("a journal");
    let path = directory.join("index.sqlite");
    let options = index::Options { path, gather: Duration::ZERO, limits: limits.body() };
    let (index, indexer) = Index::open(options, &journal).expect("an index");
    let projects = Arc::new(Projects::new(Vec::new()).expect("projects"));
    let (forwarder, _) = Forwarder::new(Vec::new(), &projects, bytes_max).expect("nobody to send to");
    let (mode, answered) = (Arc::new(ModeSwitch::default()), Arc::new(Answered::default()));
    let shared = Shared { mode, answered, forwarder };
    let operator = Operator::new(Secret::default());
    (Query::new(index, journal, projects, limits, operator, shared), [writer, indexer])
}

/// Stores an envelope and waits until queries see it.
async fn keep(query: &Query) -> u64 {
    let (kind, encoding, digest) = (BodyKind::Envelope, Encoding::Identity, Digest::default());
    let body = Bytes::from_static(b"{}\n").into();
    let append = Append { received_at_us: 1, project: 1, kind, encoding, body, digest };
    let seq = query.journal.append(append).await.expect("kept");
    assert_eq!(query.index.caught_up().await, 0);
    seq
}

#[test]
fn what_arrives_while_a_listing_is_written_belongs_to_the_next_one() {
    let directory = tempfile::tempdir().expect("a folder");
    let runtime = Runtime::new().expect("a runtime");
    let (query, threads) = open(directory.path());
    for seq in 1..=3 {
        assert_eq!(runtime.block_on(keep(&query)), seq);
    }
    let listing = |since: u64| {
        let mut seen = Vec::new();
        let page = Page { since, project: None, limit: u32::MAX };
        each_envelope(&query, page, Kinds::default(), |opened| {
            if opened.source.seq == 1 {
                assert_eq!(runtime.block_on(keep(&query)), 4);
            }
            seen.push(opened.source.seq);
            Ok(false)
        })
        .expect("a listing");
        seen
    };
    assert_eq!(listing(0), [1, 2, 3]);
    assert_eq!(listing(3), [4]);
    runtime.block_on(query.journal.close());
    for thread in threads {
        thread.join().expect("no panic");
    }
}
