//! What a person asks for: to resolve an issue, to open it again, to archive it.

use super::{
    Activity, ActivityKind, Clock, Decision, Forecast, HourCount, How, Release, Releases, Resolution, Snooze,
    State, Status, Substatus, Until,
    decide::{events, length},
    further_events,
};

/// Who asked, time of the last event, its release, and the first release that has the commit.
pub(super) type Asked<'a> = (&'a str, f64, Option<&'a str>, Option<&'a str>);

pub(super) fn resolve(state: State, how: &How, asked: Asked<'_>, releases: &Releases, now: f64) -> Decision {
    let (by, last_seen, last_release, of_commit) = asked;
    if state.status == Status::Resolved {
        return Decision::unchanged(state, "the issue is resolved already");
    }
    let mut pending_commit = None;
    let (resolution, entry) = match how {
        How::Now => (None, Activity::new(now, ActivityKind::SetResolved, "resolved without a release")),
        How::InRelease(version) => {
            let Some(release) = releases.find(version).cloned() else {
                return Decision::unchanged(state, format!("there is no release {version}"));
            };
            let why = format!("resolved in {version}");
            let entry = Activity::new(now, ActivityKind::SetResolvedInRelease, why);
            (Some(Resolution { release, is_pending: false, current: None }), entry.of_release(Some(version)))
        }
        How::InNextRelease => in_next_release(last_release, releases, now),
        How::InCommit(commit) => {
            let release = of_commit.and_then(|version| releases.find(version));
            if release.is_none() {
                pending_commit = Some(commit.clone());
            }
            in_commit(commit, release, now)
        }
    };
    let state = state.with_status(Status::Resolved, None, now);
    let state = State { resolution, commit: pending_commit, seen_before_resolving: last_seen, ..state };
    Decision::new(state, entry.by(by))
}

fn in_commit(commit: &str, release: Option<&Release>, now: f64) -> (Option<Resolution>, Activity) {
    let entry = |why: String| Activity::new(now, ActivityKind::SetResolvedInCommit, why);
    let Some(release) = release else {
        let why = format!("resolved in commit {commit}, and in the first release that has it");
        return (None, entry(why));
    };
    let why = format!("resolved in commit {commit}, which is in {}", release.version);
    let resolution = Resolution { release: release.clone(), is_pending: false, current: None };
    (Some(resolution), entry(why).of_release(Some(&release.version)))
}

/// Finds the releases without and with the repair.
fn in_next_release(
    last_release: Option<&str>,
    releases: &Releases,
    now: f64,
) -> (Option<Resolution>, Activity) {
    let by_version = releases.are_ordered_by_version();
    let Some(release) = (if by_version { releases.greatest() } else { releases.newest() }) else {
        let why =
            "resolved in the next release, but no release is known: an event of any release opens it again";
        return (None, Activity::new(now, ActivityKind::SetResolved, why));
    };
    let entry = |why: String| Activity::new(now, ActivityKind::SetResolvedInRelease, why);
    if by_version {
        let why = format!("resolved in the next release, which is any after {} by version", release.version);
        let resolution =
            Resolution { release: release.clone(), is_pending: false, current: Some(release.clone()) };
        return (Some(resolution), entry(why).of_release(Some(&release.version)));
    }
    let current = last_release.and_then(|version| releases.find(version));
    let Some(next) = current.and_then(|current| releases.successor(&current.version)) else {
        let why = format!("resolved in the next release, the first that arrives after {}", release.version);
        let resolution = Resolution { release: release.clone(), is_pending: true, current: current.cloned() };
        return (Some(resolution), entry(why));
    };
    let last = last_release.unwrap_or_default();
    let why = format!("resolved in the next release, which is {}: it follows {last} by date", next.version);
    let resolution = Resolution { release: next.clone(), is_pending: false, current: current.cloned() };
    (Some(resolution), entry(why).of_release(Some(&next.version)))
}

pub(super) fn reopen(state: State, by: &str, clock: Clock) -> Decision {
    if state.status == Status::Unresolved {
        return Decision::unchanged(state, "the issue is open already");
    }
    let is_new = state.first_seen > clock.now - clock.ongoing_after_s;
    let substatus = match state.status {
        Status::Ignored if is_new => Substatus::New,
        _ => Substatus::Ongoing,
    };
    let state = state.with_status(Status::Unresolved, Some(substatus), clock.now);
    Decision::new(state, Activity::new(clock.now, ActivityKind::SetUnresolved, "opened again").by(by))
}

pub(super) fn archive(state: State, until: &Until, by: &str, hours: &[HourCount], now: f64) -> Decision {
    let condition = Substatus::ArchivedUntilConditionMet;
    let forecast = (*until == Until::Escalating).then(|| Forecast::new(hours, now));
    let (substatus, snooze, why) = match until {
        Until::Escalating => {
            let limit = forecast.as_ref().map_or(0, |forecast| forecast.limit(now));
            let why = format!("archived until it escalates: today by more than {} in an hour", events(limit));
            (Substatus::ArchivedUntilEscalating, None, why)
        }
        Until::Forever => (Substatus::ArchivedForever, None, "archived until somebody opens it".to_owned()),
        Until::Events(events) => {
            let snooze = Snooze { events_left: Some(*events), until: None };
            (condition, Some(snooze), format!("archived until {}", further_events(*events)))
        }
        Until::Time(until) => {
            let snooze = Snooze { events_left: None, until: Some(*until) };
            (condition, Some(snooze), format!("archived for {}", length(until - now)))
        }
    };
    let state = State { snooze, forecast, ..state.with_status(Status::Ignored, Some(substatus), now) };
    Decision::new(state, Activity::new(now, ActivityKind::SetIgnored, why).by(by))
}
