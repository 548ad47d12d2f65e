//! Queries for tests, on a journal in a folder.

use std::{path::Path, sync::Arc, thread::JoinHandle, time::Duration};

use bytes::Bytes;
use chassis::{config::Secret, operator::Operator};

use super::state::{Query, Shared};
use crate::{
    config::Limits,
    forward::Forwarder,
    index::{self, Index},
    ingest::{Answered, ModeSwitch},
    journal::{self, Append, BodyKind, Encoding, Journal},
    projects::{Project, Projects},
    protocol::{
        digest::{self, Digest},
        envelope::Envelope,
    },
};

/// Returns queries on an empty journal, and its threads.
pub(crate) fn open(directory: &Path) -> (Query, [JoinHandle<()>; 2]) {
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
    let options =
        index::Options { path, gather: Duration::ZERO, limits: limits.body(), ongoing_after_s: 60.0 };
    let (index, indexer) = Index::open(options, &journal).expect("an index");
    let projects = Arc::new(Projects::new(Vec::new()).expect("projects"));
    let (forwarder, _) = Forwarder::new(Vec::new(), &projects, limits.body()).expect("no targets");
    let (mode, answered) = (Arc::new(ModeSwitch::default()), Arc::new(Answered::default()));
    let shared = Shared { mode, answered, forwarder };
    let operator = Operator::new(Secret::default());
    (Query::new(index, journal, projects, limits, operator, shared), [writer, indexer])
}

/// Stores an envelope and returns its `seq`.
pub(crate) async fn store(query: &Query) -> u64 {
    let (kind, encoding, digest) = (BodyKind::Envelope, Encoding::Identity, Digest::default());
    let body = Bytes::from_static(b"{}\n").into();
    let append = Append { received_at_us: 1, project: 1, kind, encoding, body, digest };
    query.journal.append(append).await.expect("stored")
}

/// Returns the query with projects of these names, numbered from 1 on.
pub(crate) fn with_projects(query: Query, names: &[&str]) -> Query {
    let project =
        |(id, name): (u32, &&str)| Project { id, name: (*name).to_owned(), public_key: format!("{id:032x}") };
    let projects = Projects::new((1..).zip(names).map(project).collect()).expect("projects");
    Query { projects: Arc::new(projects), ..query }
}

/// Stores an envelope with one item of a project, received at a time in seconds since the epoch.
pub(crate) async fn store_item(
    query: &Query,
    project: u32,
    received_at: f64,
    item_type: &str,
    payload: &str,
) {
    let body = format!("{{}}\n{{\"type\":\"{item_type}\"}}\n{payload}\n").into_bytes();
    let envelope = Envelope::parse(&body).expect("an envelope");
    let (kind, encoding) = (BodyKind::Envelope, Encoding::Identity);
    let digest = digest::digest(project, received_at, &envelope);
    let received_at_us = (received_at * 1e6) as u64;
    let append = Append { received_at_us, project, kind, encoding, body: body.into(), digest };
    query.journal.append(append).await.expect("stored");
    assert_eq!(query.index.caught_up().await, 0);
}

/// Returns the query with an index whose indexer has stopped before it indexed anything.
pub(crate) fn with_stopped_index(query: Query) -> Query {
    Query { index: query.index.clone().stopped(), ..query }
}

/// Closes the journal and waits until its threads have exited.
pub(crate) async fn close(query: &Query, threads: [JoinHandle<()>; 2]) {
    query.journal.close().await;
    for thread in threads {
        thread.join().expect("no panic");
    }
}
