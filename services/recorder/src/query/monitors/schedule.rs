//! When the check-ins of a monitor are due.

use time::{Date, Month, OffsetDateTime};

use crate::protocol::{crontab::Crontab, event::LABEL_BYTES_MAX, fields::Fields, zone::Zone};

/// Sentry cuts times to the minute.
pub(super) const MINUTE_S: f64 = 60.0;
/// What Sentry assumes for a monitor that does not say it, or says 0.
const MARGIN_MINUTES_DEFAULT: u64 = 1;
const RUNTIME_MINUTES_DEFAULT: u64 = 30;
/// Number of ends in a row that decide in Sentry, unless the settings say another.
const THRESHOLD_DEFAULT: u64 = 1;
/// Zone of a monitor that names none.
const UTC: &str = "UTC";
/// Largest number of intervals of months or years that are tried, until one ends on a day that exists: the 29th of February, and
/// around a century without it.
const TRIES_MAX: u32 = 48;

/// Settings of a monitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Schedule {
    pub(super) due: Due,
    pub(super) timezone: String,
    pub(super) margin_s: u64,
    pub(super) runtime_s: u64,
    /// Number of failed runs in a row from which a monitor is failing.
    pub(super) failures_min: u64,
    /// Number of good runs in a row after which it is not failing any more.
    pub(super) recoveries_min: u64,
}

/// When the next check-in is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Some time after the last one.
    After(Interval, Zone),
    /// At the times of a crontab, which is kept as text too.
    Crontab(String, Crontab, Zone),
    /// Not known, with the reason.
    Unknown(String),
}

/// A number of minutes, hours, days, weeks, months or years.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interval {
    count: u64,
    unit: Unit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Year,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            due: Due::Unknown("no check-in had a monitor_config".to_owned()),
            timezone: UTC.to_owned(),
            margin_s: MARGIN_MINUTES_DEFAULT * 60,
            runtime_s: RUNTIME_MINUTES_DEFAULT * 60,
            failures_min: THRESHOLD_DEFAULT,
            recoveries_min: THRESHOLD_DEFAULT,
        }
    }
}

impl Schedule {
    /// Reads a monitor's settings.
    pub(super) fn read(config: &Fields<'_>) -> Self {
        let positive =
            |name: &str, default: u64| config.number(name).filter(|number| *number > 0).unwrap_or(default);
        let minutes_in_s = |name: &str, default: u64| positive(name, default).saturating_mul(60);
        let timezone = config.short("timezone", LABEL_BYTES_MAX).filter(|name| !name.is_empty());
        let timezone = timezone.unwrap_or_else(|| UTC.to_owned());
        Self {
            due: Due::read(&timezone, &config.object("schedule")),
            timezone,
            margin_s: minutes_in_s("checkin_margin", MARGIN_MINUTES_DEFAULT),
            runtime_s: minutes_in_s("max_runtime", RUNTIME_MINUTES_DEFAULT),
            failures_min: positive("failure_issue_threshold", THRESHOLD_DEFAULT),
            recoveries_min: positive("recovery_threshold", THRESHOLD_DEFAULT),
        }
    }

    /// Returns the time from which a monitor with its last check-in at this time is missed.
    pub(super) fn missed_from(&self, last_at: f64) -> Option<f64> {
        let due = match &self.due {
            Due::After(interval, zone) => minute_of(interval.end(last_at, zone)?),
            Due::Crontab(_, crontab, zone) => crontab.next_after(last_at, zone)?,
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
    fn read(timezone: &str, schedule: &Fields<'_>) -> Self {
        let kind = schedule.text("type");
        let kind = kind.as_deref().filter(|kind| ["interval", "crontab"].contains(kind));
        let Some(kind) = kind else {
            return Self::Unknown("the schedule is neither an interval nor a crontab".to_owned());
        };
        let Some(zone) = Zone::find(timezone) else {
            return Self::Unknown(format!("there is no time zone \"{timezone}\""));
        };
        if kind == "interval" {
            return Interval::read(schedule).map_or_else(
                || Self::Unknown("the interval needs a whole number from 1 and a unit".to_owned()),
                |interval| Self::After(interval, zone),
            );
        }
        let text = schedule.short("value", LABEL_BYTES_MAX).unwrap_or_default();
        match Crontab::parse(&text) {
            Some(crontab) => Self::Crontab(text, crontab, zone),
            None => Self::Unknown(format!("the crontab \"{text}\" is not understood")),
        }
    }
}

impl Interval {
    fn read(schedule: &Fields<'_>) -> Option<Self> {
        let unit = Unit::read(&schedule.text("unit")?)?;
        let count = schedule.number("value").filter(|count| *count > 0)?;
        Some(Self { count, unit })
    }

    /// Returns its length in seconds, unless that depends on the calendar. A day has 24 hours here, also when a clock is changed.
    pub(super) fn seconds(self) -> Option<u64> {
        Some(self.count.saturating_mul(self.unit.seconds()?))
    }

    /// Returns the text of a page.
    pub(super) fn text(self) -> String {
        let unit = match (self.unit, self.count) {
            (Unit::Minute, _) => "min",
            (Unit::Hour, _) => "h",
            (Unit::Day, 1) => "day",
            (Unit::Day, _) => "days",
            (Unit::Week, 1) => "week",
            (Unit::Week, _) => "weeks",
            (Unit::Month, 1) => "month",
            (Unit::Month, _) => "months",
            (Unit::Year, 1) => "year",
            (Unit::Year, _) => "years",
        };
        format!("every {} {unit}", self.count)
    }

    /// Returns the end of an interval. Days and longer ones end when the clock in the zone shows the same time.
    fn end(self, begin: f64, zone: &Zone) -> Option<f64> {
        let seconds = self.seconds();
        if let (Unit::Minute | Unit::Hour, Some(seconds)) = (self.unit, seconds) {
            return Some(begin + seconds as f64);
        }
        let local = zone.local(begin as i64);
        let end = match seconds {
            Some(seconds) => local.checked_add(i64::try_from(seconds).ok()?)?,
            None => self.calendar_end(local)?,
        };
        Some(zone.instant(end) as f64)
    }

    /// Returns the first local time after a number of intervals that is on the same day of the month. As in Sentry, a month without
    /// that day is passed over.
    fn calendar_end(self, local: i64) -> Option<i64> {
        let begin = OffsetDateTime::from_unix_timestamp(local).ok()?;
        let months =
            i32::try_from(self.count).ok()?.checked_mul(if self.unit == Unit::Year { 12 } else { 1 })?;
        let mut month = begin.year() * 12 + i32::from(u8::from(begin.month())) - 1;
        for _ in 0..TRIES_MAX {
            month = month.checked_add(months)?;
            let of_year = u8::try_from(month.rem_euclid(12) + 1).ok()?;
            let of_year = Month::try_from(of_year).ok()?;
            if let Ok(date) = Date::from_calendar_date(month.div_euclid(12), of_year, begin.day()) {
                return Some(begin.replace_date(date).unix_timestamp());
            }
        }
        None
    }
}

impl Unit {
    fn read(text: &str) -> Option<Self> {
        Some(match text {
            "minute" => Self::Minute,
            "hour" => Self::Hour,
            "day" => Self::Day,
            "week" => Self::Week,
            "month" => Self::Month,
            "year" => Self::Year,
            _ => return None,
        })
    }

    fn seconds(self) -> Option<u64> {
        Some(match self {
            Self::Minute => 60,
            Self::Hour => 60 * 60,
            Self::Day => 24 * 60 * 60,
            Self::Week => 7 * 24 * 60 * 60,
            Self::Month | Self::Year => return None,
        })
    }
}

/// The begin of the minute.
fn minute_of(at: f64) -> f64 {
    (at / MINUTE_S).floor() * MINUTE_S
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn read(config: &str) -> Schedule {
        Schedule::read(&Fields::parse(config))
    }

    #[test]
    fn settings_that_are_missing_are_those_of_sentry() {
        let hourly = read(r#"{"schedule":{"type":"interval","value":2,"unit":"hour"}}"#);
        let interval = Interval { count: 2, unit: Unit::Hour };
        let defaults = Schedule {
            due: Due::After(interval, Zone::UTC),
            timezone: "UTC".to_owned(),
            margin_s: 60,
            runtime_s: 1_800,
            failures_min: 1,
            recoveries_min: 1,
        };
        assert_eq!(hourly, defaults);
        let zeros = r#"{"schedule":{"type":"interval","value":2,"unit":"hour"},"checkin_margin":0,"max_runtime":0,"failure_issue_threshold":0}"#;
        assert_eq!(read(zeros), defaults);
        for unit in ["year", "week", "day"] {
            let endless = format!(
                r#"{{"schedule":{{"type":"interval","value":18446744073709551615,"unit":"{unit}"}}}}"#
            );
            assert_eq!(read(&endless).missed_from(0.0), None, "{unit}");
        }
    }

    #[test]
    fn long_intervals_follow_the_calendar() {
        let due = |count: u64, unit: &str, zone: &str, last: OffsetDateTime| {
            let config = format!(
                r#"{{"schedule":{{"type":"interval","value":{count},"unit":"{unit}"}},"timezone":"{zone}"}}"#
            );
            let missed_from = read(&config).missed_from(last.unix_timestamp() as f64).expect("a time");
            OffsetDateTime::from_unix_timestamp(missed_from as i64 - 60).expect("a time")
        };
        let (winter, gap) = (datetime!(2026-01-31 10:30 UTC), datetime!(2026-03-28 01:30 UTC));
        for (count, unit, zone, last, expected) in [
            (1, "month", "UTC", datetime!(2026-11-30 10:30:59 UTC), datetime!(2026-12-30 10:30 UTC)),
            // February, and April after it, have no 31st.
            (1, "month", "UTC", winter, datetime!(2026-03-31 10:30 UTC)),
            (3, "month", "UTC", winter, datetime!(2026-07-31 10:30 UTC)),
            (2, "year", "UTC", winter, datetime!(2028-01-31 10:30 UTC)),
            (1, "year", "UTC", datetime!(2096-02-29 00:00 UTC), datetime!(2104-02-29 00:00 UTC)),
            // The clock is an hour ahead at the end. A day is an hour shorter when it is put forward.
            (2, "month", "Europe/Berlin", winter, datetime!(2026-03-31 09:30 UTC)),
            (1, "day", "Europe/Berlin", datetime!(2026-03-28 12:00 UTC), datetime!(2026-03-29 11:00 UTC)),
            (1, "day", "Europe/Berlin", gap, datetime!(2026-03-29 01:00 UTC)),
            (1, "week", "Europe/Berlin", datetime!(2026-10-20 12:00 UTC), datetime!(2026-10-27 13:00 UTC)),
            (24, "hour", "Europe/Berlin", datetime!(2026-03-28 12:00 UTC), datetime!(2026-03-29 12:00 UTC)),
        ] {
            assert_eq!(due(count, unit, zone, last), expected, "{count} {unit} {zone} {last}");
        }
    }

    #[test]
    fn crontab_is_due_at_its_next_time() {
        for zone in [r#","timezone":"Etc/UTC""#, r#","timezone":"UTC""#, r#","timezone":null"#, ""] {
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
    fn crontab_is_due_by_the_clock_of_its_zone() {
        let config = r#"{"schedule":{"type":"crontab","value":"30 2 * * *"},"timezone":"Europe/Berlin"}"#;
        let nightly = read(config);
        for (last, due) in [
            (datetime!(2026-01-10 12:00 UTC), datetime!(2026-01-11 01:30 UTC)),
            (datetime!(2026-07-10 12:00 UTC), datetime!(2026-07-11 00:30 UTC)),
            // 2:30 is left out, and comes twice.
            (datetime!(2026-03-28 12:00 UTC), datetime!(2026-03-29 01:00 UTC)),
            (datetime!(2026-10-24 12:00 UTC), datetime!(2026-10-25 00:30 UTC)),
            (datetime!(2026-10-25 00:30 UTC), datetime!(2026-10-26 01:30 UTC)),
        ] {
            let missed_from = due.unix_timestamp() as f64 + 60.0;
            assert_eq!(nightly.missed_from(last.unix_timestamp() as f64), Some(missed_from), "{last}");
        }
    }

    #[test]
    fn what_is_not_evaluated_says_why() {
        for (config, reason) in [
            ("{}", "neither"),
            (r#"{"schedule":{"type":"interval","value":"often","unit":"minute"}}"#, "whole number"),
            (r#"{"schedule":{"type":"interval","value":1,"unit":"moon"}}"#, "unit"),
            (r#"{"schedule":{"type":"crontab","value":"* * * * * *"}}"#, "\"* * * * * *\""),
            (r#"{"schedule":{"type":"interval","value":0,"unit":"day"}}"#, "from 1"),
            (
                r#"{"schedule":{"type":"crontab","value":"0 3 * * *"},"timezone":"Mars/Olympus"}"#,
                "Mars/Olympus",
            ),
            (r#"{"schedule":{"type":"interval","value":1,"unit":"day"},"timezone":"utc"}"#, "\"utc\""),
        ] {
            let schedule = read(config);
            let Due::Unknown(why) = &schedule.due else { panic!("{schedule:?}") };
            assert!(why.contains(reason), "{why}");
            assert_eq!(schedule.missed_from(0.0), None);
        }
    }
}
