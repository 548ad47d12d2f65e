//! States of issues: applies the releases, actions and error events of a batch in order of arrival, each by
//! [`crate::domain::decide`].
//!
//! The time of a decision is the receipt of its envelope, so an index that is rebuilt has the same states.

use std::{collections::HashMap, rc::Rc};

use rusqlite::{OptionalExtension as _, Transaction, params};
use uuid::Uuid;

use super::{
    read_issues::{self, KnownIssue},
    schema::{PARTS, signed, unsigned},
};
use crate::{
    domain::{
        ACTIVITY_MAX, Clock, Command, Decision, HISTORY_S, Happened, HourCount, How, RELEASES_MAX, Release,
        Releases, Status, Until, decide,
    },
    journal::IndexEntry,
    protocol::{
        actions::{Action, OperatorAction},
        digest::ErrorRow,
        seconds, to_microsecond,
    },
};

/// Largest number of releases that become known by one envelope. Each costs a look at the issues that wait for one, and an SDK
/// names only its own. The events of further ones are of releases that are not known.
const NEW_RELEASES_MAX: usize = 100;
/// Value of `resolution` in the table: resolved in a release.
const IN_RELEASE: u8 = 1;
/// Value of `resolution` in the table: waits for the next release, or for one with a commit.
const PENDING: u8 = 2;

/// The issues of one batch.
pub(super) struct Issues<'a> {
    transaction: &'a Transaction<'a>,
    ongoing_after_s: f64,
    issues: HashMap<Uuid, Cached>,
    /// Known releases by project, as far as they are needed.
    releases: HashMap<u32, Rc<Releases>>,
    /// Last `seq` of each release of a project that the batch named.
    named: HashMap<(u32, &'a str), u64>,
}

struct Cached {
    issue: KnownIssue,
    /// The `seq` of the last change that is not stored yet.
    changed_seq: Option<u64>,
}

/// Place and time of what happened.
#[derive(Clone, Copy)]
struct At {
    seq: u64,
    received_at_us: u64,
}

impl At {
    /// Returns the time of a decision, in seconds since the epoch.
    fn now(self) -> f64 {
        seconds(self.received_at_us)
    }
}

impl<'a> Issues<'a> {
    pub(super) fn new(transaction: &'a Transaction<'a>, ongoing_after_s: f64) -> Self {
        let (issues, releases, named) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { transaction, ongoing_after_s, issues, releases, named }
    }

    /// Applies an envelope whose error events are stored.
    pub(super) fn apply(&mut self, indexed: &'a IndexEntry) -> rusqlite::Result<()> {
        let IndexEntry { seq, received_at_us, project, digest, .. } = indexed;
        let at = At { seq: *seq, received_at_us: *received_at_us };
        let mut new = 0;
        for row in &digest.releases {
            if new >= NEW_RELEASES_MAX {
                break;
            }
            new += usize::from(self.name_release(*project, &row.release, None, at)?);
        }
        for action in &digest.actions {
            self.act(action, at)?;
        }
        for (id, error) in (seq * PARTS..(seq + 1) * PARTS).zip(&digest.errors) {
            self.event(*project, id, error, at)?;
        }
        Ok(())
    }

    /// Stores what changed.
    pub(super) fn finish(&mut self) -> rusqlite::Result<()> {
        self.store()?;
        self.store_named()
    }

    fn store_named(&mut self) -> rusqlite::Result<()> {
        let sql = "UPDATE known_releases SET last_seq = ?3 WHERE project = ?1 AND release = ?2";
        let mut statement = self.transaction.prepare_cached(sql)?;
        for ((project, release), last_seq) in self.named.drain() {
            statement.execute(params![project, release, signed(last_seq)])?;
        }
        Ok(())
    }

    /// Returns true for a release that was not known.
    fn name_release(
        &mut self,
        project: u32,
        release: &'a str,
        released_us: Option<u64>,
        at: At,
    ) -> rusqlite::Result<bool> {
        if let Some(last_seq) = self.named.get_mut(&(project, release)) {
            *last_seq = at.seq;
            return Ok(false);
        }
        let sql = "INSERT OR IGNORE INTO known_releases VALUES (?1, ?2, ?3, ?4, ?4, ?5)";
        let parameters =
            params![project, release, signed(at.received_at_us), signed(at.seq), released_us.map(signed)];
        let added = self.transaction.prepare_cached(sql)?.execute(parameters)?;
        self.named.insert((project, release), at.seq);
        if added == 0 {
            return Ok(false);
        }
        if self.drop_oldest_releases(project)? > 0 {
            // A dropped one that is named again in this batch is new, as it would be in a later one.
            self.store_named()?;
        }
        self.releases.remove(&project);
        let added = Release { released_us, ..Release::added(release, at.received_at_us) };
        for issue in self.with_resolution(project, PENDING)? {
            self.change(project, issue, Happened::ReleaseAdded(&added), at)?;
        }
        Ok(true)
    }

    /// Returns the number of releases that were dropped.
    fn drop_oldest_releases(&self, project: u32) -> rusqlite::Result<usize> {
        let sql = "DELETE FROM known_releases WHERE project = ?1 AND release IN (
                       SELECT release FROM known_releases WHERE project = ?1
                       ORDER BY added_us DESC, added_seq DESC, release DESC LIMIT -1 OFFSET ?2)";
        self.transaction.prepare_cached(sql)?.execute(params![project, signed(RELEASES_MAX as u64)])
    }

    fn act(&mut self, action: &'a OperatorAction, at: At) -> rusqlite::Result<()> {
        let OperatorAction { by, action } = action;
        match action {
            Action::ChangeIssue { issue, command } => self.command(*issue, command, by, at),
            Action::DeleteRelease { project, release } => self.delete_release(*project, release, by, at),
            Action::SetRelease { project, release, released_us, commits } => {
                self.name_release(*project, release, *released_us, at)?;
                self.set_release(*project, release, *released_us, commits, at)
            }
        }
    }

    fn command(&mut self, issue: Uuid, command: &Command, by: &str, at: At) -> rusqlite::Result<()> {
        // An issue whose events were deleted meanwhile is not changed any more.
        let Some(project) = self.cached(issue)?.map(|cached| cached.issue.project) else { return Ok(()) };
        let last_seen = "SELECT max(at) FROM errors WHERE issue = ?1";
        let last_seen: Option<f64> =
            self.transaction.prepare_cached(last_seen)?.query_row([issue.into_bytes()], |row| row.get(0))?;
        let last_release = "SELECT release FROM errors WHERE issue = ?1 AND release IS NOT NULL
                            ORDER BY at DESC, id DESC LIMIT 1";
        let last_release: Option<String> = self
            .transaction
            .prepare_cached(last_release)?
            .query_row([issue.into_bytes()], |row| row.get(0))
            .optional()?;
        let hours = match command {
            Command::Archive(Until::Escalating) => self.hours(issue, at)?,
            _ => Vec::new(),
        };
        let of_commit = match command {
            Command::Resolve(How::InCommit(commit)) => {
                read_issues::release_of_commit(self.transaction, project, commit)?
            }
            _ => None,
        };
        let happened = Happened::Command {
            command,
            by,
            last_seen: seen_at(last_seen.unwrap_or_default(), at.now()),
            last_release: last_release.as_deref(),
            hours: &hours,
            of_commit: of_commit.as_deref(),
        };
        self.change(project, issue, happened, at)
    }

    /// Counts the events of an issue by the hour, as a forecast needs them. An event that was sent again counts once.
    fn hours(&self, issue: Uuid, at: At) -> rusqlite::Result<Vec<HourCount>> {
        let sql =
            "SELECT CAST(at / 3600 AS INTEGER) AS hour, count(DISTINCT ifnull(event_id, id)) FROM errors
                   WHERE issue = ?1 AND id < ?2 AND at > ?3 AND at <= ?4 GROUP BY hour ORDER BY hour";
        let mut statement = self.transaction.prepare_cached(sql)?;
        let parameters = params![issue.into_bytes(), signed(at.seq * PARTS), at.now() - HISTORY_S, at.now()];
        let hours = statement.query_map(parameters, |row| {
            Ok(HourCount { hour: row.get(0)?, events: unsigned(row.get(1)?) })
        })?;
        hours.collect()
    }

    /// Stores the date and the commits of a known release, and completes the issues for which it is the next one by its date, or
    /// that are resolved in one of the commits.
    fn set_release(
        &mut self,
        project: u32,
        release: &str,
        released_us: Option<u64>,
        commits: &[String],
        at: At,
    ) -> rusqlite::Result<()> {
        let sql = "UPDATE known_releases SET released_us = coalesce(?3, released_us)
                   WHERE project = ?1 AND release = ?2";
        self.transaction.prepare_cached(sql)?.execute(params![project, release, released_us.map(signed)])?;
        self.releases.remove(&project);
        if released_us.is_some() {
            for issue in self.with_resolution(project, PENDING)? {
                self.change(project, issue, Happened::ReleaseDated, at)?;
            }
        }
        for commit in commits {
            let sql = "INSERT OR IGNORE INTO release_commits VALUES (?1, ?2, ?3)";
            self.transaction.prepare_cached(sql)?.execute(params![project, commit, release])?;
        }
        let releases = self.releases_of(project)?;
        let Some(release) = releases.find(release).filter(|_| !commits.is_empty()) else { return Ok(()) };
        for issue in self.with_resolution(project, PENDING)? {
            self.change(project, issue, Happened::CommitsAdded { release, commits }, at)?;
        }
        Ok(())
    }

    fn delete_release(&mut self, project: u32, release: &'a str, by: &str, at: At) -> rusqlite::Result<()> {
        let sql = "DELETE FROM known_releases WHERE project = ?1 AND release = ?2";
        self.transaction.prepare_cached(sql)?.execute(params![project, release])?;
        let sql = "DELETE FROM release_commits WHERE project = ?1 AND release = ?2";
        self.transaction.prepare_cached(sql)?.execute(params![project, release])?;
        self.named.remove(&(project, release));
        self.releases.remove(&project);
        for issue in self.with_resolution(project, IN_RELEASE)? {
            self.change(project, issue, Happened::ReleaseDeleted { version: release, by }, at)?;
        }
        Ok(())
    }

    fn event(&mut self, project: u32, id: u64, error: &ErrorRow, at: At) -> rusqlite::Result<()> {
        let cached = self.cached(error.issue)?;
        let is_open = cached.is_none_or(|cached| cached.issue.state.status == Status::Unresolved);
        // An event that is sent again has happened once.
        if !is_open && self.is_repeated(id, error)? {
            return Ok(());
        }
        let event_id = error.event_id.map(|id| id.simple().to_string());
        let (release, event_id) = (error.release.as_deref(), event_id.as_deref());
        let seen = seen_at(error.at, at.now());
        self.change(project, error.issue, Happened::Event { at: seen, release, event_id }, at)
    }

    fn is_repeated(&self, id: u64, error: &ErrorRow) -> rusqlite::Result<bool> {
        let Some(event_id) = error.event_id else { return Ok(false) };
        let sql = "SELECT 1 FROM errors WHERE issue = ?1 AND event_id = ?2 AND id < ?3 LIMIT 1";
        let parameters = params![error.issue.into_bytes(), event_id.into_bytes(), signed(id)];
        self.transaction.prepare_cached(sql)?.exists(parameters)
    }

    fn change(&mut self, project: u32, issue: Uuid, happened: Happened<'_>, at: At) -> rusqlite::Result<()> {
        let state = self.cached(issue)?.map(|cached| cached.issue.state.clone());
        let is_compared = state.as_ref().is_some_and(|state| state.resolution.is_some());
        let releases = match happened {
            Happened::Event { .. } if !is_compared => Rc::default(),
            _ => self.releases_of(project)?,
        };
        let clock = Clock { now: at.now(), ongoing_after_s: self.ongoing_after_s };
        let Some(Decision { state, activity, .. }) = decide(state, happened, &releases, clock) else {
            return Ok(());
        };
        match self.issues.get_mut(&issue) {
            Some(cached) if cached.issue.state == state && activity.is_empty() => {}
            Some(cached) => {
                cached.issue.state = state;
                cached.issue.activity.extend(activity);
                let too_many = cached.issue.activity.len().saturating_sub(ACTIVITY_MAX);
                cached.issue.activity.drain(..too_many);
                cached.changed_seq = Some(at.seq);
            }
            None => {
                let issue_of_event = KnownIssue { project, state, activity };
                self.issues.insert(issue, Cached { issue: issue_of_event, changed_seq: Some(at.seq) });
            }
        }
        Ok(())
    }

    /// Returns an issue from the cache, or from the table.
    fn cached(&mut self, issue: Uuid) -> rusqlite::Result<Option<&Cached>> {
        if !self.issues.contains_key(&issue)
            && let Some(known) = read_issues::issue(self.transaction, issue)?
        {
            self.issues.insert(issue, Cached { issue: known, changed_seq: None });
        }
        Ok(self.issues.get(&issue))
    }

    fn releases_of(&mut self, project: u32) -> rusqlite::Result<Rc<Releases>> {
        if let Some(releases) = self.releases.get(&project) {
            return Ok(Rc::clone(releases));
        }
        let releases = Rc::new(read_issues::releases(self.transaction, project)?);
        self.releases.insert(project, Rc::clone(&releases));
        Ok(releases)
    }

    /// Returns the issues of a project that are resolved in a release, or only those that wait for one.
    fn with_resolution(&mut self, project: u32, resolution_min: u8) -> rusqlite::Result<Vec<Uuid>> {
        self.store()?;
        let sql = "SELECT issue FROM issue_states WHERE project = ?1 AND resolution > 0 AND resolution >= ?2
                   ORDER BY issue";
        let mut statement = self.transaction.prepare_cached(sql)?;
        let parameters = params![project, resolution_min];
        statement.query_map(parameters, |row| row.get(0).map(Uuid::from_bytes))?.collect()
    }

    fn store(&mut self) -> rusqlite::Result<()> {
        let sql = "INSERT OR REPLACE INTO issue_states VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let mut statement = self.transaction.prepare_cached(sql)?;
        for (issue, cached) in &mut self.issues {
            let Some(changed_seq) = cached.changed_seq.take() else { continue };
            let KnownIssue { project, state, activity } = &cached.issue;
            let resolution = match &state.resolution {
                _ if state.commit.is_some() => PENDING,
                None => 0,
                Some(resolution) if resolution.is_pending => PENDING,
                Some(_) => IN_RELEASE,
            };
            statement.execute(params![
                issue.into_bytes(),
                project,
                signed(changed_seq),
                resolution,
                json(state)?,
                json(activity)?,
            ])?;
        }
        Ok(())
    }
}

/// Forgets the issues and releases of which nothing is stored any more.
pub(super) fn purge(transaction: &Transaction<'_>, floor: u64) -> rusqlite::Result<()> {
    let floor = signed(floor);
    transaction.execute(
        "DELETE FROM issue_states WHERE changed_seq < ?1
         AND NOT EXISTS (SELECT 1 FROM errors WHERE errors.issue = issue_states.issue)",
        [floor],
    )?;
    transaction.execute("DELETE FROM known_releases WHERE last_seq < ?1", [floor])?;
    transaction.execute(
        "DELETE FROM release_commits WHERE NOT EXISTS (SELECT 1 FROM known_releases
         WHERE known_releases.project = release_commits.project
         AND known_releases.release = release_commits.release)",
        [],
    )?;
    Ok(())
}

/// Returns the time of an event for the states. A sender may send any number, and JSON has no form for one that is not finite. An
/// issue that became active in the future would not regress until then.
fn seen_at(at: f64, received_at: f64) -> f64 {
    to_microsecond(at.clamp(0.0, received_at))
}

fn json(value: &impl serde::Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::{
        index::schema,
        journal::Location,
        protocol::digest::{Digest, ReleaseRow, ReleaseSent},
    };

    const PROJECT: u32 = 3;

    fn naming(seq: u64, releases: impl Iterator<Item = u64>) -> IndexEntry {
        let row = |number: u64| ReleaseRow {
            release: format!("r{number}"),
            environment: String::new(),
            sent: ReleaseSent::Session,
            count: 1,
        };
        let digest = Digest { releases: releases.map(row).collect(), ..Digest::default() };
        let location = Location { segment: 1, offset: seq, bytes: 1 };
        IndexEntry { seq, received_at_us: seq, project: PROJECT, location, digest }
    }

    /// Returns the names of the known releases after one batch, newest first.
    fn known_after(batch: &[IndexEntry]) -> Vec<String> {
        let mut connection = Connection::open_in_memory().expect("a database");
        assert!(schema::prepare(&connection).expect("tables"));
        let transaction = connection.transaction().expect("a transaction");
        let mut issues = Issues::new(&transaction, 60.0);
        for indexed in batch {
            issues.apply(indexed).expect("applied");
        }
        issues.finish().expect("stored");
        let known = read_issues::releases(&transaction, PROJECT).expect("releases");
        known.iter().map(|release| release.version.clone()).collect()
    }

    #[test]
    fn one_envelope_adds_few_releases() {
        let all = 0..10 * NEW_RELEASES_MAX as u64;
        assert_eq!(known_after(&[naming(1, all.clone())]).len(), NEW_RELEASES_MAX);
        let twice = known_after(&[naming(1, all.clone()), naming(2, all)]);
        assert_eq!(twice.len(), 2 * NEW_RELEASES_MAX, "known ones do not count");
    }

    #[test]
    fn dropped_release_that_is_named_again_is_new() {
        let last = RELEASES_MAX as u64 + 1;
        let mut batch: Vec<_> = (1..=last).map(|seq| naming(seq, std::iter::once(seq))).collect();
        let known = known_after(&batch);
        assert_eq!((known.len(), known.first()), (RELEASES_MAX, Some(&format!("r{last}"))));
        assert!(!known.contains(&"r1".to_owned()), "it is the oldest");
        batch.push(naming(last + 1, std::iter::once(1)));
        assert_eq!(known_after(&batch).first().map(String::as_str), Some("r1"));
    }

    #[test]
    fn time_of_an_event_is_between_the_epoch_and_its_receipt() {
        let received_at = 1_700_000_000.25;
        for (at, expected) in [
            (1_600_000_000.123_456_7, 1_600_000_000.123_457),
            (1_700_000_060.0, received_at),
            (1e303, received_at),
            (-1e303, 0.0),
        ] {
            assert!((seen_at(at, received_at) - expected).abs() < 1e-9, "{at}");
        }
    }
}
