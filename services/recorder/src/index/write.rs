//! Indexer thread, which indexes many envelopes in one transaction.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::Path,
};

use rusqlite::{Connection, Transaction, params};
use tokio::sync::watch;
use uuid::Uuid;

use super::{
    IndexError, IndexProgress, Options, alerts,
    issues::{self, Issues},
    schema::{self, PARTS, signed, unsigned},
};
use crate::{
    body,
    journal::{Cursor, IndexEntry, Journal, Location, Progress, Reader, Stored},
    protocol::{
        digest::{self, Digest, Part, PartKind, ReleaseSent},
        seconds,
    },
};

/// Largest number of envelopes in one transaction.
const BATCH_MAX: usize = 1000;
/// Number of rows after which a transaction of envelopes from the segments takes no further one. One envelope may need tens of
/// thousands.
const BATCH_ROWS_MAX: usize = 16_384;

pub(super) struct Writer {
    options: Options,
    connection: Connection,
    progress: std::sync::Arc<Progress>,
    reader: Reader,
    cursor: Cursor,
    reached: IndexProgress,
}

/// Additions of one batch to one release in one segment.
#[derive(Default)]
struct ReleaseSum {
    first_us: u64,
    last_us: u64,
    last_seq: u64,
    transactions: u64,
}

impl Writer {
    pub(super) fn open(options: Options, journal: &Journal) -> Result<(Self, IndexProgress), IndexError> {
        let durable = journal.progress().state().durable;
        let opened = open_existing(&options.path, durable);
        let (connection, reached) = match opened {
            Ok(Some(opened)) => opened,
            Ok(None) => recreate(&options.path)?,
            Err(error) => {
                tracing::warn!(error = %error, "the index is unusable and is rebuilt");
                recreate(&options.path)?
            }
        };
        let cursor = Cursor { next_seq: reached.indexed + 1, at: None };
        let progress = std::sync::Arc::clone(journal.progress());
        let reader = journal.reader();
        Ok((Self { options, connection, progress, reader, cursor, reached }, reached))
    }

    /// Runs until the journal is closed and everything in it is indexed, or until an error.
    pub(super) fn run(mut self, reached: &watch::Sender<IndexProgress>) {
        loop {
            let work =
                self.progress.wait(self.reached.indexed, self.reached.purged, self.options.gather, BATCH_MAX);
            let done = work.closed && work.state.durable <= self.reached.indexed;
            if !done && let Err(error) = self.step(work.state.durable, work.state.floor, work.ready) {
                tracing::error!(error = %error, "the indexer failed; the next start rebuilds the index");
                if let Err(error) = remove(&self.options.path) {
                    tracing::error!(error = %error, "the failed index could not be deleted");
                }
                break;
            }
            reached.send_replace(self.reached);
            if done {
                break;
            }
        }
        reached.send_replace(IndexProgress { ended: true, ..self.reached });
    }

    /// Indexes one batch in one transaction.
    fn step(&mut self, durable: u64, floor: u64, ready: Vec<IndexEntry>) -> Result<(), IndexError> {
        let mut next = self.reached;
        // Envelopes that were deleted before they were indexed are skipped.
        if floor > next.indexed + 1 {
            next.indexed = floor - 1;
            self.cursor = Cursor { next_seq: floor, at: None };
        }
        let batch = if ready.is_empty() && next.indexed < durable {
            let (batch, lost_to) = self.catch_up_from_segments(durable)?;
            next.indexed = next.indexed.max(lost_to.unwrap_or_default());
            batch
        } else {
            ready
        };
        let transaction = self.connection.transaction()?;
        if floor > next.purged {
            purge(&transaction, floor)?;
            next.purged = floor;
        }
        if let Some(last) = batch.last() {
            next.indexed = next.indexed.max(last.seq);
            insert(&transaction, &batch, self.options.ongoing_after_s)?;
            let Location { segment, offset, bytes } = last.location;
            self.cursor = Cursor { next_seq: last.seq + 1, at: Some((segment, offset + bytes)) };
        }
        transaction
            .prepare_cached("UPDATE progress SET indexed = ?1, purged = ?2")?
            .execute(params![signed(next.indexed), signed(next.purged)])?;
        transaction.commit()?;
        self.reached = next;
        Ok(())
    }

    /// Reads a batch from the segments, after a start or when digests arrived faster than they were indexed. Also returns
    /// the last durable `seq` when damage has taken the end of the segments, because nothing up to it is left to index.
    fn catch_up_from_segments(&mut self, durable: u64) -> Result<(Vec<IndexEntry>, Option<u64>), IndexError> {
        let (mut batch, mut rows) = (Vec::new(), 0);
        let mut cursor = self.cursor;
        while cursor.next_seq <= durable && batch.len() < BATCH_MAX && rows < BATCH_ROWS_MAX {
            let Some((stored, location)) = self.reader.next(&mut cursor)? else {
                // Envelopes that were deleted meanwhile are skipped in the next step.
                let deleted = self.progress.state().floor > cursor.next_seq;
                return Ok((batch, (!deleted).then_some(durable)));
            };
            let digest = digest_of(&stored, self.options.limits);
            let Stored { seq, received_at_us, project, .. } = stored;
            let indexed = IndexEntry { seq, received_at_us, project, location, digest };
            rows += indexed.rows();
            batch.push(indexed);
        }
        Ok((batch, None))
    }
}

/// Returns an empty digest for a stored envelope that exceeds limits that were lowered since. It keeps its row.
fn digest_of(stored: &Stored, limits: body::Limits) -> Digest {
    let read = || {
        let opened = body::open(stored.kind, stored.encoding, &stored.body, limits).ok()?;
        let envelope = opened.envelope().ok()?;
        Some(digest::digest(stored.project, seconds(stored.received_at_us), &envelope))
    };
    read().unwrap_or_default()
}

/// Opens the index. Returns `None` when it has another version or is ahead of the journal (segments were deleted).
fn open_existing(path: &Path, durable: u64) -> Result<Option<(Connection, IndexProgress)>, rusqlite::Error> {
    let connection = Connection::open(path)?;
    if !schema::prepare(&connection)? {
        return Ok(None);
    }
    let reached = connection.query_row("SELECT indexed, purged FROM progress", [], |row| {
        Ok(IndexProgress { indexed: unsigned(row.get(0)?), purged: unsigned(row.get(1)?), ended: false })
    })?;
    Ok((reached.indexed <= durable).then_some((connection, reached)))
}

fn recreate(path: &Path) -> Result<(Connection, IndexProgress), IndexError> {
    remove(path)?;
    let connection = Connection::open(path)?;
    schema::prepare(&connection)?;
    Ok((connection, IndexProgress::default()))
}

/// Deletes the index, which the next start rebuilds from the segments.
fn remove(path: &Path) -> io::Result<()> {
    for ending in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(ending);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn purge(transaction: &Transaction<'_>, floor: u64) -> rusqlite::Result<()> {
    let first_part = signed(floor.saturating_mul(PARTS));
    transaction.execute("DELETE FROM envelopes WHERE seq < ?1", [signed(floor)])?;
    // A trace that loses its head but not all of its parts gets a new head.
    transaction.execute(
        "UPDATE parts SET head = 1 WHERE id IN (
             SELECT min(later.id) FROM parts AS gone JOIN parts AS later ON later.trace_id = gone.trace_id
             WHERE gone.id < ?1 AND gone.head = 1 AND later.id >= ?1 AND later.kind IN (1, 5) GROUP BY later.trace_id)",
        [first_part],
    )?;
    transaction.execute("DELETE FROM parts WHERE id < ?1", [first_part])?;
    transaction.execute("DELETE FROM errors WHERE id < ?1", [first_part])?;
    transaction.execute("DELETE FROM sessions WHERE id < ?1", [first_part])?;
    issues::purge(transaction, floor)?;
    alerts::purge(transaction, floor)?;
    // Only whole segments are deleted, so the floor is the base of the first stored one.
    transaction.execute("DELETE FROM releases WHERE segment < ?1", [signed(floor)])?;
    Ok(())
}

fn insert(transaction: &Transaction<'_>, batch: &[IndexEntry], ongoing_after_s: f64) -> rusqlite::Result<()> {
    let mut issues = Issues::new(transaction, ongoing_after_s);
    let mut envelopes =
        transaction.prepare_cached("INSERT INTO envelopes VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
    let mut errors =
        transaction.prepare_cached("INSERT INTO errors VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?;
    let mut known = HashSet::new();
    for indexed in batch {
        let IndexEntry { seq, received_at_us, project, location, digest } = indexed;
        envelopes.execute(params![
            signed(*seq),
            signed(*received_at_us),
            project,
            digest.kinds.0,
            signed(location.segment),
            signed(location.offset),
            signed(location.bytes),
        ])?;
        let ids = seq * PARTS..(seq + 1) * PARTS;
        for (id, part) in ids.clone().zip(&digest.parts) {
            insert_part(transaction, id, *project, part, &mut known)?;
        }
        for (id, error) in ids.clone().zip(&digest.errors) {
            errors.execute(params![
                signed(id),
                error.issue.as_bytes(),
                project,
                error.at,
                error.release,
                error.environment,
                error.user,
                error.event_id.map(Uuid::into_bytes),
            ])?;
        }
        issues.apply(indexed)?;
        alerts::apply(transaction, indexed)?;
        insert_sessions(transaction, ids.start, *project, digest)?;
    }
    issues.finish()?;
    upsert_releases(transaction, &sum_releases(batch))
}

/// Inserts a part. The first part with spans is the head of its trace. Only a head or a root needs its label. `known` has the traces
/// with such a part in this batch, for which the index need not be asked.
fn insert_part(
    transaction: &Transaction<'_>,
    id: u64,
    project: u32,
    part: &Part,
    known: &mut HashSet<[u8; 16]>,
) -> rusqlite::Result<()> {
    let has_spans = matches!(part.kind, PartKind::Transaction | PartKind::Span);
    let head = has_spans
        && known.insert(part.trace_id)
        && !transaction
            .prepare_cached("SELECT 1 FROM parts WHERE trace_id = ?1 AND kind IN (1, 5) LIMIT 1")?
            .exists([part.trace_id])?;
    let label = part.label.as_deref().filter(|_| head || part.root);
    transaction
        .prepare_cached("INSERT INTO parts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)")?
        .execute(params![
            signed(id),
            part.trace_id,
            part.kind as u8,
            project,
            part.root,
            part.failed,
            part.start,
            part.end,
            part.spans,
            label,
            head,
        ])?;
    Ok(())
}

fn insert_sessions(
    transaction: &Transaction<'_>,
    first_id: u64,
    project: u32,
    digest: &Digest,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO sessions VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    for (id, session) in (first_id..).zip(&digest.sessions) {
        let counts = session.counts;
        transaction.prepare_cached(sql)?.execute(params![
            signed(id),
            project,
            session.release,
            session.environment,
            session.sid,
            session.did,
            signed(counts.healthy),
            signed(counts.errored),
            signed(counts.abnormal),
            signed(counts.unhandled),
            signed(counts.crashed),
        ])?;
    }
    Ok(())
}

/// Segment, project, release and environment.
type ReleaseKey<'a> = (u64, u32, &'a str, &'a str);

fn sum_releases(batch: &[IndexEntry]) -> HashMap<ReleaseKey<'_>, ReleaseSum> {
    let mut releases: HashMap<ReleaseKey<'_>, ReleaseSum> = HashMap::new();
    for IndexEntry { seq, received_at_us, project, location, digest } in batch {
        for row in &digest.releases {
            let key = (location.segment, *project, row.release.as_str(), row.environment.as_str());
            let sum = releases.entry(key).or_default();
            if sum.first_us == 0 {
                sum.first_us = *received_at_us;
            }
            sum.last_us = *received_at_us;
            sum.last_seq = *seq;
            // Errors and sessions are counted from their own rows.
            if row.sent == ReleaseSent::Transaction {
                sum.transactions += row.count;
            }
        }
    }
    releases
}

fn upsert_releases(
    transaction: &Transaction<'_>,
    releases: &HashMap<ReleaseKey<'_>, ReleaseSum>,
) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO releases VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT DO UPDATE SET last_us = excluded.last_us, last_seq = excluded.last_seq,
             transactions = transactions + excluded.transactions",
    )?;
    for ((segment, project, release, environment), sum) in releases {
        statement.execute(params![
            signed(*segment),
            project,
            release,
            environment,
            signed(sum.first_us),
            signed(sum.last_us),
            signed(sum.last_seq),
            signed(sum.transactions),
        ])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::journal::{self, Append, BodyKind, Encoding};

    #[tokio::test]
    async fn batch_from_the_segments_has_a_limit_of_rows() {
        let directory = tempfile::tempdir().expect("a folder");
        let segments = journal::Options {
            directory: directory.path().join("segments"),
            segment_bytes: 1 << 20,
            retention_bytes: 1 << 30,
            sync: journal::sync_data,
        };
        let (journal, thread) = Journal::open(segments).expect("a journal");
        let logs: Vec<String> =
            (1..=6_000_u32).map(|trace| format!("{{\"trace_id\":\"{trace:032x}\"}}")).collect();
        let text = format!("{{}}\n{{\"type\":\"log\"}}\n{{\"items\":[{}]}}\n", logs.join(","));
        for _ in 0..4 {
            let (kind, encoding, digest) = (BodyKind::Envelope, Encoding::Identity, Digest::default());
            let body = text.clone().into_bytes().into();
            let append = Append { received_at_us: 1, project: 1, kind, encoding, body, digest };
            journal.append(append).await.expect("stored");
        }
        let limits = body::Limits { envelope_bytes_max: 1 << 20, memory_bytes_max: 1 << 20 };
        let path = directory.path().join("index.sqlite");
        let options = Options { path, gather: Duration::ZERO, limits, ongoing_after_s: 60.0 };
        let (mut indexer, _) = Writer::open(options, &journal).expect("an index");
        let (batch, _) = indexer.catch_up_from_segments(4).expect("envelopes");
        let rows: Vec<usize> = batch.iter().map(IndexEntry::rows).collect();
        assert_eq!(rows, [6_001; 3], "the fourth is left for the next batch");
        journal.close().await;
        thread.join().expect("no panic");
    }
}
