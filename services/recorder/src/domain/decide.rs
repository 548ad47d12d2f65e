//! The decision: state and what happened, to the new state and its activity.

use super::{
    Activity, ActivityKind, Clock, Command, Forecast, Happened, Release, Releases, Resolution, Snooze, State,
    Status, Substatus,
    commands::{archive, reopen, resolve},
    further_events,
    resolution::{Verdict, verdict},
};

/// Time after the issue became active in which no event regresses it. Sentry leaves it for events that arrive side by side.
const ACTIVE_S: f64 = 5.0;

/// The new state, and what is added to the activity.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The new state.
    pub state: State,
    /// New entries, oldest first.
    pub activity: Vec<Activity>,
    /// Reason in words, also when nothing changed.
    pub why: String,
}

impl Decision {
    pub(super) fn unchanged(state: State, why: impl Into<String>) -> Self {
        Self { state, activity: Vec::new(), why: why.into() }
    }

    pub(super) fn new(state: State, activity: Activity) -> Self {
        let why = activity.why.clone();
        Self { state, activity: vec![activity], why }
    }
}

/// Decides what becomes of an issue.
///
/// `releases` are needed for a resolved issue and for a command. Returns `None` when something other than an event happened to
/// an issue that does not exist.
#[must_use]
pub fn decide(
    state: Option<State>,
    happened: Happened<'_>,
    releases: &Releases,
    clock: Clock,
) -> Option<Decision> {
    let Some(state) = state else {
        let Happened::Event { at, release, event_id } = happened else { return None };
        return Some(first(at, release, event_id));
    };
    let Decision { state, activity: mut earlier, .. } = due(state, clock);
    let mut decision = match happened {
        Happened::Event { at, release, event_id } => {
            event(earlier_seen(state, at), (at, release, event_id), releases, clock.now)
        }
        Happened::Command { command, by, last_seen, last_release, hours, of_commit } => match command {
            Command::Resolve(how) => {
                resolve(state, how, (by, last_seen, last_release, of_commit), releases, clock.now)
            }
            Command::Reopen => reopen(state, by, clock),
            Command::Archive(until) => archive(state, until, by, hours, clock.now),
        },
        Happened::ReleaseAdded(release) => complete(state, release, releases, clock.now),
        Happened::ReleaseDated => next_by_date(state, releases, clock.now),
        Happened::CommitsAdded { release, commits } => release_commit(state, release, commits, clock.now),
        Happened::ReleaseDeleted { version, by } => forget(state, version, by, clock.now),
    };
    earlier.append(&mut decision.activity);
    decision.activity = earlier;
    Some(decision)
}

/// Applies what time alone changes: the end of an archiving, and new issues that become ongoing.
#[must_use]
pub fn due(state: State, clock: Clock) -> Decision {
    let mut decision = Decision::unchanged(state, "nothing is due");
    if let Some(until) = decision.state.snooze.and_then(|snooze| snooze.until)
        && until <= clock.now
    {
        let why = "the time until which it was archived is over";
        // Time alone is no sign that it became worse, so it does not escalate.
        decision.activity.push(Activity::new(until, ActivityKind::SetUnresolved, why));
        decision.state = decision.state.with_status(Status::Unresolved, Some(Substatus::Ongoing), until);
        why.clone_into(&mut decision.why);
    }
    let state = &decision.state;
    let begin = match state.substatus {
        Some(Substatus::New) => state.first_seen,
        Some(Substatus::Regressed | Substatus::Escalating) => state.since,
        _ => return decision,
    };
    let at = begin + clock.ongoing_after_s;
    if at <= clock.now {
        // An event that is older than all others makes an issue older than its last change.
        let at = at.max(state.since);
        let why = format!("it has been known for {}", length(clock.ongoing_after_s));
        decision.activity.push(Activity::new(at, ActivityKind::AutoSetOngoing, why.clone()));
        decision.state = decision.state.with_status(Status::Unresolved, Some(Substatus::Ongoing), at);
        decision.why = why;
    }
    decision
}

fn first(at: f64, release: Option<&str>, event_id: Option<&str>) -> Decision {
    let entry = Activity {
        event_id: event_id.map(ToOwned::to_owned),
        ..Activity::new(at, ActivityKind::FirstSeen, "its first event arrived")
    };
    Decision::new(State::first(at, release), entry.of_release(release))
}

fn earlier_seen(state: State, at: f64) -> State {
    if at < state.first_seen { State { first_seen: at, ..state } } else { state }
}

/// Time, release and id of an event.
type Event<'a> = (f64, Option<&'a str>, Option<&'a str>);

fn event(state: State, event: Event<'_>, releases: &Releases, now: f64) -> Decision {
    match state.status {
        Status::Unresolved => Decision::unchanged(state, "the issue is open"),
        Status::Ignored => count_down(state, event, now),
        Status::Resolved => regress(state, event, releases, now),
    }
}

fn regress(state: State, (at, release, event_id): Event<'_>, releases: &Releases, now: f64) -> Decision {
    // A release that is not known any more is as new as its event.
    let unknown = |version: &str| Release::added(version, (now * 1e6) as u64);
    let release = release.map(|version| releases.find(version).cloned().unwrap_or_else(|| unknown(version)));
    let Verdict { regresses, why } = verdict(&state, release.as_ref(), releases);
    if !regresses {
        return Decision::unchanged(state, why);
    }
    let seen = at.max(state.seen_before_resolving);
    if state.active_at >= seen - ACTIVE_S {
        let why = format!("it became active less than {ACTIVE_S} s before the event");
        return Decision::unchanged(state, why);
    }
    let entry = Activity {
        event_id: event_id.map(ToOwned::to_owned),
        ..Activity::new(now, ActivityKind::SetRegression, why)
    };
    let entry = entry.of_release(release.as_ref().map(|release| release.version.as_str()));
    let state = state.with_status(Status::Unresolved, Some(Substatus::Regressed), now);
    Decision::new(State { active_at: seen, ..state }, entry)
}

fn count_down(mut state: State, event: Event<'_>, now: f64) -> Decision {
    if let Some(forecast) = state.forecast.take() {
        return measure(state, forecast, event, now);
    }
    let Some(Snooze { events_left: Some(left), until }) = state.snooze else {
        return Decision::unchanged(state, "the issue is archived");
    };
    let left = left.saturating_sub(1);
    if left > 0 {
        let snooze = Some(Snooze { events_left: Some(left), until });
        let why = format!("the issue is archived until {}", further_events(left));
        return Decision::unchanged(State { snooze, ..state }, why);
    }
    let why = "the number of events until which it was archived is reached";
    escalate(state, why.to_owned(), event, now)
}

/// Compares the events of this hour with the forecast. The event that exceeds it ends the archiving.
fn measure(state: State, forecast: Forecast, event: Event<'_>, now: f64) -> Decision {
    let forecast = forecast.with_event(now);
    let (counted, limit) = (forecast.events(), forecast.limit(now));
    if counted <= limit {
        let why = format!("the issue is archived until more than {} arrive in an hour", events(limit));
        return Decision::unchanged(State { forecast: Some(forecast), ..state }, why);
    }
    let why = format!("{} in an hour are more than the {limit} that were forecast", events(counted));
    escalate(state, why, event, now)
}

fn escalate(state: State, why: String, (_, release, event_id): Event<'_>, now: f64) -> Decision {
    let entry = Activity {
        event_id: event_id.map(ToOwned::to_owned),
        ..Activity::new(now, ActivityKind::SetEscalating, why)
    };
    let state = state.with_status(Status::Unresolved, Some(Substatus::Escalating), now);
    Decision::new(state, entry.of_release(release))
}

/// Completes a resolution in the next release, once that release is known.
fn complete(state: State, added: &Release, releases: &Releases, now: f64) -> Decision {
    let Some(pending) = pending(&state, releases) else {
        return Decision::unchanged(state, "the issue does not wait for a release");
    };
    let is_later = added.date_us() > pending.release.date_us() && added.version != pending.release.version;
    if !is_later {
        return Decision::unchanged(state, "the release is not later than the present one");
    }
    let why = format!("the next release, in which it was resolved, is {}", added.version);
    let entry = Activity::new(now, ActivityKind::SetResolvedInRelease, why).of_release(Some(&added.version));
    let resolution = Some(Resolution { release: added.clone(), is_pending: false, current: pending.current });
    Decision::new(State { resolution, ..state }, entry)
}

/// Completes a resolution in the next release, once a known release has a date that makes it the next one.
fn next_by_date(state: State, releases: &Releases, now: f64) -> Decision {
    let next = pending(&state, releases).and_then(|pending| releases.successor(&pending.release.version));
    match next {
        Some(next) => complete(state, next, releases, now),
        None => Decision::unchanged(state, "the issue does not wait for one of the known releases"),
    }
}

/// Returns the resolution in the next release that is not known yet, with the dates of now.
fn pending(state: &State, releases: &Releases) -> Option<Resolution> {
    let pending = state.resolution.as_ref().filter(|resolution| resolution.is_pending);
    pending.map(|resolution| resolution.dated(releases))
}

/// Completes a resolution in a commit, once a release has it.
fn release_commit(state: State, release: &Release, commits: &[String], now: f64) -> Decision {
    let Some(commit) = state.commit.as_ref().filter(|commit| commits.contains(commit)) else {
        return Decision::unchanged(state, "the issue does not wait for one of these commits");
    };
    let why = format!("commit {commit}, in which it was resolved, is in {}", release.version);
    let entry =
        Activity::new(now, ActivityKind::SetResolvedInRelease, why).of_release(Some(&release.version));
    let resolution = Some(Resolution { release: release.clone(), is_pending: false, current: None });
    Decision::new(State { resolution, commit: None, ..state }, entry)
}

/// Forgets a resolution in a release that is deleted, as Sentry does.
fn forget(state: State, version: &str, by: &str, now: f64) -> Decision {
    let Some(resolution) = &state.resolution else {
        return Decision::unchanged(state, "the issue is not resolved in a release");
    };
    let is_current = resolution.current.as_ref().is_some_and(|current| current.version == version);
    if resolution.release.version == version {
        let why = format!(
            "{version}, in which it was resolved, was deleted: from now on an event of any release opens it again"
        );
        let entry = Activity::new(now, ActivityKind::ReleaseDeleted, why).of_release(Some(version));
        return Decision::new(State { resolution: None, ..state }, entry.by(by));
    }
    if is_current {
        let why = format!("{version}, the last release before the repair, was deleted");
        let entry = Activity::new(now, ActivityKind::ReleaseDeleted, why).of_release(Some(version));
        let resolution = Some(Resolution { current: None, ..resolution.clone() });
        return Decision::new(State { resolution, ..state }, entry.by(by));
    }
    Decision::unchanged(state, "the issue was resolved in another release")
}

/// Formats a number of events.
pub(super) fn events(count: u64) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} event{plural}")
}

/// Formats a duration.
pub(super) fn length(seconds: f64) -> String {
    let (number, unit) = match seconds {
        s if s >= 86_400.0 => (s / 86_400.0, "day"),
        s if s >= 3_600.0 => (s / 3_600.0, "hour"),
        s if s >= 60.0 => (s / 60.0, "minute"),
        s => (s, "second"),
    };
    let number = format!("{number:.0}");
    let plural = if number == "1" { "" } else { "s" };
    format!("{number} {unit}{plural}")
}
