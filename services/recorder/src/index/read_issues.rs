//! Queries for the states of issues and for the releases that they are compared with.

use rusqlite::{Connection, OptionalExtension as _, params};
use uuid::Uuid;

use super::schema::{signed, unsigned};
use crate::domain::{Activity, RELEASES_MAX, Release, Releases, State};

/// State and activity of an issue, at the time of its last change.
#[derive(Clone, Debug)]
pub struct KnownIssue {
    /// Project of the issue.
    pub project: u32,
    /// Its state. What is due since is not in it ([`crate::domain::due`]).
    pub state: State,
    /// Its activity, oldest first.
    pub activity: Vec<Activity>,
}

/// Returns the state of an issue.
pub fn issue(connection: &Connection, issue: Uuid) -> rusqlite::Result<Option<KnownIssue>> {
    let sql = "SELECT project, state, activity FROM issue_states WHERE issue = ?1";
    let found: Option<(u32, String, String)> = connection
        .prepare_cached(sql)?
        .query_row([issue.into_bytes()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((project, state, activity)) = found else { return Ok(None) };
    Ok(Some(KnownIssue { project, state: parse(&state)?, activity: parse(&activity)? }))
}

/// Returns issues whose state changed after this `seq`, in the order of the last change, with its `seq`.
pub fn changed_after(
    connection: &Connection,
    seq: u64,
    limit: u32,
) -> rusqlite::Result<Vec<(u64, Uuid, KnownIssue)>> {
    let sql = "SELECT changed_seq, issue, project, state, activity FROM issue_states
               WHERE changed_seq > ?1 ORDER BY changed_seq, issue LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![signed(seq), limit], |row| {
        let (state, activity): (String, String) = (row.get(3)?, row.get(4)?);
        let known = KnownIssue { project: row.get(2)?, state: parse(&state)?, activity: parse(&activity)? };
        Ok((unsigned(row.get(0)?), Uuid::from_bytes(row.get(1)?), known))
    })?;
    rows.collect()
}

/// Returns the newest releases of a project.
pub fn releases(connection: &Connection, project: u32) -> rusqlite::Result<Releases> {
    let sql = "SELECT release, added_us, released_us FROM known_releases WHERE project = ?1
               ORDER BY added_us DESC, added_seq DESC, release DESC LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let releases = statement.query_map(params![project, signed(RELEASES_MAX as u64)], |row| {
        let released_us = row.get::<_, Option<i64>>(2)?.map(unsigned);
        Ok(Release { version: row.get(0)?, added_us: unsigned(row.get(1)?), released_us })
    })?;
    releases.collect::<rusqlite::Result<_>>().map(Releases::new)
}

/// Returns the first release by date that has this commit.
pub fn release_of_commit(
    connection: &Connection,
    project: u32,
    commit: &str,
) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT release FROM release_commits JOIN known_releases USING (project, release)
               WHERE project = ?1 AND commit_id = ?2
               ORDER BY coalesce(released_us, added_us), added_seq LIMIT 1";
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_row(params![project, commit], |row| row.get(0)).optional()
}

/// Returns an issue whose first event is of this release.
pub fn issue_of_first_release(
    connection: &Connection,
    project: u32,
    release: &str,
) -> rusqlite::Result<Option<Uuid>> {
    let sql = "SELECT issue FROM issue_states
               WHERE project = ?1 AND json_extract(state, '$.first_release') = ?2 LIMIT 1";
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_row(params![project, release], |row| row.get(0).map(Uuid::from_bytes)).optional()
}

/// Returns true when a session of this release is stored.
pub fn has_sessions(connection: &Connection, project: u32, release: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM sessions WHERE project = ?1 AND release = ?2 LIMIT 1";
    connection.prepare_cached(sql)?.exists(params![project, release])
}

fn parse<T: serde::de::DeserializeOwned>(json: &str) -> rusqlite::Result<T> {
    let text = rusqlite::types::Type::Text;
    serde_json::from_str(json)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, text, error.into()))
}
