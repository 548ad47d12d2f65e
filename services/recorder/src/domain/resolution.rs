//! The release in which an issue is resolved, and whether an event of another release contradicts it.

use serde::{Deserialize, Serialize};

use super::{Release, Releases, State, Status, version};

/// The release in which an issue is resolved.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Resolution {
    /// The release that has the repair. While it is pending, the newest one that does not have it.
    pub release: Release,
    /// True while the next release, in which it is resolved, is not known.
    pub is_pending: bool,
    /// Of an issue that is resolved in the next release: the last release without the repair.
    pub current: Option<Release>,
}

/// What an event on a resolved issue means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) regresses: bool,
    pub(super) why: String,
}

/// What an event of one release would mean for a resolved issue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outlook {
    /// The release.
    pub release: String,
    /// True when an event of it would open the issue again.
    pub regresses: bool,
    /// Reason in words.
    pub why: String,
}

impl Verdict {
    fn new(regresses: bool, why: String) -> Self {
        Self { regresses, why }
    }
}

/// Returns what an event of each of the newest releases would mean. Empty for an issue that is not resolved.
#[must_use]
pub fn outlook(state: &State, releases: &Releases, count_max: usize) -> Vec<Outlook> {
    if state.status != Status::Resolved {
        return Vec::new();
    }
    let of = |release: &Release| {
        let Verdict { regresses, why } = verdict(state, Some(release), releases);
        Outlook { release: release.version.clone(), regresses, why }
    };
    releases.iter().take(count_max).map(of).collect()
}

/// Returns what an event of this release means for a resolved issue.
pub(super) fn verdict(state: &State, event: Option<&Release>, releases: &Releases) -> Verdict {
    if let Some(commit) = &state.commit {
        let why = format!("the issue is resolved in commit {commit}, which is in no release yet");
        return Verdict::new(false, why);
    }
    let Some(resolution) = &state.resolution else {
        let why = "the issue is resolved without a release, so an event of any release opens it again";
        return Verdict::new(true, why.to_owned());
    };
    let Some(event) = event else {
        let why =
            "the event names no release, and such an event counts as older than the release of the repair";
        return Verdict::new(false, why.to_owned());
    };
    resolution.dated(releases).verdict(event, releases.follows_semver(&event.version))
}

impl Resolution {
    /// Gives its releases the dates that they have now. Somebody may have set one since. A release that is not known any more keeps
    /// its date.
    pub(super) fn dated(&self, releases: &Releases) -> Self {
        let dated = |release: &Release| {
            let known = releases.find(&release.version);
            let released_us = known.map_or(release.released_us, |known| known.released_us);
            Release { released_us, ..release.clone() }
        };
        let current = self.current.as_ref().map(dated);
        Self { release: dated(&self.release), is_pending: self.is_pending, current }
    }

    fn verdict(&self, event: &Release, by_version: bool) -> Verdict {
        let in_next = self.current.as_ref().and_then(|current| {
            if by_version { self.after_version(current, event) } else { Some(after_date(current, event)) }
        });
        if let Some(verdict) = in_next {
            return verdict;
        }
        if self.is_pending {
            return after_date(&self.release, event);
        }
        if self.release.version == event.version {
            let why = format!("the event is of {}, the release that should have the repair", event.version);
            return Verdict::new(true, why);
        }
        let ordering = by_version.then(|| version::compare(&self.release.version, &event.version)).flatten();
        match ordering {
            Some(ordering) => of_version(&self.release, event, ordering.is_gt()),
            None => before_date(&self.release, event, by_version),
        }
    }

    /// Compares with the last release without the repair by version. `None` when these have no order.
    fn after_version(&self, current: &Release, event: &Release) -> Option<Verdict> {
        if version::compare(&current.version, &event.version)?.is_ge() {
            let why = format!(
                "by version, {} is not after {}, the greatest release when the issue was resolved in the next one",
                event.version, current.version
            );
            return Some(Verdict::new(false, why));
        }
        let ordering = version::compare(&self.release.version, &event.version)?;
        if ordering.is_gt() {
            return Some(of_version(&self.release, event, true));
        }
        let why = format!(
            "by version, {} is after {}, the greatest release when the issue was resolved in the next one",
            event.version, current.version
        );
        Some(Verdict::new(true, why))
    }
}

/// Compares with the last release without the repair by date.
fn after_date(current: &Release, event: &Release) -> Verdict {
    if current.version == event.version {
        let why = format!("{} is the last release before the repair", event.version);
        return Verdict::new(false, why);
    }
    let is_older = current.date_us() > event.date_us();
    let order = if is_older { "before" } else { "after" };
    let why = format!(
        "by date, {} {} {order} {}, the last release before the repair",
        event.version,
        came(event),
        current.version
    );
    Verdict::new(!is_older, why)
}

/// What the date of a release says.
fn came(release: &Release) -> &'static str {
    if release.released_us.is_some() { "was released" } else { "first arrived" }
}

fn of_version(release: &Release, event: &Release, is_older: bool) -> Verdict {
    let order = if is_older { "older than" } else { "not older than" };
    let why =
        format!("by version, {} is {order} {}, the release of the repair", event.version, release.version);
    Verdict::new(!is_older, why)
}

/// Compares with the release of the repair by date.
fn before_date(release: &Release, event: &Release, by_version: bool) -> Verdict {
    let is_older = release.date_us() >= event.date_us();
    let order = if is_older { "not after" } else { "after" };
    // A version in a project of versions is compared by date only with a release that is none.
    let because = if by_version {
        format!("{} is not a version", release.version)
    } else {
        format!("{} is not compared by version", event.version)
    };
    let why = format!(
        "by date ({because}), {} {} {order} {}, the release of the repair",
        event.version,
        came(event),
        release.version
    );
    Verdict::new(!is_older, why)
}
