//! When the check-ins of a monitor are due.

use crate::protocol::{crontab::Crontab, event::LABEL_BYTES_MAX, fields::Fields};

/// Sentry cuts times to the minute.
pub(super) const MINUTE_S: f64 = 60.0;
/// What Sentry assumes for a monitor that does not say it, or says 0.
const MARGIN_MINUTES_DEFAULT: u64 = 1;
const RUNTIME_MINUTES_DEFAULT: u64 = 30;
/// Names of the time zone whose crontabs are evaluated.
const UTC: [&str; 7] = ["UTC", "Etc/UTC", "GMT", "Etc/GMT", "Zulu", "Etc/Zulu", "UCT"];

/// Settings of a monitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Schedule {
    pub(super) due: Due,
    pub(super) margin_s: u64,
    pub(super) runtime_s: u64,
}

/// When the next check-in is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Some seconds after the last one.
    After(u64),
    /// At the times of a crontab, which is kept as text too.
    Crontab(String, Crontab),
    /// Not known, with the reason.
    Unknown(String),
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            due: Due::Unknown("no check-in had a monitor_config".to_owned()),
            margin_s: MARGIN_MINUTES_DEFAULT * 60,
            runtime_s: RUNTIME_MINUTES_DEFAULT * 60,
        }
    }
}

impl Schedule {
    /// Reads a monitor's settings.
    pub(super) fn read(config: &Fields<'_>) -> Self {
        let minutes_in_s = |name: &str, default: u64| {
            config.number(name).filter(|minutes| *minutes > 0).unwrap_or(default).saturating_mul(60)
        };
        Self {
            due: Due::read(config),
            margin_s: minutes_in_s("checkin_margin", MARGIN_MINUTES_DEFAULT),
            runtime_s: minutes_in_s("max_runtime", RUNTIME_MINUTES_DEFAULT),
        }
    }

    /// Returns the time from which a monitor with its last check-in at this time is missed.
    pub(super) fn missed_from(&self, last_at: f64) -> Option<f64> {
        let due = match &self.due {
            Due::After(interval_s) => minute_of(last_at + *interval_s as f64),
            Due::Crontab(_, crontab) => crontab.next_after(last_at)?,
            Due::Unknown(_) => return None,
        };
        Some(due + self.margin_s as f64)
    }

    /// Returns true if a run that began at this time has taken longer than it may.
    pub(super) fn is_late(&self, begun_at: f64, now: f64) -> bool {
        now >= minute_of(begun_at) + self.runtime_s as f64
    }
}

impl Due {
    fn read(config: &Fields<'_>) -> Self {
        let schedule = config.object("schedule");
        match schedule.text("type").as_deref() {
            Some("interval") => interval_s(&schedule).map_or_else(
                || Self::Unknown("the interval needs a whole number and a unit".to_owned()),
                Self::After,
            ),
            Some("crontab") => Self::of_crontab(config, &schedule),
            _ => Self::Unknown("the schedule is neither an interval nor a crontab".to_owned()),
        }
    }

    fn of_crontab(config: &Fields<'_>, schedule: &Fields<'_>) -> Self {
        let zone = config.short("timezone", LABEL_BYTES_MAX).unwrap_or_default();
        if !zone.is_empty() && !UTC.iter().any(|known| known.eq_ignore_ascii_case(&zone)) {
            return Self::Unknown(format!("crontabs are evaluated in UTC only, and its time zone is {zone}"));
        }
        let text = schedule.short("value", LABEL_BYTES_MAX).unwrap_or_default();
        match Crontab::parse(&text) {
            Some(crontab) => Self::Crontab(text, crontab),
            None => Self::Unknown(format!("the crontab \"{text}\" is not understood")),
        }
    }
}

fn interval_s(schedule: &Fields<'_>) -> Option<u64> {
    let unit_s = match schedule.text("unit")?.as_str() {
        "minute" => 60,
        "hour" => 60 * 60,
        "day" => 24 * 60 * 60,
        "week" => 7 * 24 * 60 * 60,
        "month" => 30 * 24 * 60 * 60,
        "year" => 365 * 24 * 60 * 60,
        _ => return None,
    };
    Some(schedule.number("value")?.saturating_mul(unit_s))
}

/// The begin of the minute.
fn minute_of(at: f64) -> f64 {
    (at / MINUTE_S).floor() * MINUTE_S
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(config: &str) -> Schedule {
        Schedule::read(&Fields::parse(config))
    }

    #[test]
    fn settings_that_are_missing_are_those_of_sentry() {
        let hourly = read(r#"{"schedule":{"type":"interval","value":2,"unit":"hour"}}"#);
        let defaults = Schedule { due: Due::After(7_200), margin_s: 60, runtime_s: 1_800 };
        assert_eq!(hourly, defaults);
        let zeros =
            r#"{"schedule":{"type":"interval","value":2,"unit":"hour"},"checkin_margin":0,"max_runtime":0}"#;
        assert_eq!(read(zeros), defaults);
        let endless = read(r#"{"schedule":{"type":"interval","value":18446744073709551615,"unit":"year"}}"#);
        assert_eq!(endless.due, Due::After(u64::MAX));
    }

    #[test]
    fn crontab_is_due_at_its_next_time() {
        for zone in [r#","timezone":"Etc/UTC""#, r#","timezone":"utc""#, r#","timezone":null"#, ""] {
            let config = format!(
                r#"{{"schedule":{{"type":"crontab","value":"0 * * * *"}},"checkin_margin":5{zone}}}"#
            );
            let hourly = read(&config);
            // At one o'clock, and five minutes more.
            assert_eq!([0.0, 1.0, 3_599.0].map(|at| hourly.missed_from(at)), [Some(3_900.0); 3], "{zone}");
            assert_eq!(hourly.missed_from(3_600.0), Some(7_500.0), "{zone}");
        }
    }

    #[test]
    fn what_is_not_evaluated_says_why() {
        for (config, reason) in [
            ("{}", "neither"),
            (r#"{"schedule":{"type":"interval","value":"often","unit":"minute"}}"#, "whole number"),
            (r#"{"schedule":{"type":"interval","value":1,"unit":"moon"}}"#, "unit"),
            (r#"{"schedule":{"type":"crontab","value":"* * * * * *"}}"#, "\"* * * * * *\""),
            (
                r#"{"schedule":{"type":"crontab","value":"0 3 * * *"},"timezone":"Europe/Berlin"}"#,
                "Europe/Berlin",
            ),
        ] {
            let schedule = read(config);
            let Due::Unknown(why) = &schedule.due else { panic!("{schedule:?}") };
            assert!(why.contains(reason), "{why}");
            assert_eq!(schedule.missed_from(0.0), None);
        }
    }
}
