//! Sums of the sessions of a range of envelopes, for release health.

use rusqlite::{Connection, Row, params};

use super::{
    read::SessionSums,
    schema::{PARTS, signed, unsigned},
};

/// The sessions that are counted.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// Only sessions of envelopes after this `seq`.
    pub after: u64,
    /// Only sessions of envelopes up to this `seq`.
    pub upto: u64,
    /// Only sessions of this project.
    pub project: Option<u32>,
    /// Largest number of rows.
    pub limit: u32,
}

/// Sessions of one project in one environment.
#[derive(Clone, Debug)]
pub struct EnvironmentRow {
    /// Project of the sessions.
    pub project: u32,
    /// Environment of the sessions.
    pub environment: String,
    /// Sessions by outcome.
    pub sessions: SessionSums,
}

/// Sessions of one release of one project in one environment.
#[derive(Clone, Debug)]
pub struct ReleaseRow {
    /// Project of the release.
    pub project: u32,
    /// Environment of the sessions.
    pub environment: String,
    /// Version of the release.
    pub release: String,
    /// Sessions by outcome.
    pub sessions: SessionSums,
}

/// Sessions of one release of one project in one environment that were received in one hour.
#[derive(Clone, Debug)]
pub struct HourRow {
    /// Project of the release.
    pub project: u32,
    /// Environment of the sessions.
    pub environment: String,
    /// Version of the release.
    pub release: String,
    /// Whole hours from the receipt to the end of the range.
    pub hours_ago: u64,
    /// Number of sessions. One that was updated counts in the hour of its first update.
    pub sessions: u64,
}

/// Sessions with the envelope of their first update, and aggregates.
const RECEIVED: &str = "
    WITH updates AS (SELECT id / ?5 AS seq, project, environment, release, sid,
                            healthy + errored + abnormal + unhandled + crashed AS total
                     FROM sessions WHERE id >= ?1 AND id < ?2 AND (?3 IS NULL OR project = ?3)),
         counted AS (SELECT min(seq) AS seq, project, environment, release, 1 AS total
                     FROM updates WHERE sid IS NOT NULL GROUP BY project, environment, release, sid
                     UNION ALL
                     SELECT seq, project, environment, release, total FROM updates WHERE sid IS NULL)
    SELECT counted.project, environment, release, (?6 - received_at_us) / 3600000000, sum(total)
    FROM counted JOIN envelopes USING (seq) GROUP BY 1, 2, 3, 4 LIMIT ?4";

/// Selects sums of the sessions that `condition` selects. Each session counts once, whatever the order of its updates, and
/// aggregates of sessions are added unchanged. The caller adds further columns, groups and an order.
macro_rules! sums_of {
    ($condition:literal) => {
        concat!(
            "WITH updates AS (SELECT * FROM sessions WHERE ",
            $condition,
            "),
         one AS (SELECT project, environment, release, max(did) AS did, max(crashed) AS crashed, max(abnormal) AS abnormal,
                        max(unhandled) AS unhandled, max(errored) AS errored
                 FROM updates WHERE sid IS NOT NULL GROUP BY project, environment, release, sid),
         counted AS (SELECT project, environment, release, 1 AS total, did, crashed, abnormal > crashed AS abnormal,
                            unhandled > max(crashed, abnormal) AS unhandled,
                            errored > max(crashed, abnormal, unhandled) AS errored FROM one
                     UNION ALL
                     SELECT project, environment, release, healthy + errored + abnormal + unhandled + crashed, did,
                            crashed, abnormal, unhandled, errored
                     FROM updates WHERE sid IS NULL)
    SELECT coalesce(sum(total), 0), coalesce(sum(crashed), 0), coalesce(sum(abnormal), 0), coalesce(sum(unhandled), 0),
           coalesce(sum(errored), 0), count(DISTINCT did), count(DISTINCT CASE WHEN crashed > 0 THEN did END)"
        )
    };
}

/// The sums of a [`Range`].
const OF_RANGE: &str = sums_of!("id >= ?1 AND id < ?2 AND (?3 IS NULL OR project = ?3)");

/// The sums of one release in one environment.
const OF_RELEASE: &str =
    concat!(sums_of!("project = ?1 AND release = ?2 AND environment = ?3"), " FROM counted");

/// Returns the sums of one release of a project in one environment. Without sessions they are 0.
pub(super) fn of_release(
    connection: &Connection,
    project: u32,
    release: &str,
    environment: &str,
) -> rusqlite::Result<SessionSums> {
    connection.prepare_cached(OF_RELEASE)?.query_row(params![project, release, environment], sums)
}

/// Returns the sums of each environment.
pub fn environments(connection: &Connection, range: Range) -> rusqlite::Result<Vec<EnvironmentRow>> {
    let sql = format!(
        "{OF_RANGE}, project, environment FROM counted GROUP BY project, environment
         ORDER BY project, environment LIMIT ?4"
    );
    rows(connection, range, &sql, |row| {
        Ok(EnvironmentRow { sessions: sums(row)?, project: row.get(7)?, environment: row.get(8)? })
    })
}

/// Returns the sums of each release in each environment, the one with the most sessions first.
pub fn releases(connection: &Connection, range: Range) -> rusqlite::Result<Vec<ReleaseRow>> {
    let sql = format!(
        "{OF_RANGE}, project, environment, release FROM counted GROUP BY project, environment, release
         ORDER BY project, environment, sum(total) DESC, release LIMIT ?4"
    );
    rows(connection, range, &sql, |row| {
        Ok(ReleaseRow {
            sessions: sums(row)?,
            project: row.get(7)?,
            environment: row.get(8)?,
            release: row.get(9)?,
        })
    })
}

/// Returns the sums of each release in each environment and hour. `end_us` is the end of the range, in microseconds since the epoch.
pub fn hours(connection: &Connection, range: Range, end_us: u64) -> rusqlite::Result<Vec<HourRow>> {
    let mut statement = connection.prepare_cached(RECEIVED)?;
    let (first, end) = (first_id(range.after), first_id(range.upto));
    let Range { project, limit, .. } = range;
    let (parts, end_us) = (signed(PARTS), signed(end_us));
    let rows = statement.query_map(params![first, end, project, limit, parts, end_us], |row| {
        Ok(HourRow {
            project: row.get(0)?,
            environment: row.get(1)?,
            release: row.get(2)?,
            hours_ago: unsigned(row.get(3)?),
            sessions: unsigned(row.get(4)?),
        })
    })?;
    rows.collect()
}

/// Returns the first id of the envelope after this one.
fn first_id(seq: u64) -> i64 {
    signed(seq.saturating_add(1).saturating_mul(PARTS))
}

fn rows<T>(
    connection: &Connection,
    range: Range,
    sql: &str,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    let mut statement = connection.prepare_cached(sql)?;
    let ids = (first_id(range.after), first_id(range.upto));
    statement.query_map(params![ids.0, ids.1, range.project, range.limit], read)?.collect()
}

fn sums(row: &Row<'_>) -> rusqlite::Result<SessionSums> {
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
}
