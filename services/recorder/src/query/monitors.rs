//! Monitors of check-ins: the state of each by its last check-in and by the schedule that its check-ins brought.
//!
//! Nothing is stored. A monitor whose check-ins stay away becomes missed only because time passes. Only schedules of intervals
//! are evaluated. A monitor with a crontab is never missed here.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{extract::State, response::Response};
use chassis::{http::Query as UrlQuery, problem::Problem};
use serde::{Deserialize, Serialize};

use super::{
    lines::{ListedEnvelope, WriteError, stream},
    scan::{Scanned, Window, WindowParams, scan, window},
    state::Query,
};
use crate::protocol::{digest::Kinds, event::LABEL_BYTES_MAX, fields::Fields};

/// Item type of a check-in.
const CHECK_IN: &str = "check_in";
/// Period of check-ins that are read, unless the request says another.
pub(crate) const PERIOD_S: u64 = 24 * 60 * 60;
/// Largest number of monitors of one answer. Check-ins of further ones are counted.
const MONITORS_MAX: usize = 1_000;
/// Largest number of runs of one monitor that are remembered. The oldest is forgotten first.
const RUNS_MAX: usize = 100;
/// Status of a run that has not ended.
const IN_PROGRESS: &str = "in_progress";
/// Sentry cuts times to the minute.
const MINUTE_S: f64 = 60.0;
/// What Sentry assumes for a monitor that does not say it, or says 0.
const MARGIN_MINUTES_DEFAULT: u64 = 1;
const RUNTIME_MINUTES_DEFAULT: u64 = 30;

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
    /// None for a monitor whose interval is not known.
    pub(crate) interval_s: Option<u64>,
    /// Time from which it is missed without a further check-in.
    pub(crate) missed_from: Option<f64>,
    /// True in the last minute before that.
    pub(crate) late: bool,
}

/// When the check-ins of a monitor are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Schedule {
    interval_s: u64,
    margin_s: u64,
    runtime_s: u64,
}

/// What is known of one monitor.
#[derive(Debug, Default)]
struct Known {
    status: String,
    at: f64,
    schedule: Option<Schedule>,
    /// Ids of the runs that have not ended, with their last check-ins, in their order.
    runs: Vec<(String, f64)>,
}

/// Project, slug and environment.
type Key = (String, String, String);

/// `GET /api/v1/monitors?since=&project=&period_s=&at=`
pub(super) async fn list(
    State(query): State<Query>,
    UrlQuery(params): UrlQuery<WindowParams>,
    UrlQuery(clock): UrlQuery<Clock>,
) -> Result<Response, Problem> {
    let window = window(&query, &params.or_period_s(PERIOD_S))?;
    let at = clock.time();
    stream(&query, "application/json", move |query, out| {
        serde_json::to_writer(&mut *out, &monitors(query, window, at)?)?;
        Ok(())
    })
    .await
}

/// Computes the states for a time.
pub(crate) fn monitors(query: &Query, window: Window, at: f64) -> Result<Monitors, WriteError> {
    let (mut all, mut left_out) = (BTreeMap::new(), 0);
    let scanned = scan(query, window, Kinds::of(CHECK_IN), |opened| {
        if opened.source.received_at <= at {
            left_out += add(&mut all, opened);
        }
    })?;
    let monitors = all.into_iter().map(|(key, known)| known.monitor(key, at)).collect();
    Ok(Monitors { scanned, monitors, left_out })
}

/// Adds the check-ins of an envelope. Returns the number of those that are left out.
fn add(all: &mut BTreeMap<Key, Known>, opened: &ListedEnvelope<'_>) -> u64 {
    let mut left_out = 0;
    for item in opened.envelope.items.iter().filter(|item| item.item_type() == CHECK_IN) {
        let Some(check_in) = item.json().map(Fields::parse) else { continue };
        let short = |name: &str| check_in.short(name, LABEL_BYTES_MAX).unwrap_or_default();
        let key = (opened.source.name.to_owned(), short("monitor_slug"), short("environment"));
        let (status, at) = (short("status"), opened.source.received_at);
        let is_full = all.len() >= MONITORS_MAX;
        match all.entry(key) {
            Entry::Vacant(_) if is_full => left_out += 1,
            entry => {
                let known = entry.or_default();
                // A check-in without settings keeps those of the one before.
                if check_in.get("monitor_config").is_some() {
                    known.schedule = Schedule::read(&check_in.object("monitor_config"));
                }
                known.check_in(&short("check_in_id"), status, at);
            }
        }
    }
    left_out
}

impl Schedule {
    /// Reads a monitor's settings. Returns None without an interval.
    fn read(config: &Fields<'_>) -> Option<Self> {
        let schedule = config.object("schedule");
        if schedule.text("type").as_deref() != Some("interval") {
            return None;
        }
        let unit_s = match schedule.text("unit")?.as_str() {
            "minute" => 60,
            "hour" => 60 * 60,
            "day" => 24 * 60 * 60,
            "week" => 7 * 24 * 60 * 60,
            "month" => 30 * 24 * 60 * 60,
            "year" => 365 * 24 * 60 * 60,
            _ => return None,
        };
        let minutes_in_s = |name: &str, default: u64| {
            config.number(name).filter(|minutes| *minutes > 0).unwrap_or(default).saturating_mul(60)
        };
        Some(Self {
            interval_s: schedule.number("value")?.saturating_mul(unit_s),
            margin_s: minutes_in_s("checkin_margin", MARGIN_MINUTES_DEFAULT),
            runtime_s: minutes_in_s("max_runtime", RUNTIME_MINUTES_DEFAULT),
        })
    }
}

impl Known {
    /// Adds a check-in.
    fn check_in(&mut self, id: &str, status: String, at: f64) {
        let id = id.replace('-', "").to_ascii_lowercase();
        let known = match id.bytes().all(|digit| digit == b'0') {
            // The id of zeros, or none, means the newest run.
            true => self.runs.len().checked_sub(1),
            false => self.runs.iter().position(|(run, _)| *run == id),
        };
        if let Some(index) = known {
            self.runs.remove(index);
        }
        if status == IN_PROGRESS {
            if self.runs.len() >= RUNS_MAX {
                self.runs.remove(0);
            }
            self.runs.push((id, at));
        } else if status == "ok" {
            let runtime_s = self.runtime_s();
            self.runs.retain(|(_, since)| !is_late(*since, runtime_s, at));
        }
        (self.status, self.at) = (status, at);
    }

    fn missed_from(&self) -> Option<f64> {
        let Schedule { interval_s, margin_s, .. } = self.schedule?;
        Some(minute_of(self.at + interval_s as f64) + margin_s as f64)
    }

    fn runtime_s(&self) -> u64 {
        self.schedule.map_or(RUNTIME_MINUTES_DEFAULT * 60, |schedule| schedule.runtime_s)
    }

    fn state(&self, now: f64) -> &str {
        let is_missed = self.missed_from().is_some_and(|from| now >= from);
        let is_any_late = self.runs.iter().any(|(_, since)| is_late(*since, self.runtime_s(), now));
        match (is_missed, is_any_late) {
            (true, _) => "missed",
            (false, true) => "timeout",
            (false, false) => self.status.as_str(),
        }
    }

    fn monitor(self, (project, monitor, environment): Key, now: f64) -> Monitor {
        Monitor {
            project,
            monitor,
            environment,
            state: self.state(now).to_owned(),
            last_at: self.at,
            interval_s: self.schedule.map(|schedule| schedule.interval_s),
            missed_from: self.missed_from(),
            late: self.missed_from().is_some_and(|from| (from - MINUTE_S..from).contains(&now)),
            last_status: self.status,
        }
    }
}

/// The begin of the minute.
fn minute_of(at: f64) -> f64 {
    (at / MINUTE_S).floor() * MINUTE_S
}

/// Returns true if a run has taken longer than it may.
fn is_late(since: f64, runtime_s: u64, now: f64) -> bool {
    now >= minute_of(since) + runtime_s as f64
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
        ended.check_in("00000000-0000-0000-0000-000000000000", "ok".to_owned(), 1_100.0);
        assert_eq!(ended.state(1_300.0), "ok", "zeros name the newest run");
        monitor.check_in("c", "ok".to_owned(), 1_300.0);
        assert_eq!(monitor.state(1_301.0), "ok", "it went on after the time-out");
        for run in 0..2 * RUNS_MAX {
            monitor.check_in(&format!("run{run}"), "in_progress".to_owned(), 1_300.0);
        }
        assert_eq!(monitor.runs.len(), RUNS_MAX);
    }

    #[test]
    fn monitor_without_an_interval_is_never_missed() {
        for config in [
            "{}",
            r#"{"schedule":{"type":"crontab","value":"* * * * *"}}"#,
            r#"{"schedule":{"type":"interval","value":"often","unit":"minute"}}"#,
            r#"{"schedule":{"type":"interval","value":1,"unit":"moon"}}"#,
        ] {
            assert_eq!(known("ok", config).state(f64::INFINITY), "ok", "{config}");
        }
    }

    #[test]
    fn settings_that_are_missing_are_those_of_sentry() {
        let read = |config| Schedule::read(&Fields::parse(config));
        let hourly = read(r#"{"schedule":{"type":"interval","value":2,"unit":"hour"}}"#);
        let defaults = Some(Schedule { interval_s: 7_200, margin_s: 60, runtime_s: 1_800 });
        assert_eq!(hourly, defaults);
        let zeros =
            r#"{"schedule":{"type":"interval","value":2,"unit":"hour"},"checkin_margin":0,"max_runtime":0}"#;
        assert_eq!(read(zeros), defaults);
        let endless = read(r#"{"schedule":{"type":"interval","value":18446744073709551615,"unit":"year"}}"#);
        assert_eq!(endless.map(|schedule| schedule.interval_s), Some(u64::MAX));
    }
}
