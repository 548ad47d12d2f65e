//! Queries of the index. Each is bounded, and short enough not to hold up checkpoints of the indexer's write-ahead log.

use rusqlite::{Connection, OptionalExtension as _, Row, ToSql, params};
use uuid::Uuid;

use super::{
    health,
    schema::{PARTS, signed, unsigned},
};
use crate::{
    journal::Location,
    protocol::digest::{Kinds, PartKind},
};

/// Selection of the rows of a listing.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// Only rows after this `seq`.
    pub since: u64,
    /// Only rows of this project.
    pub project: Option<u32>,
    /// Largest number of rows.
    pub limit: u32,
}

/// Location of an envelope.
#[derive(Clone, Copy, Debug)]
pub struct EnvelopeRow {
    /// Position in the order of arrival.
    pub seq: u64,
    /// Location of the bytes in the journal.
    pub location: Location,
}

/// One trace in the list of recent traces.
#[derive(Clone, Debug)]
pub struct TraceRow {
    /// Trace id.
    pub trace_id: [u8; 16],
    /// Last envelope that added to the trace.
    pub last_seq: u64,
    /// Op and name of the root span.
    pub root: String,
    /// Project of the root.
    pub root_project: u32,
    /// Start of the earliest part, in seconds since the epoch.
    pub start: f64,
    /// End of the latest part, in seconds since the epoch.
    pub end: f64,
    /// Number of spans in all parts.
    pub spans: u64,
    /// Number of error events.
    pub errors: u64,
    /// Number of parts that failed ([`crate::protocol::digest::Part::failed`]).
    pub failed: u64,
    /// Projects that sent a part.
    pub projects: Vec<u32>,
}

/// One issue with the counts of its events.
#[derive(Clone, Debug)]
pub struct IssueRow {
    /// Id of the issue.
    pub issue: Uuid,
    /// Project of the issue.
    pub project: u32,
    /// Number of all stored events. An event that was sent again counts once.
    pub count: u64,
    /// Number of those that arrived, or arrived again, after the page's `since`.
    pub count_since: u64,
    /// Time of the first event.
    pub first_seen: f64,
    /// Time of the last event.
    pub last_seen: f64,
    /// Envelope of the event that arrived last.
    pub last_seq: u64,
    /// Number of distinct users.
    pub users: u64,
    /// Releases in alphabetical order.
    pub releases: Vec<String>,
}

/// Statistics of one release of one project in one environment.
#[derive(Clone, Debug)]
pub struct ReleaseRecord {
    /// Project of the release.
    pub project: u32,
    /// Version of the release.
    pub release: String,
    /// Environment of the release.
    pub environment: String,
    /// Receipt of the first stored envelope that named it, in microseconds since the epoch.
    pub first_us: u64,
    /// Receipt of the last envelope that named it, in microseconds since the epoch.
    pub last_us: u64,
    /// Last envelope that named it.
    pub last_seq: u64,
    /// Number of transactions.
    pub transactions: u64,
    /// Number of error events. An event that was sent again counts once.
    pub errors: u64,
    /// Sessions by outcome.
    pub sessions: SessionSums,
}

/// Sessions of one release in one environment. A session counts once, whatever the number of its updates. A crash is final.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionSums {
    /// All sessions.
    pub total: u64,
    /// Sessions that ended in a crash.
    pub crashed: u64,
    /// Sessions without a crash that something other than the program ended.
    pub abnormal: u64,
    /// Other sessions with an unhandled error.
    pub unhandled: u64,
    /// Other sessions with an error.
    pub errored: u64,
    /// Distinct users of the sessions that name one.
    pub users: u64,
    /// Distinct users of crashed sessions.
    pub users_crashed: u64,
}

/// Returns envelopes in order of arrival that have an item of one of these kinds. Without kinds it returns all.
pub fn envelopes(connection: &Connection, page: Page, kinds: Kinds) -> rusqlite::Result<Vec<EnvelopeRow>> {
    let sql = "SELECT seq, segment, start, bytes FROM envelopes
               WHERE seq > ?1 AND (?2 IS NULL OR project = ?2) AND (?3 = 0 OR kinds & ?3 <> 0)
               ORDER BY seq LIMIT ?4";
    collect(connection, sql, &[&signed(page.since), &page.project, &kinds.0, &page.limit], envelope_row)
}

/// Returns envelopes up to this `seq`, newest first, that have an item of one of these kinds.
pub fn envelopes_down_from(
    connection: &Connection,
    upto: u64,
    project: Option<u32>,
    kinds: Kinds,
    limit: u32,
) -> rusqlite::Result<Vec<EnvelopeRow>> {
    let sql = "SELECT seq, segment, start, bytes FROM envelopes
               WHERE seq <= ?1 AND (?2 IS NULL OR project = ?2) AND kinds & ?3 <> 0
               ORDER BY seq DESC LIMIT ?4";
    collect(connection, sql, &[&signed(upto), &project, &kinds.0, &limit], envelope_row)
}

/// Returns envelopes up to this `seq`, newest first, with log entries of a trace.
pub fn trace_logs_down_from(
    connection: &Connection,
    trace_id: [u8; 16],
    upto: u64,
    limit: u32,
) -> rusqlite::Result<Vec<EnvelopeRow>> {
    let sql = "SELECT seq, segment, start, bytes FROM envelopes
               WHERE seq IN (SELECT id / ?2 FROM parts WHERE trace_id = ?1 AND kind = ?3 AND id < ?4)
               ORDER BY seq DESC LIMIT ?5";
    let (kind, end) = (PartKind::Log as u8, signed(upto.saturating_add(1).saturating_mul(PARTS)));
    collect(connection, sql, &[&trace_id, &signed(PARTS), &kind, &end, &limit], envelope_row)
}

/// Returns one envelope.
pub fn envelope(connection: &Connection, seq: u64) -> rusqlite::Result<Option<EnvelopeRow>> {
    let sql = "SELECT seq, segment, start, bytes FROM envelopes WHERE seq = ?1";
    Ok(collect(connection, sql, &[&signed(seq)], envelope_row)?.pop())
}

/// Returns the last `seq`, or 0.
pub fn last_seq(connection: &Connection) -> rusqlite::Result<u64> {
    let sql = "SELECT coalesce(max(seq), 0) FROM envelopes";
    let last: i64 = connection.query_row(sql, [], |row| row.get(0))?;
    Ok(last.cast_unsigned())
}

/// Returns the last `seq` before a time of receipt, which grows with the `seq` except where the clock was set back.
pub fn last_seq_before(connection: &Connection, received_at_us: u64) -> rusqlite::Result<u64> {
    let ends = "SELECT coalesce((SELECT min(seq) FROM envelopes), 1) - 1,
                       coalesce((SELECT max(seq) FROM envelopes), 0)";
    let (mut older, mut end): (i64, i64) =
        connection.query_row(ends, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let next = "SELECT seq, received_at_us FROM envelopes WHERE seq > ?1 ORDER BY seq LIMIT 1";
    let mut statement = connection.prepare_cached(next)?;
    // Each row up to `older` is older, and no row after `end` is.
    while older < end {
        let middle = older + (end - older) / 2;
        let row = statement.query_row([middle], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some((seq, at_us)): Option<(i64, i64)> = row else { break };
        if unsigned(at_us) < received_at_us { older = seq } else { end = middle }
    }
    Ok(unsigned(older))
}

/// Returns the envelopes with a part of this trace, in order of arrival.
pub fn trace_envelopes(
    connection: &Connection,
    trace_id: [u8; 16],
    limit: u32,
) -> rusqlite::Result<Vec<EnvelopeRow>> {
    let sql = "SELECT seq, segment, start, bytes FROM envelopes
               WHERE seq IN (SELECT id / ?2 FROM parts WHERE trace_id = ?1) ORDER BY seq LIMIT ?3";
    collect(connection, sql, &[&trace_id, &signed(PARTS), &limit], envelope_row)
}

/// Returns the number of envelopes with a part of this trace.
pub fn count_trace_envelopes(connection: &Connection, trace_id: [u8; 16]) -> rusqlite::Result<u64> {
    let sql = "SELECT count(DISTINCT id / ?2) FROM parts WHERE trace_id = ?1";
    let count = connection.prepare_cached(sql)?.query_row(params![trace_id, signed(PARTS)], |row| row.get(0));
    count.map(unsigned)
}

/// Returns the issue of the first error event that came in an envelope with an error event of this trace.
pub fn trace_issue(connection: &Connection, trace_id: [u8; 16]) -> rusqlite::Result<Option<Uuid>> {
    let sql = "SELECT errors.issue FROM parts
               JOIN errors ON errors.id >= parts.id / ?2 * ?2 AND errors.id < (parts.id / ?2 + 1) * ?2
               WHERE parts.trace_id = ?1 AND parts.kind = ?3 ORDER BY errors.id LIMIT 1";
    let parameters: [&dyn ToSql; 3] = [&trace_id, &signed(PARTS), &(PartKind::Error as u8)];
    Ok(collect(connection, sql, &parameters, |row| row.get(0).map(Uuid::from_bytes))?.pop())
}

/// Returns the envelopes with the last events of an issue, newest first.
pub fn issue_envelopes(connection: &Connection, id: Uuid, limit: u32) -> rusqlite::Result<Vec<EnvelopeRow>> {
    let sql = "SELECT seq, segment, start, bytes FROM envelopes
               WHERE seq IN (SELECT id / ?2 FROM errors WHERE issue = ?1 ORDER BY id DESC LIMIT ?3)
               ORDER BY seq DESC";
    collect(connection, sql, &[id.as_bytes(), &signed(PARTS), &limit], envelope_row)
}

fn envelope_row(row: &Row<'_>) -> rusqlite::Result<EnvelopeRow> {
    let (segment, offset, bytes) = (unsigned(row.get(1)?), unsigned(row.get(2)?), unsigned(row.get(3)?));
    Ok(EnvelopeRow { seq: unsigned(row.get(0)?), location: Location { segment, offset, bytes } })
}

/// Returns the traces whose root came after `since`, newest first. A trace without a stored root is listed by its head.
pub fn traces(connection: &Connection, page: Page) -> rusqlite::Result<Vec<TraceRow>> {
    let listed = "SELECT trace_id, project, label FROM parts
                  WHERE (root = 1 OR head = 1) AND id >= ?1 AND (?2 IS NULL OR project = ?2)
                    AND (root = 1 OR NOT EXISTS (SELECT 1 FROM parts AS other
                                                 WHERE other.trace_id = parts.trace_id AND other.root = 1))
                  ORDER BY id DESC LIMIT ?3";
    let mut statement = connection.prepare_cached(
        "SELECT max(id), min(began), max(ended), sum(spans), sum(kind = ?2), sum(failed), group_concat(DISTINCT project)
         FROM parts WHERE trace_id = ?1",
    )?;
    let listed: Vec<([u8; 16], u32, Option<String>)> = collect(
        connection,
        listed,
        &[&signed((page.since + 1).saturating_mul(PARTS)), &page.project, &page.limit],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    let mut seen = std::collections::HashSet::new();
    listed
        .into_iter()
        .filter(|(trace_id, ..)| seen.insert(*trace_id))
        .map(|(trace_id, root_project, label)| {
            statement.query_row(params![trace_id, PartKind::Error as u8], |row| {
                Ok(TraceRow {
                    trace_id,
                    last_seq: unsigned(row.get(0)?) / PARTS,
                    root: label.unwrap_or_default(),
                    root_project,
                    start: row.get(1)?,
                    end: row.get(2)?,
                    spans: unsigned(row.get(3)?),
                    errors: unsigned(row.get(4)?),
                    failed: unsigned(row.get(5)?),
                    projects: numbers(&row.get::<_, String>(6)?),
                })
            })
        })
        .collect()
}

fn numbers(list: &str) -> Vec<u32> {
    list.split(',').filter_map(|number| number.parse().ok()).collect()
}

/// Returns the issues with an event after `since`, ordered by their last event, newest first.
pub fn issues(connection: &Connection, page: Page) -> rusqlite::Result<Vec<IssueRow>> {
    let sql = "SELECT issue, project, count(DISTINCT coalesce(event_id, id)),
                      count(DISTINCT coalesce(event_id, id)) FILTER (WHERE id >= ?1),
                      min(at), max(at), max(id), count(DISTINCT user),
                      json_group_array(DISTINCT release) FILTER (WHERE release IS NOT NULL)
               FROM errors WHERE ?2 IS NULL OR project = ?2
               GROUP BY issue HAVING max(id) >= ?1 ORDER BY max(id) DESC LIMIT ?3";
    let first = signed((page.since + 1).saturating_mul(PARTS));
    collect(connection, sql, &[&first, &page.project, &page.limit], issue_row)
}

/// Returns one issue.
pub fn issue(connection: &Connection, issue: Uuid) -> rusqlite::Result<Option<IssueRow>> {
    let sql = "SELECT issue, project, count(DISTINCT coalesce(event_id, id)), count(DISTINCT coalesce(event_id, id)),
                      min(at), max(at), max(id), count(DISTINCT user),
                      json_group_array(DISTINCT release) FILTER (WHERE release IS NOT NULL)
               FROM errors WHERE issue = ?1 GROUP BY issue";
    Ok(collect(connection, sql, &[issue.as_bytes()], issue_row)?.pop())
}

fn issue_row(row: &Row<'_>) -> rusqlite::Result<IssueRow> {
    let releases: String = row.get(8)?;
    let mut releases: Vec<String> = serde_json::from_str(&releases).unwrap_or_default();
    releases.sort_unstable();
    Ok(IssueRow {
        issue: Uuid::from_bytes(row.get(0)?),
        project: row.get(1)?,
        count: unsigned(row.get(2)?),
        count_since: unsigned(row.get(3)?),
        first_seen: row.get(4)?,
        last_seen: row.get(5)?,
        last_seq: unsigned(row.get(6)?) / PARTS,
        users: unsigned(row.get(7)?),
        releases,
    })
}

/// Returns the releases that an envelope after `since` named, ordered by the last such envelope.
pub fn releases(connection: &Connection, page: Page) -> rusqlite::Result<Vec<ReleaseRecord>> {
    let sql =
        "SELECT project, release, environment, min(first_us), max(last_us), max(last_seq), sum(transactions)
               FROM releases WHERE ?2 IS NULL OR project = ?2 GROUP BY project, release, environment
               HAVING max(last_seq) > ?1 ORDER BY max(last_seq) LIMIT ?3";
    collect(connection, sql, &[&signed(page.since), &page.project, &page.limit], |row| {
        let (project, release, environment): (u32, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(ReleaseRecord {
            sessions: health::of_release(connection, project, &release, &environment)?,
            errors: errors(connection, project, &release, &environment)?,
            project,
            release,
            environment,
            first_us: unsigned(row.get(3)?),
            last_us: unsigned(row.get(4)?),
            last_seq: unsigned(row.get(5)?),
            transactions: unsigned(row.get(6)?),
        })
    })
}

fn errors(connection: &Connection, project: u32, release: &str, environment: &str) -> rusqlite::Result<u64> {
    let sql = "SELECT count(DISTINCT coalesce(event_id, id)) FROM errors
               WHERE project = ?1 AND release = ?2 AND environment = ?3";
    let parameters = params![project, release, environment];
    connection.prepare_cached(sql)?.query_row(parameters, |row| row.get(0)).map(unsigned)
}

fn collect<T>(
    connection: &Connection,
    sql: &str,
    parameters: &[&dyn ToSql],
    row: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_map(parameters, row)?.collect()
}
