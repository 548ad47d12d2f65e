//! Monitors of check-ins: the state of each by its last check-in and by the schedule that its check-ins brought.
//!
//! Nothing is stored. A monitor whose check-ins stay away becomes missed only because time passes. Intervals and crontabs are
//! evaluated in the monitor's time zone. A monitor whose schedule is not understood is never missed here, and its row says why.

mod runs;
mod schedule;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{extract::State, response::Response};
use chassis::problem::Problem;
use serde::{Deserialize, Serialize};

use super::{
    lines::{ListedEnvelope, WriteError, stream},
    params::UrlQueries,
    scan::{Scanned, Window, WindowParams, scan, window},
    state::Query,
};
use crate::protocol::{check_in, digest::Kinds, event::LABEL_BYTES_MAX, fields::Fields};

use runs::{Part, Runs, run_id};
use schedule::{Due, Interval, MINUTE_S, Schedule};

/// Item type of a check-in.
const CHECK_IN: &str = "check_in";
/// Period of check-ins that are read, unless the request says another.
pub(crate) const PERIOD_S: u64 = 24 * 60 * 60;
/// Largest number of environments in which the id of a check-in is looked for.
const ENVIRONMENTS_COMPARED: usize = 32;
/// Largest number of monitors of one answer. Check-ins of further ones are counted.
const MONITORS_MAX: usize = 1_000;
/// Environment of a check-in that names none, as in Sentry.
const ENVIRONMENT: &str = "production";
/// Status of a run that has not ended.
const IN_PROGRESS: &str = "in_progress";
/// Statuses of check-ins. Sentry drops a check-in with another one, so it never becomes a monitor's state.
const STATUSES: [&str; 3] = [IN_PROGRESS, "ok", "error"];

/// Parameter `at`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Clock {
    /// Time for which the states are computed, in seconds since the epoch. Later check-ins do not count.
    #[serde(default)]
    at: Option<f64>,
}

impl Clock {
    /// Returns the requested time, or the present.
    pub(crate) fn time(&self) -> f64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        self.at.unwrap_or(now)
    }
}

/// Answer of [`list`].
#[derive(Debug, Serialize)]
pub(crate) struct Monitors {
    #[serde(flatten)]
    pub(crate) scanned: Scanned,
    pub(crate) monitors: Vec<Monitor>,
    /// Number of check-ins of monitors that are not listed, because there are too many.
    pub(crate) left_out: u64,
    /// Number of check-ins with a status that Sentry does not know, or without a slug. They change no monitor.
    pub(crate) invalid: u64,
    /// Number of check-ins of a run that has ended, or that belongs to another environment. They change no state.
    pub(crate) refused: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Monitor {
    pub(crate) project: String,
    pub(crate) monitor: String,
    pub(crate) environment: String,
    /// `missed`, `timeout`, or the status of the last check-in.
    pub(crate) state: String,
    pub(crate) last_status: String,
    /// Receipt of the last check-in.
    pub(crate) last_at: f64,
    /// Its interval in words.
    pub(crate) interval: Option<String>,
    /// None for a monitor without an interval, and for months and years, whose length depends on the calendar.
    pub(crate) interval_s: Option<u64>,
    /// None for a monitor without a crontab that is evaluated.
    pub(crate) crontab: Option<String>,
    /// Time zone of its schedule.
    pub(crate) timezone: String,
    /// Why its schedule is not evaluated.
    pub(crate) not_evaluated: Option<String>,
    /// Time from which it is missed without a further check-in.
    pub(crate) missed_from: Option<f64>,
    /// True in the last minute before that.
    pub(crate) late: bool,
    /// Number of check-ins that began a run after the monitor had become missed.
    pub(crate) late_check_ins: u64,
}

/// What is known of one monitor.
#[derive(Debug, Default)]
struct Known {
    status: String,
    at: f64,
    late: u64,
    schedule: Schedule,
    runs: Runs,
}

/// Project, slug and environment.
type Key = (String, String, String);

/// `GET /api/v1/monitors?since=&project=&period_s=&at=`
pub(super) async fn list(
    State(query): State<Query>,
    UrlQueries(params, clock): UrlQueries<WindowParams, Clock>,
) -> Result<Response, Problem> {
    let window = window(&query, &params.or_period_s(PERIOD_S))?;
    let at = clock.time();
    stream(&query, "application/json", move |query, out| {
        serde_json::to_writer(&mut *out, &monitors(query, window, at)?)?;
        Ok(())
    })
    .await
}

/// The monitors of check-ins that are read one after the other.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    all: BTreeMap<Key, Known>,
}

/// A monitor in one environment at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tracked {
    pub(crate) project: String,
    pub(crate) monitor: String,
    /// What is bad about it: `missed`, `timeout`, or `error` if so many runs in a row failed as its settings say.
    pub(crate) bad: Option<&'static str>,
}

impl Tracker {
    /// Adds the check-ins of an envelope. There are at most a thousand monitors.
    pub(crate) fn add(&mut self, opened: &ListedEnvelope<'_>) {
        // Those that are left out are counted where the monitors are listed.
        add(&mut self.all, &mut NotCounted::default(), opened);
    }

    /// Forgets the monitors that nobody has checked in at for a day after they were missed, or after their last check-in without a
    /// schedule. Otherwise a monitor that was deleted would be missed for ever, and would keep the place of another one.
    pub(crate) fn forget(&mut self, now: f64) {
        self.all.retain(|_, known| {
            let since = known.missed_from().unwrap_or(known.at).max(known.at);
            now - since < PERIOD_S as f64
        });
    }

    /// Returns the monitors with their states at a time.
    pub(crate) fn states(&self, now: f64) -> Vec<Tracked> {
        let tracked = |((project, monitor, _), known): (&Key, &Known)| Tracked {
            project: project.clone(),
            monitor: monitor.clone(),
            bad: known.bad(now),
        };
        self.all.iter().map(tracked).collect()
    }
}

/// Computes the states for a time.
pub(crate) fn monitors(query: &Query, window: Window, at: f64) -> Result<Monitors, WriteError> {
    let (mut all, mut not_counted) = (BTreeMap::new(), NotCounted::default());
    let scanned = scan(query, window, Kinds::of(CHECK_IN), |opened| {
        if opened.source.received_at <= at {
            add(&mut all, &mut not_counted, opened);
        }
    })?;
    let monitors = all.into_iter().map(|(key, known)| known.monitor(key, at)).collect();
    let NotCounted { left_out, invalid, refused } = not_counted;
    Ok(Monitors { scanned, monitors, left_out, invalid, refused })
}

/// Numbers of check-ins that change no monitor.
#[derive(Default)]
struct NotCounted {
    left_out: u64,
    invalid: u64,
    refused: u64,
}

/// Adds the check-ins of an envelope.
fn add(all: &mut BTreeMap<Key, Known>, not_counted: &mut NotCounted, opened: &ListedEnvelope<'_>) {
    for item in opened.envelope.items.iter().filter(|item| item.item_type() == CHECK_IN) {
        let Some(check_in) = item.json().map(Fields::parse) else { continue };
        let short = |name: &str| check_in.short(name, LABEL_BYTES_MAX).unwrap_or_default();
        let (status, slug) = (short("status"), check_in::slug(&short("monitor_slug")));
        if !STATUSES.contains(&status.as_str()) || slug.is_empty() {
            not_counted.invalid += 1;
            continue;
        }
        let environment = Some(short("environment")).filter(|name| !name.is_empty());
        let environment = environment.unwrap_or_else(|| ENVIRONMENT.to_owned());
        let key = (opened.source.name.to_owned(), slug, environment);
        let id = run_id(&short("check_in_id"));
        let has_settings = check_in.get("monitor_config").is_some();
        let settings = has_settings.then(|| Schedule::read(&check_in.object("monitor_config")));
        // It is judged by the settings of before, if there are any. Without settings of its own it keeps them.
        if is_of_another_environment(all, &key, &id) {
            not_counted.refused += 1;
        } else if let Some(known) = known_or_new(all, &key) {
            if let (true, Some(settings)) = (known.status.is_empty(), &settings) {
                known.schedule = settings.clone();
            }
            let part = known.check_in(&id, status, opened.source.received_at);
            not_counted.refused += u64::from(part == Part::Refused);
        } else {
            not_counted.left_out += 1;
            continue;
        }
        // Sentry takes the settings of a refused one, too.
        if let Some(schedule) = settings {
            for known in environments(all, &key).filter(|known| known.schedule != schedule) {
                known.schedule = schedule.clone();
            }
        }
    }
}

/// Returns true if a run with this id began in another environment of the monitor. As in Sentry, it cannot end in this one.
fn is_of_another_environment(all: &mut BTreeMap<Key, Known>, key: &Key, id: &str) -> bool {
    let is_of_this_one = all.get(key).is_some_and(|known| known.runs.has(id));
    !is_of_this_one && environments(all, key).take(ENVIRONMENTS_COMPARED).any(|known| known.runs.has(id))
}

/// Returns a monitor in an environment. A new one begins with the settings of the others. `None` if there are too many.
fn known_or_new<'a>(all: &'a mut BTreeMap<Key, Known>, key: &Key) -> Option<&'a mut Known> {
    let is_full = all.len() >= MONITORS_MAX;
    let schedule = environments(all, key).next().map(|known| known.schedule.clone());
    match all.entry(key.clone()) {
        Entry::Vacant(_) if is_full => None,
        entry => {
            let schedule = schedule.unwrap_or_default();
            Some(entry.or_insert_with(|| Known { schedule, ..Known::default() }))
        }
    }
}

/// Returns a monitor in all its environments, which share its settings as in Sentry.
fn environments<'a>(all: &'a mut BTreeMap<Key, Known>, key: &'a Key) -> impl Iterator<Item = &'a mut Known> {
    let (project, slug, _) = key;
    let first = (project.clone(), slug.clone(), String::new());
    let of_monitor =
        all.range_mut(first..).take_while(move |(other, _)| (&other.0, &other.1) == (project, slug));
    of_monitor.map(|(_, known)| known)
}

impl Known {
    /// Adds a check-in with the id of its run.
    fn check_in(&mut self, id: &str, status: String, at: f64) -> Part {
        let part = self.runs.add(id, &status, at, &self.schedule);
        if part == Part::First && self.missed_from().is_some_and(|from| at >= from) {
            self.late += 1;
        }
        if part != Part::Refused {
            (self.status, self.at) = (status, at);
        }
        part
    }

    /// Returns the time from which it is missed. None before its first check-in.
    fn missed_from(&self) -> Option<f64> {
        if self.status.is_empty() { None } else { self.schedule.missed_from(self.at) }
    }

    fn state(&self, now: f64) -> &str {
        self.overdue(now).unwrap_or(self.status.as_str())
    }

    /// Returns what is bad about it. One failed run is not, unless its settings say so.
    fn bad(&self, now: f64) -> Option<&'static str> {
        self.overdue(now).or_else(|| self.runs.is_failing().then_some("error"))
    }

    /// Returns `missed` or `timeout` if a check-in did not come in time.
    fn overdue(&self, now: f64) -> Option<&'static str> {
        if self.missed_from().is_some_and(|from| now >= from) {
            return Some("missed");
        }
        self.runs.is_any_late(now, &self.schedule).then_some("timeout")
    }

    fn monitor(self, (project, monitor, environment): Key, now: f64) -> Monitor {
        let (state, missed_from) = (self.state(now).to_owned(), self.missed_from());
        let (interval, crontab, not_evaluated) = match self.schedule.due {
            Due::After(interval, _) => (Some(interval), None, None),
            Due::Crontab(text, ..) => (None, Some(text), None),
            Due::Unknown(reason) => (None, None, Some(reason)),
        };
        Monitor {
            project,
            monitor,
            environment,
            state,
            last_status: self.status,
            last_at: self.at,
            interval: interval.map(Interval::text),
            interval_s: interval.and_then(Interval::seconds),
            crontab,
            timezone: self.schedule.timezone,
            not_evaluated,
            missed_from,
            late: missed_from.is_some_and(|from| (from - MINUTE_S..from).contains(&now)),
            late_check_ins: self.late,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(status: &str, config: &str) -> Known {
        let schedule = Schedule::read(&Fields::parse(config));
        let mut known = Known { schedule, ..Known::default() };
        known.check_in("a", status.to_owned(), 1_000.0);
        known
    }

    const EVERY_MINUTE: &str =
        r#"{"schedule":{"type":"interval","value":1,"unit":"minute"},"checkin_margin":1,"max_runtime":1}"#;

    #[test]
    fn monitor_is_missed_after_its_interval_and_margin() {
        let monitor = known("ok", EVERY_MINUTE);
        assert_eq!(monitor.state(1_000.0), "ok");
        // It is due at 1060, which Sentry cuts to 1020.
        assert_eq!((monitor.state(1_079.9), monitor.state(1_080.0)), ("ok", "missed"));
        assert_eq!(monitor.missed_from(), Some(1_080.0));
        assert_eq!(known("error", EVERY_MINUTE).state(1_060.0), "error");
    }

    #[test]
    fn monitor_is_forgotten_a_day_after_it_was_missed() {
        let key = |slug: &str| ("game".to_owned(), slug.to_owned(), ENVIRONMENT.to_owned());
        let mut tracker = Tracker::default();
        tracker.all.insert(key("minutely"), known("ok", EVERY_MINUTE));
        let weekly = r#"{"schedule":{"type":"interval","value":7,"unit":"day"}}"#;
        tracker.all.insert(key("weekly"), known("ok", weekly));
        tracker.all.insert(key("unknown"), known("ok", "{}"));
        let mut left = |now: f64| -> Vec<String> {
            tracker.forget(now);
            tracker.states(now).into_iter().map(|tracked| tracked.monitor).collect()
        };
        let day_s = PERIOD_S as f64;
        assert_eq!(left(999.0 + day_s), ["minutely", "unknown", "weekly"]);
        assert_eq!(left(1_079.0 + day_s), ["minutely", "weekly"], "it is missed from 1080 on");
        assert_eq!(left(1_080.0 + day_s), ["weekly"], "it is not due yet");
    }

    #[test]
    fn endless_run_times_out_before_it_is_missed() {
        let running = known("in_progress", EVERY_MINUTE);
        assert_eq!(
            [1_019.0, 1_020.0, 1_080.0].map(|at| running.state(at)),
            ["in_progress", "timeout", "missed"]
        );
    }

    #[test]
    fn run_times_out_although_another_one_ended() {
        let hourly = r#"{"schedule":{"type":"interval","value":1,"unit":"hour"},"max_runtime":5}"#;
        let mut monitor = known("in_progress", hourly);
        monitor.check_in("b", "in_progress".to_owned(), 1_010.0);
        monitor.check_in("b", "ok".to_owned(), 1_020.0);
        assert_eq!([1_259.0, 1_260.0].map(|at| monitor.state(at)), ["ok", "timeout"]);
        let mut ended = known("in_progress", hourly);
        ended.check_in(&run_id("00000000-0000-0000-0000-000000000000"), "ok".to_owned(), 1_100.0);
        assert_eq!(ended.state(1_300.0), "ok", "zeros name the newest run");
        monitor.check_in("c", "ok".to_owned(), 1_300.0);
        assert_eq!(monitor.state(1_301.0), "ok", "it went on after the time-out");
    }

    #[test]
    fn refused_check_in_changes_no_state() {
        let mut monitor = known("error", EVERY_MINUTE);
        for status in ["ok", "in_progress"] {
            assert_eq!(monitor.check_in("a", status.to_owned(), 1_030.0), Part::Refused, "{status}");
        }
        assert_eq!((monitor.at, monitor.state(1_079.9)), (1_000.0, "error"), "and no run times out");
    }

    #[test]
    fn monitor_without_a_known_schedule_is_never_missed() {
        let mars = r#"{"schedule":{"type":"crontab","value":"* * * * *"},"timezone":"Mars/Olympus"}"#;
        for config in ["{}", mars] {
            assert_eq!(known("ok", config).state(f64::INFINITY), "ok", "{config}");
        }
    }

    #[test]
    fn crontab_is_missed_and_its_late_check_ins_are_counted() {
        let quarterly = r#"{"schedule":{"type":"crontab","value":"*/15 * * * *"},"checkin_margin":2}"#;
        let mut monitor = known("ok", quarterly);
        // It is due at 1800.
        assert_eq!([1_919.9, 1_920.0].map(|at| monitor.state(at)), ["ok", "missed"]);
        monitor.check_in("b", "in_progress".to_owned(), 1_919.9);
        monitor.check_in("b", "ok".to_owned(), 9_000.0);
        assert_eq!(monitor.late, 0, "the end of a run is not due at a time");
        monitor.check_in("c", "ok".to_owned(), 10_019.9);
        assert_eq!((monitor.late, monitor.missed_from()), (0, Some(10_920.0)));
        monitor.check_in("d", "error".to_owned(), 10_920.0);
        assert_eq!((monitor.late, monitor.state(10_920.0)), (1, "error"));
    }
}
