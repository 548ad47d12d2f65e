//! Crontab expressions of five fields, in UTC.
//!
//! A field is `*` or a list of numbers, names and ranges, each with a step if wanted. `@hourly` and the like stand for an
//! expression. Special forms such as `L`, `W` and `#` are not understood.

use std::ops::RangeInclusive;

use time::{Date, Month, OffsetDateTime};

const MINUTES: RangeInclusive<u32> = 0..=59;
const HOURS: RangeInclusive<u32> = 0..=23;
const DAYS: RangeInclusive<u32> = 1..=31;
const MONTHS: RangeInclusive<u32> = 1..=12;
/// Both 0 and 7 are Sunday.
const WEEKDAYS: RangeInclusive<u32> = 0..=7;
const MONTH_NAMES: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAY_NAMES: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const SHORT_FORMS: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];
/// Largest number of days and months that a search looks at. It is enough for the longest time between two 29th of February.
const STEPS_MAX: usize = 3_700;
const MINUTE_S: i64 = 60;

/// A crontab expression that matches some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crontab {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Both the day and the weekday have to match, because one of them begins with `*`. Otherwise one of them is enough.
    needs_both_days: bool,
}

impl Crontab {
    /// Reads an expression. Returns `None` for one that is malformed, has another number of fields, or never matches.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let short = SHORT_FORMS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        let text = short.map_or(text, |(_, expression)| *expression);
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = <[&str; 5]>::try_from(fields).ok()?;
        let of_week = bits(weekdays, WEEKDAYS, &WEEKDAY_NAMES, 0)?;
        let crontab = Self {
            minutes: bits(minutes, MINUTES, &[], 0)?,
            hours: bits(hours, HOURS, &[], 0)?,
            days: bits(days, DAYS, &[], 0)?,
            months: bits(months, MONTHS, &MONTH_NAMES, 1)?,
            weekdays: of_week | (of_week >> 7),
            needs_both_days: days.starts_with('*') || weekdays.starts_with('*'),
        };
        crontab.next_after(0.0).map(|_| crontab)
    }

    /// Returns the first matching minute after this time. Both are in seconds since the epoch.
    #[must_use]
    pub fn next_after(&self, at: f64) -> Option<f64> {
        let minute = (at as i64).div_euclid(MINUTE_S) + 1;
        let begin = OffsetDateTime::from_unix_timestamp(minute.checked_mul(MINUTE_S)?).ok()?;
        let mut date = begin.date();
        let mut earliest = (u32::from(begin.hour()), u32::from(begin.minute()));
        for _ in 0..STEPS_MAX {
            if !has(self.months, u32::from(u8::from(date.month()))) {
                date = first_of_next_month(date)?;
            } else if self.has_day(date)
                && let Some((hour, minute)) = self.time_from(earliest)
            {
                let time = date.with_hms(u8::try_from(hour).ok()?, u8::try_from(minute).ok()?, 0).ok()?;
                return Some(time.assume_utc().unix_timestamp() as f64);
            } else {
                date = date.next_day()?;
            }
            earliest = (0, 0);
        }
        None
    }

    fn has_day(&self, date: Date) -> bool {
        let day = has(self.days, u32::from(date.day()));
        let weekday = has(self.weekdays, u32::from(date.weekday().number_days_from_sunday()));
        if self.needs_both_days { day && weekday } else { day || weekday }
    }

    /// Returns the first hour and minute of a day that is not before this one.
    fn time_from(&self, (hour, minute): (u32, u32)) -> Option<(u32, u32)> {
        if let Some(minute) = first_from(self.minutes, minute).filter(|_| has(self.hours, hour)) {
            return Some((hour, minute));
        }
        Some((first_from(self.hours, hour + 1)?, first_from(self.minutes, 0)?))
    }
}

fn first_of_next_month(date: Date) -> Option<Date> {
    let year = if date.month() == Month::December { date.year() + 1 } else { date.year() };
    Date::from_calendar_date(year, date.month().next(), 1).ok()
}

fn has(bits: u64, number: u32) -> bool {
    bits >> number & 1 == 1
}

/// Returns the lowest number of the set that is not below this one, which is at most 60.
fn first_from(bits: u64, number: u32) -> Option<u32> {
    let left = bits >> number;
    (left != 0).then(|| number + left.trailing_zeros())
}

/// Reads a field as a set of bits. The first name stands for `first_name`.
fn bits(field: &str, all: RangeInclusive<u32>, names: &[&str], first_name: u32) -> Option<u64> {
    let number = |text: &str| {
        let named = names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let number = match named {
            Some(position) => first_name + u32::try_from(position).ok()?,
            None => digits(text)?,
        };
        all.contains(&number).then_some(number)
    };
    let mut set = 0_u64;
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(digits(step)?)),
            None => (part, None),
        };
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None if range == "*" => (*all.start(), *all.end()),
            // A step without an end goes on to the end.
            None if step.is_some() => (number(range)?, *all.end()),
            None => (number(range)?, number(range)?),
        };
        let step = usize::try_from(step.unwrap_or(1)).ok().filter(|step| *step > 0)?;
        if first > last {
            return None;
        }
        set |= (first..=last).step_by(step).fold(0_u64, |bits, number| bits | 1_u64 << number);
    }
    Some(set)
}

/// Reads a number without a sign.
fn digits(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use time::{format_description::well_known::Rfc3339, macros::datetime};

    use super::*;

    /// Returns the next times after Monday, 2026-11-30 10:17:30.
    fn next(expression: &str, count: usize) -> Vec<String> {
        let crontab = Crontab::parse(expression).expect(expression);
        let mut at = datetime!(2026-11-30 10:17:30 UTC).unix_timestamp() as f64;
        let mut times = Vec::new();
        for _ in 0..count {
            at = crontab.next_after(at).expect("a time");
            let time = OffsetDateTime::from_unix_timestamp(at as i64).expect("a time");
            times.push(time.format(&Rfc3339).expect("a text").replace(":00Z", ""));
        }
        times
    }

    #[test]
    fn next_times_are_those_of_cron() {
        for (expression, expected) in [
            ("* * * * *", ["2026-11-30T10:18", "2026-11-30T10:19"]),
            ("*/15 * * * *", ["2026-11-30T10:30", "2026-11-30T10:45"]),
            ("17 * * * *", ["2026-11-30T11:17", "2026-11-30T12:17"]),
            ("50-59/5 23 * * *", ["2026-11-30T23:50", "2026-11-30T23:55"]),
            ("55/3 9 * * *", ["2026-12-01T09:55", "2026-12-01T09:58"]),
            ("0 0,12 * * *", ["2026-11-30T12:00", "2026-12-01T00:00"]),
            ("0 9 * * mon-fri", ["2026-12-01T09:00", "2026-12-02T09:00"]),
            ("0 9 * * 6-7", ["2026-12-05T09:00", "2026-12-06T09:00"]),
            ("0 9 * * 0", ["2026-12-06T09:00", "2026-12-13T09:00"]),
            ("0 9 * * 7", ["2026-12-06T09:00", "2026-12-13T09:00"]),
            ("0 0 31 * *", ["2026-12-31T00:00", "2027-01-31T00:00"]),
            ("0 0 1 JAN,Jul *", ["2027-01-01T00:00", "2027-07-01T00:00"]),
            ("0 0 29 2 *", ["2028-02-29T00:00", "2032-02-29T00:00"]),
            ("@hourly", ["2026-11-30T11:00", "2026-11-30T12:00"]),
            ("@Daily", ["2026-12-01T00:00", "2026-12-02T00:00"]),
            ("@weekly", ["2026-12-06T00:00", "2026-12-13T00:00"]),
            ("@monthly", ["2026-12-01T00:00", "2027-01-01T00:00"]),
            ("@yearly", ["2027-01-01T00:00", "2028-01-01T00:00"]),
        ] {
            assert_eq!(next(expression, 2), expected, "{expression}");
        }
    }

    #[test]
    fn one_of_two_restricted_days_is_enough() {
        // The 2nd is a Wednesday, and the 4th and the 11th are Fridays.
        assert_eq!(next("0 0 2 * fri", 3), ["2026-12-02T00:00", "2026-12-04T00:00", "2026-12-11T00:00"]);
        // With a star in front both have to match, as in Debian's cron. The first odd Friday is the 11th.
        assert_eq!(next("0 0 */2 * fri", 2), ["2026-12-11T00:00", "2026-12-25T00:00"]);
    }

    #[test]
    fn leap_day_is_found_over_a_century_without_one() {
        let leap_day = Crontab::parse("0 0 29 2 *").expect("an expression");
        let after = datetime!(2096-02-29 00:00 UTC).unix_timestamp() as f64;
        let next = datetime!(2104-02-29 00:00 UTC).unix_timestamp() as f64;
        assert_eq!(leap_day.next_after(after), Some(next));
        assert_eq!(leap_day.next_after(f64::INFINITY), None);
    }

    #[test]
    fn other_expressions_are_not_understood() {
        for expression in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "5-1 * * * *",
            "*/0 * * * *",
            "*/-1 * * * *",
            "+5 * * * *",
            "1,,2 * * * *",
            "a * * * *",
            "* * L * *",
            "* * * * 5#2",
            "0 0 30 2 *",
            "@reboot",
            "1-2-3 * * * *",
            "99999999999 * * * *",
        ] {
            assert_eq!(Crontab::parse(expression), None, "{expression}");
        }
    }
}
