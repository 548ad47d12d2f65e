//! The queries. Each is one statement, bounded, and short enough never to hold up the indexer's log.

use rusqlite::{Connection, Row, ToSql, params};
use uuid::Uuid;

use super::{
    schema::PARTS,
    write::{signed, unsigned},
};
use crate::{
    journal::Place,
    protocol::digest::{Kinds, PartKind},
};

/// Which rows of a listing are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// Only what came after this `seq`.
    pub since: u64,
    /// Only this project.
    pub project: Option<u32>,
    /// At most so many rows.
    pub limit: u32,
}

/// Where an envelope is.
#[derive(Clone, Copy, Debug)]
pub struct EnvelopeRow {
    /// Its place in the order of arrival.
    pub seq: u64,
    /// Where its bytes are.
    pub place: Place,
}

/// One trace in the list of recent ones.
#[derive(Clone, Debug)]
pub struct TraceRow {
    /// The trace.
    pub trace_id: [u8; 16],
    /// The last envelope that added to it.
    pub last_seq: u64,
    /// What its root is called: op and name.
    pub root: String,
    /// Project of the root.
    pub root_project: u32,
    /// When its first part began.
    pub start: f64,
    /// When its last part ended.
    pub end: f64,
    /// Spans in all parts.
    pub spans: u64,
    /// Error events.
    pub errors: u64,
    /// Transactions whose status is not `ok`.
    pub failed: u64,
    /// Projects that took part.
    pub projects: Vec<u32>,
}

/// One issue, counted from its events.
#[derive(Clone, Debug)]
pub struct IssueRow {
    /// The issue.
    pub issue: Uuid,
    /// The project that it belongs to.
    pub project: u32,
    /// Events of all time (that are kept).
    pub count: u64,
    /// Events behind the page's `since`.
    pub count_since: u64,
    /// When it was seen first.
    pub first_seen: f64,
    /// When it was seen last.
    pub last_seen: f64,
    /// The envelope of its last event.
    pub last_seq: u64,
    /// Distinct users.
    pub users: u64,
    /// Releases, in alphabetical order.
    pub releases: Vec<String>,
}

/// One release of one project in one environment.
#[derive(Clone, Debug)]
pub struct ReleaseRecord {
    /// The project.
    pub project: u32,
    /// The version.
    pub release: String,
    /// Where it runs.
    pub environment: String,
    /// When it was seen first, in microseconds since the epoch.
    pub first_us: u64,
    /// When it was seen last.
    pub last_us: u64,
    /// The last envelope that named it.
    pub last_seq: u64,
    /// Transactions.
    pub transactions: u64,
    /// Error events.
    pub errors: u64,
    /// Sessions and what became of them.
    pub sessions: SessionSums,
}

/// Sessions of one release in one environment. A session counts once, however often it was updated, and a crash is final.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionSums {
    /// All of them.
    pub total: u64,
    /// Ended by a crash.
    pub crashed: u64,
    /// Not crashed, and ended by something else than the program.
    pub abnormal: u64,
    /// None of these, with an error that nobody handled.
    pub unhandled: u64,
    /// None of these, with an error.
    pub errored: u64,
    /// Distinct users, where sessions name them.
    pub users: u64,
    /// Distinct users of crashed sessions.
    pub users_crashed: u64,
}

/// Envelopes in order of arrival that have at least one item of these kinds (no kinds: any).
pub fn envelopes(connection: &Connection, page: Page, kinds: Kinds) -> rusqlite::Result<Vec<EnvelopeRow>> {
    let sql = "SELECT seq, segment, start, bytes FROM envelopes
               WHERE seq > ?1 AND (?2 IS NULL OR project = ?2) AND (?3 = 0 OR kinds & ?3 <> 0)
               ORDER BY seq LIMIT ?4";
    collect(connection, sql, &[&signed(page.since), &page.project, &kinds.0, &page.limit], envelope_row)
}

/// One envelope.
pub fn envelope(connection: &Connection, seq: u64) -> rusqlite::Result<Option<EnvelopeRow>> {
    let sql = "SELECT seq, segment, start, bytes FROM envelopes WHERE seq = ?1";
    Ok(collect(connection, sql, &[&signed(seq)], envelope_row)?.pop())
}

/// Envelopes that have a part of this trace.
pub fn of_trace(
    connection: &Connection,
    trace_id: [u8; 16],
    limit: u32,
) -> rusqlite::Result<Vec<EnvelopeRow>> {
    let sql = "SELECT seq, segment, start, bytes FROM envelopes
               WHERE seq IN (SELECT id / ?2 FROM parts WHERE trace_id = ?1) ORDER BY seq LIMIT ?3";
    collect(connection, sql, &[&trace_id, &signed(PARTS), &limit], envelope_row)
}

/// How many envelopes have a part of this trace.
pub fn count_of_trace(connection: &Connection, trace_id: [u8; 16]) -> rusqlite::Result<u64> {
    let sql = "SELECT count(DISTINCT id / ?2) FROM parts WHERE trace_id = ?1";
    let count = connection.prepare_cached(sql)?.query_row(params![trace_id, signed(PARTS)], |row| row.get(0));
    count.map(unsigned)
}

/// Envelopes with the last events of an issue, the newest first.
pub fn of_issue(connection: &Connection, issue: Uuid, limit: u32) -> rusqlite::Result<Vec<EnvelopeRow>> {
    let sql = "SELECT seq, segment, start, bytes FROM envelopes
               WHERE seq IN (SELECT id / ?2 FROM errors WHERE issue = ?1 ORDER BY id DESC LIMIT ?3)
               ORDER BY seq DESC";
    collect(connection, sql, &[issue.as_bytes(), &signed(PARTS), &limit], envelope_row)
}

fn envelope_row(row: &Row<'_>) -> rusqlite::Result<EnvelopeRow> {
    let place =
        Place { segment: unsigned(row.get(1)?), offset: unsigned(row.get(2)?), bytes: unsigned(row.get(3)?) };
    Ok(EnvelopeRow { seq: unsigned(row.get(0)?), place })
}

/// Traces whose root, or whose head where the root is elsewhere, came after `since`; the newest first.
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

/// Issues that have an event after `since`, the most recent last event first.
pub fn issues(connection: &Connection, page: Page) -> rusqlite::Result<Vec<IssueRow>> {
    let sql =
        "SELECT issue, project, count(*), sum(id >= ?1), min(at), max(at), max(id), count(DISTINCT user),
                      json_group_array(DISTINCT release) FILTER (WHERE release IS NOT NULL)
               FROM errors WHERE ?2 IS NULL OR project = ?2
               GROUP BY issue HAVING max(id) >= ?1 ORDER BY max(id) DESC LIMIT ?3";
    let first = signed((page.since + 1).saturating_mul(PARTS));
    collect(connection, sql, &[&first, &page.project, &page.limit], issue_row)
}

/// One issue.
pub fn issue(connection: &Connection, issue: Uuid) -> rusqlite::Result<Option<IssueRow>> {
    let sql = "SELECT issue, project, count(*), count(*), min(at), max(at), max(id), count(DISTINCT user),
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

/// Releases that were named after `since`, in the order of their last naming.
pub fn releases(connection: &Connection, page: Page) -> rusqlite::Result<Vec<ReleaseRecord>> {
    let sql = "SELECT project, release, environment, first_us, last_us, last_seq, transactions, errors
               FROM releases WHERE last_seq > ?1 AND (?2 IS NULL OR project = ?2) ORDER BY last_seq LIMIT ?3";
    collect(connection, sql, &[&signed(page.since), &page.project, &page.limit], |row| {
        let (project, release, environment): (u32, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(ReleaseRecord {
            sessions: sessions(connection, project, &release, &environment)?,
            project,
            release,
            environment,
            first_us: unsigned(row.get(3)?),
            last_us: unsigned(row.get(4)?),
            last_seq: unsigned(row.get(5)?),
            transactions: unsigned(row.get(6)?),
            errors: unsigned(row.get(7)?),
        })
    })
}

/// One row for each session, whatever its updates said in which order; sums as they are.
const SESSIONS: &str = "
    WITH told AS (SELECT * FROM sessions WHERE project = ?1 AND release = ?2 AND environment = ?3),
         one AS (SELECT max(did) AS did, max(crashed) AS crashed, max(abnormal) AS abnormal,
                        max(unhandled) AS unhandled, max(errored) AS errored
                 FROM told WHERE sid IS NOT NULL GROUP BY sid),
         counted AS (SELECT 1 AS total, did, crashed, abnormal > crashed AS abnormal,
                            unhandled > max(crashed, abnormal) AS unhandled,
                            errored > max(crashed, abnormal, unhandled) AS errored FROM one
                     UNION ALL
                     SELECT healthy + errored + abnormal + unhandled + crashed, did, crashed, abnormal, unhandled, errored
                     FROM told WHERE sid IS NULL)
    SELECT coalesce(sum(total), 0), coalesce(sum(crashed), 0), coalesce(sum(abnormal), 0), coalesce(sum(unhandled), 0),
           coalesce(sum(errored), 0), count(DISTINCT did), count(DISTINCT CASE WHEN crashed > 0 THEN did END)
    FROM counted";

fn sessions(
    connection: &Connection,
    project: u32,
    release: &str,
    environment: &str,
) -> rusqlite::Result<SessionSums> {
    connection.prepare_cached(SESSIONS)?.query_row(params![project, release, environment], |row| {
        let number = |column: usize| row.get(column).map(unsigned);
        Ok(SessionSums {
            total: number(0)?,
            crashed: number(1)?,
            abnormal: number(2)?,
            unhandled: number(3)?,
            errored: number(4)?,
            users: number(5)?,
            users_crashed: number(6)?,
        })
    })
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
