//! Tables of the index. All of them can be rebuilt, so a change of [`VERSION`] rebuilds the index.

use rusqlite::Connection;

use crate::protocol::digest::ROWS_MAX;

/// Version of the tables. Every change of the tables, or of the digests that they store, raises it.
pub(super) const VERSION: u32 = 8;

/// Largest number of rows per envelope and table. An id is `seq * PARTS + n`, so a range of `seq` is a range of ids.
pub(super) const PARTS: u64 = ROWS_MAX as u64;

/// Page cache of a connection, in KiB.
const WRITER_CACHE_KIB: i64 = 4096;
const READER_CACHE_KIB: i64 = 1024;

const TABLES: &str = "
CREATE TABLE progress (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    indexed INTEGER NOT NULL,
    purged INTEGER NOT NULL
);
INSERT INTO progress VALUES (1, 0, 0);

-- One row for each envelope in order of arrival. Appending by rowid is SQLite's cheapest operation.
CREATE TABLE envelopes (
    seq INTEGER PRIMARY KEY,
    received_at_us INTEGER NOT NULL,
    project INTEGER NOT NULL,
    kinds INTEGER NOT NULL,
    segment INTEGER NOT NULL,
    start INTEGER NOT NULL,
    bytes INTEGER NOT NULL
);

-- One row for each item's share of a trace, and one for each streamed segment. The first one with spans is the head of the
-- trace, by which the trace is listed when its root is not stored.
CREATE TABLE parts (
    id INTEGER PRIMARY KEY,
    trace_id BLOB NOT NULL,
    kind INTEGER NOT NULL,
    project INTEGER NOT NULL,
    root INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    began REAL NOT NULL,
    ended REAL NOT NULL,
    spans INTEGER NOT NULL,
    label TEXT,
    head INTEGER NOT NULL
);
CREATE INDEX parts_by_trace ON parts (trace_id, kind);
CREATE INDEX listed ON parts (id) WHERE root = 1 OR head = 1;
CREATE INDEX roots ON parts (trace_id) WHERE root = 1;

-- One row for each error event. Issues are counted from them, so the counts always match the stored events. An event that
-- was sent again has the same event_id. It counts once for as long as any copy of it is stored.
CREATE TABLE errors (
    id INTEGER PRIMARY KEY,
    issue BLOB NOT NULL,
    project INTEGER NOT NULL,
    at REAL NOT NULL,
    release TEXT,
    environment TEXT NOT NULL,
    user TEXT,
    event_id BLOB
);
CREATE INDEX errors_by_issue ON errors (issue, id);
CREATE INDEX errors_by_event ON errors (issue, event_id);
CREATE INDEX errors_by_release ON errors (project, release, environment, event_id);

-- One row for each issue: its state and its activity as JSON, the seq of their last change, and whether the issue is resolved
-- in a release (1) or waits for one (2).
CREATE TABLE issue_states (
    issue BLOB PRIMARY KEY,
    project INTEGER NOT NULL,
    changed_seq INTEGER NOT NULL,
    resolution INTEGER NOT NULL,
    state TEXT NOT NULL,
    activity TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX issue_states_by_change ON issue_states (changed_seq);
CREATE INDEX issue_states_with_release ON issue_states (project) WHERE resolution > 0;

-- One row for each release that the states of issues are compared with. Its date is released_us, otherwise added_us: the receipt
-- of the first envelope.
CREATE TABLE known_releases (
    project INTEGER NOT NULL,
    release TEXT NOT NULL,
    added_us INTEGER NOT NULL,
    added_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    released_us INTEGER,
    PRIMARY KEY (project, release)
) WITHOUT ROWID;
CREATE INDEX known_releases_by_date ON known_releases (project, added_us, added_seq);

-- One row for each commit that an operator said is in a release.
CREATE TABLE release_commits (
    project INTEGER NOT NULL,
    commit_id TEXT NOT NULL,
    release TEXT NOT NULL,
    PRIMARY KEY (project, commit_id, release)
) WITHOUT ROWID;

-- One row for each release in each segment, so that deleting a segment also deletes its counts.
CREATE TABLE releases (
    segment INTEGER NOT NULL,
    project INTEGER NOT NULL,
    release TEXT NOT NULL,
    environment TEXT NOT NULL,
    first_us INTEGER NOT NULL,
    last_us INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    transactions INTEGER NOT NULL,
    PRIMARY KEY (segment, project, release, environment)
) WITHOUT ROWID;

-- One row for each alert, as JSON, with the seq of its last change, and one with the conditions of the rules.
CREATE TABLE alerts (
    id INTEGER PRIMARY KEY,
    changed_seq INTEGER NOT NULL,
    alert TEXT NOT NULL
);
CREATE TABLE alert_conditions (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    changed_seq INTEGER NOT NULL,
    conditions TEXT NOT NULL
);

-- One row for each update of a session (with its sid) or aggregate of sessions (without). Queries count them.
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY,
    project INTEGER NOT NULL,
    release TEXT NOT NULL,
    environment TEXT NOT NULL,
    sid TEXT,
    did TEXT,
    healthy INTEGER NOT NULL,
    errored INTEGER NOT NULL,
    abnormal INTEGER NOT NULL,
    unhandled INTEGER NOT NULL,
    crashed INTEGER NOT NULL
);
CREATE INDEX sessions_by_release ON sessions (project, release, environment, sid);
";

/// Creates the tables in an empty file. Returns false when the tables have another version.
pub(super) fn prepare(connection: &Connection) -> rusqlite::Result<bool> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A power cut may take the last changes of the index. They are then read again from the segments.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "journal_size_limit", 8 * 1024 * 1024)?;
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == 0 {
        connection.execute_batch(&format!("BEGIN; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;"))?;
    }
    Ok(version == 0 || version == VERSION)
}

pub(super) fn configure_reader(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    connection.pragma_update(None, "query_only", true)
}

/// Converts a number to SQLite's signed integers. Our numbers are far below the limit.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
