//! Crontab expressions of five fields, in any time zone.
//!
//! The forms are those of Sentry, which uses `cronsim`: a field is `*` or a list of numbers, names and ranges, each with a step if
//! wanted. A day may be `L` or `LW`, the last of the month or the last from Monday to Friday, and a weekday `5#2` or `5L`, the second or
//! the last Friday of the month.
//! `@hourly` and the like, in lower case, stand for an expression.
//!
//! When clocks change, the rule is that of Debian's cron, too. If neither minute nor hour begins with `*`, a time that is left
//! out is due at the first minute after the gap, and a time that comes twice is due once. Otherwise the clock on the wall
//! counts, whatever it shows.

use std::ops::RangeInclusive;

use time::{Date, Duration, Month, OffsetDateTime, Time, Weekday};

use super::zone::Zone;

const MINUTES: RangeInclusive<u32> = 0..=59;
const HOURS: RangeInclusive<u32> = 0..=23;
const DAYS: RangeInclusive<u32> = 1..=31;
const MONTHS: RangeInclusive<u32> = 1..=12;
/// Both 0 and 7 are Sunday.
const WEEKDAYS: RangeInclusive<u32> = 0..=7;
/// A month has at most five of a weekday.
const NTH: RangeInclusive<u32> = 1..=5;
const MONTH_NAMES: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAY_NAMES: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// Those of Sentry, which knows neither `@midnight` nor `@reboot`.
const SHORT_FORMS: [(&str, &str); 6] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];
/// Bit of the last day in a set of days, and place of the last weekday in a set of weekdays of a month.
const LAST: u32 = 0;
/// Bit of the last day from Monday to Friday.
const LAST_WORKDAY: u32 = 32;
/// Largest number of steps of a search: days and months, and hours and minutes of one day. It is enough for the longest time between
/// two 29th of February.
const STEPS_MAX: usize = 3_700;
/// Largest number of times that are passed over, because the clock was put back and showed them already: those of a day.
const REPEATED_MAX: usize = 24 * 60;
const MINUTE_S: i64 = 60;

/// A crontab expression that matches some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crontab {
    minutes: u64,
    hours: u64,
    /// Days, [`LAST`] and [`LAST_WORKDAY`].
    days: u64,
    months: u64,
    weekdays: u64,
    /// Weekdays of a month, such as its second Friday ([`nth_bit`]).
    nth_weekdays: u64,
    /// Both the day and the weekday have to match, because one of them begins with `*`. Otherwise one of them is enough.
    needs_both_days: bool,
    /// Neither minute nor hour begins with `*`.
    is_at_fixed_times: bool,
}

impl Crontab {
    /// Reads an expression. Returns `None` for one that is malformed, has another number of fields, or never matches.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let short = SHORT_FORMS.iter().find(|(name, _)| *name == text);
        let text = short.map_or(text, |(_, expression)| *expression);
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = <[&str; 5]>::try_from(fields).ok()?;
        let (of_week, nth_weekdays) = weekday_sets(weekdays)?;
        let crontab = Self {
            minutes: bits(minutes, &MINUTES, &[], 0)?,
            hours: bits(hours, &HOURS, &[], 0)?,
            days: day_set(days)?,
            months: bits(months, &MONTHS, &MONTH_NAMES, 1)?,
            weekdays: of_week | (of_week >> 7),
            nth_weekdays,
            needs_both_days: days.starts_with('*') || weekdays.starts_with('*'),
            is_at_fixed_times: !minutes.starts_with('*') && !hours.starts_with('*'),
        };
        // Without a zone, because a check-in brings its crontab again and again.
        crontab.next_local(0).map(|_| crontab)
    }

    /// Returns the first matching minute after this time. Both are in seconds since the epoch.
    #[must_use]
    pub fn next_after(&self, at: f64, zone: &Zone) -> Option<f64> {
        let at = at as i64;
        let next = if self.is_at_fixed_times { self.next_fixed(at, zone) } else { self.next_shown(at, zone) };
        next.map(|instant| instant as f64)
    }

    /// Goes through the times of a clock that is never changed, and finds the instant of each.
    fn next_fixed(&self, at: i64, zone: &Zone) -> Option<i64> {
        let mut local = zone.local(at);
        for _ in 0..REPEATED_MAX {
            local = self.next_local(local)?;
            let instant = zone.instant(local);
            if instant > at {
                return Some(instant);
            }
        }
        None
    }

    fn next_local(&self, local: i64) -> Option<i64> {
        let begin = OffsetDateTime::from_unix_timestamp(next_minute(local)?).ok()?;
        let mut date = begin.date();
        let mut earliest = (u32::from(begin.hour()), u32::from(begin.minute()));
        for _ in 0..STEPS_MAX {
            if !self.has_month(date) {
                date = first_of_next_month(date)?;
            } else if self.has_day(date)
                && let Some((hour, minute)) = self.time_from(earliest)
            {
                let time = date.with_hms(u8::try_from(hour).ok()?, u8::try_from(minute).ok()?, 0).ok()?;
                return Some(time.assume_utc().unix_timestamp());
            } else {
                date = date.next_day()?;
            }
            earliest = (0, 0);
        }
        None
    }

    /// Goes through the instants, and looks at what the clock shows.
    fn next_shown(&self, at: i64, zone: &Zone) -> Option<i64> {
        let mut instant = next_minute(at)?;
        for _ in 0..STEPS_MAX {
            let shown = OffsetDateTime::from_unix_timestamp(zone.local(instant)).ok()?;
            let (date, minute) = (shown.date(), i64::from(shown.minute()));
            let later = if !self.has_month(date) {
                zone.instant(midnight(first_of_next_month(date)?))
            } else if !self.has_day(date) {
                zone.instant(midnight(date.next_day()?))
            } else if !has(self.hours, u32::from(shown.hour())) {
                instant + (60 - minute) * MINUTE_S
            } else if !has(self.minutes, u32::from(shown.minute())) {
                instant + MINUTE_S
            } else {
                return Some(instant);
            };
            // A midnight that comes twice is behind the second one.
            instant = later.max(instant + MINUTE_S);
        }
        None
    }

    fn has_month(&self, date: Date) -> bool {
        has(self.months, u32::from(u8::from(date.month())))
    }

    fn has_day(&self, date: Date) -> bool {
        let is_last = is_in_another_month(date, 1) && has(self.days, LAST);
        let is_last_workday = has(self.days, LAST_WORKDAY) && is_last_workday(date);
        let day = has(self.days, u32::from(date.day())) || is_last || is_last_workday;
        let weekday = self.has_weekday(date);
        if self.needs_both_days { day && weekday } else { day || weekday }
    }

    fn has_weekday(&self, date: Date) -> bool {
        let weekday = u32::from(date.weekday().number_days_from_sunday());
        let nth = u32::from(date.day().div_ceil(7));
        let is_last = is_in_another_month(date, 7) && self.nth_weekdays & nth_bit(weekday, LAST) != 0;
        has(self.weekdays, weekday) || is_last || self.nth_weekdays & nth_bit(weekday, nth) != 0
    }

    /// Returns the first hour and minute of a day that is not before this one.
    fn time_from(&self, (hour, minute): (u32, u32)) -> Option<(u32, u32)> {
        if let Some(minute) = first_from(self.minutes, minute).filter(|_| has(self.hours, hour)) {
            return Some((hour, minute));
        }
        Some((first_from(self.hours, hour + 1)?, first_from(self.minutes, 0)?))
    }
}

/// The begin of the next minute.
fn next_minute(at: i64) -> Option<i64> {
    (at.div_euclid(MINUTE_S) + 1).checked_mul(MINUTE_S)
}

fn midnight(date: Date) -> i64 {
    date.with_time(Time::MIDNIGHT).assume_utc().unix_timestamp()
}

/// Returns true if the day that is some days later is in another month.
fn is_in_another_month(date: Date, days: i64) -> bool {
    date.checked_add(Duration::days(days)).is_none_or(|later| later.month() != date.month())
}

/// Returns true for the last day of the month from Monday to Friday.
fn is_last_workday(date: Date) -> bool {
    match date.weekday() {
        Weekday::Saturday | Weekday::Sunday => false,
        Weekday::Friday => is_in_another_month(date, 3),
        _ => is_in_another_month(date, 1),
    }
}

fn first_of_next_month(date: Date) -> Option<Date> {
    let year = if date.month() == Month::December { date.year() + 1 } else { date.year() };
    Date::from_calendar_date(year, date.month().next(), 1).ok()
}

fn has(bits: u64, number: u32) -> bool {
    bits >> number & 1 == 1
}

/// Bit of the nth of a weekday in a month. 7 is Sunday, too.
fn nth_bit(weekday: u32, nth: u32) -> u64 {
    1 << (weekday % 7 * 8 + nth)
}

/// Returns the lowest number of the set that is not below this one, which is at most 60.
fn first_from(bits: u64, number: u32) -> Option<u32> {
    let left = bits >> number;
    (left != 0).then(|| number + left.trailing_zeros())
}

/// Reads the days of a month. A step after `L` or `LW` means nothing.
fn day_set(field: &str) -> Option<u64> {
    field.split(',').try_fold(0_u64, |set, part| {
        let (day, step) = part.split_once('/').map_or((part, None), |(day, step)| (day, Some(step)));
        let last =
            [("l", LAST), ("lw", LAST_WORKDAY)].into_iter().find(|(name, _)| name.eq_ignore_ascii_case(day));
        let of_part = match last {
            Some((_, bit)) => {
                step.map_or(Some(1), digits).filter(|step| *step > 0)?;
                1 << bit
            }
            None => bits(part, &DAYS, &[], 0)?,
        };
        Some(set | of_part)
    })
}

/// Reads the weekdays, and those of a month.
fn weekday_sets(field: &str) -> Option<(u64, u64)> {
    field.split(',').try_fold((0_u64, 0_u64), |(weekdays, nth_weekdays), part| {
        if part.contains('#') || part.ends_with(['L', 'l']) {
            return Some((weekdays, nth_weekdays | nth_weekday(part)?));
        }
        Some((weekdays | bits(part, &WEEKDAYS, &WEEKDAY_NAMES, 0)?, nth_weekdays))
    })
}

/// Reads `5#2`, `fri#2` or `5L`. A name before `L` is not understood, as in Sentry.
fn nth_weekday(part: &str) -> Option<u64> {
    if let Some(weekday) = part.strip_suffix(['L', 'l']) {
        let weekday = digits(weekday).filter(|weekday| WEEKDAYS.contains(weekday))?;
        return Some(nth_bit(weekday, LAST));
    }
    let (weekday, nth) = part.split_once('#')?;
    let nth = digits(nth).filter(|nth| NTH.contains(nth))?;
    Some(nth_bit(number(weekday, &WEEKDAYS, &WEEKDAY_NAMES, 0)?, nth))
}

/// Reads a field as a set of bits. The first name stands for `first_name`.
fn bits(field: &str, all: &RangeInclusive<u32>, names: &[&str], first_name: u32) -> Option<u64> {
    let mut set = 0_u64;
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(digits(step)?)),
            None => (part, None),
        };
        let number = |text: &str| number(text, all, names, first_name);
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None if range == "*" => (*all.start(), *all.end()),
            None => (number(range)?, number(range)?),
        };
        if first > last {
            return None;
        }
        // A step after one number goes on to the end.
        let last = if step.is_some() && first == last { *all.end() } else { last };
        let step = usize::try_from(step.unwrap_or(1)).ok().filter(|step| *step > 0)?;
        set |= (first..=last).step_by(step).fold(0_u64, |bits, number| bits | 1_u64 << number);
    }
    Some(set)
}

/// Reads a number of a field, or a name that stands for one.
fn number(text: &str, all: &RangeInclusive<u32>, names: &[&str], first_name: u32) -> Option<u32> {
    let named = names.iter().position(|name| name.eq_ignore_ascii_case(text));
    let number = match named {
        Some(position) => first_name + u32::try_from(position).ok()?,
        None => digits(text)?,
    };
    all.contains(&number).then_some(number)
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
        next_in("UTC", datetime!(2026-11-30 10:17:30 UTC), expression, count)
    }

    /// Returns the next times after a time in a zone. All are in UTC.
    fn next_in(zone: &str, after: OffsetDateTime, expression: &str, count: usize) -> Vec<String> {
        let zone = Zone::find(zone).expect("a zone");
        let crontab = Crontab::parse(expression).expect(expression);
        let mut at = after.unix_timestamp() as f64;
        let mut times = Vec::new();
        for _ in 0..count {
            at = crontab.next_after(at, &zone).expect("a time");
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
            ("55-55/3 9 * * *", ["2026-12-01T09:55", "2026-12-01T09:58"]),
            ("0 0,12 * * *", ["2026-11-30T12:00", "2026-12-01T00:00"]),
            ("0 9 * * mon-fri", ["2026-12-01T09:00", "2026-12-02T09:00"]),
            ("0 9 * * 6-7", ["2026-12-05T09:00", "2026-12-06T09:00"]),
            ("0 9 * * 0", ["2026-12-06T09:00", "2026-12-13T09:00"]),
            ("0 9 * * 7", ["2026-12-06T09:00", "2026-12-13T09:00"]),
            ("0 0 31 * *", ["2026-12-31T00:00", "2027-01-31T00:00"]),
            ("0 0 1 JAN,Jul *", ["2027-01-01T00:00", "2027-07-01T00:00"]),
            ("0 0 29 2 *", ["2028-02-29T00:00", "2032-02-29T00:00"]),
            ("@hourly", ["2026-11-30T11:00", "2026-11-30T12:00"]),
            ("@daily", ["2026-12-01T00:00", "2026-12-02T00:00"]),
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
        assert_eq!(leap_day.next_after(after, &Zone::UTC), Some(next));
        for crontab in [leap_day, Crontab::parse("* * 29 2 *").expect("an expression")] {
            assert_eq!(crontab.next_after(f64::INFINITY, &Zone::UTC), None);
        }
    }

    #[test]
    fn last_and_nth_days_are_those_of_their_month() {
        for (expression, expected) in [
            ("0 0 L * *", ["2026-12-31T00:00", "2027-01-31T00:00", "2027-02-28T00:00"]),
            ("0 0 l/3 2 *", ["2027-02-28T00:00", "2028-02-29T00:00", "2029-02-28T00:00"]),
            ("0 0 LW * *", ["2026-12-31T00:00", "2027-01-29T00:00", "2027-02-26T00:00"]),
            ("0 0 lw/2 5,8 *", ["2027-05-31T00:00", "2027-08-31T00:00", "2028-05-31T00:00"]),
            ("0 0 15,L * *", ["2026-12-15T00:00", "2026-12-31T00:00", "2027-01-15T00:00"]),
            ("0 0 * * 5L", ["2026-12-25T00:00", "2027-01-29T00:00", "2027-02-26T00:00"]),
            ("0 0 * * fri#2", ["2026-12-11T00:00", "2027-01-08T00:00", "2027-02-12T00:00"]),
            ("0 0 * * 7#1,0#5", ["2026-12-06T00:00", "2027-01-03T00:00", "2027-01-31T00:00"]),
            ("0 0 * 2 mon#5", ["2044-02-29T00:00", "2072-02-29T00:00", "2112-02-29T00:00"]),
            ("* 0 L 2 *", ["2027-02-28T00:00", "2027-02-28T00:01", "2027-02-28T00:02"]),
        ] {
            assert_eq!(next(expression, 3), expected, "{expression}");
        }
    }

    #[test]
    fn times_are_those_of_the_zone() {
        let winter = datetime!(2026-11-30 10:17:30 UTC);
        assert_eq!(next_in("Europe/Berlin", winter, "0 3 * * *", 1), ["2026-12-01T02:00"]);
        assert_eq!(next_in("America/New_York", winter, "0 9-17 * * mon-fri", 1), ["2026-11-30T14:00"]);
        assert_eq!(
            next_in("Asia/Kathmandu", winter, "*/30 * * * *", 2),
            ["2026-11-30T10:45", "2026-11-30T11:15"]
        );
        // The month begins there half a day earlier.
        assert_eq!(next_in("Pacific/Auckland", winter, "0 1 1 * *", 1), ["2026-11-30T12:00"]);
        let summer = datetime!(2026-07-01 00:00 UTC);
        assert_eq!(next_in("Europe/Berlin", summer, "0 3 * * *", 1), ["2026-07-01T01:00"]);
    }

    #[test]
    fn time_in_the_gap_is_due_after_it() {
        // At 01:00 UTC the clock goes from 2 to 3.
        let before = datetime!(2026-03-28 22:00 UTC);
        for (expression, expected) in [
            ("30 2 * * *", ["2026-03-29T01:00", "2026-03-30T00:30"]),
            ("0,30 2-3 * * *", ["2026-03-29T01:00", "2026-03-29T01:30"]),
            ("30 1 * * *", ["2026-03-29T00:30", "2026-03-29T23:30"]),
            // With a star there is nothing to make up for.
            ("*/30 2 * * *", ["2026-03-30T00:00", "2026-03-30T00:30"]),
            ("30 */2 * * *", ["2026-03-28T23:30", "2026-03-29T02:30"]),
        ] {
            assert_eq!(next_in("Europe/Berlin", before, expression, 2), expected, "{expression}");
        }
        // In Santiago the clock goes from 0 to 1 at 04:00 UTC. A crontab with a star is not due at a midnight that is left out.
        let before = datetime!(2026-09-05 05:00 UTC);
        for (expression, expected) in [
            ("30 0 * * *", ["2026-09-06T04:00", "2026-09-07T03:30"]),
            ("0 */6 * 9 7#1", ["2026-09-06T09:00", "2026-09-06T15:00"]),
        ] {
            assert_eq!(next_in("America/Santiago", before, expression, 2), expected, "{expression}");
        }
    }

    #[test]
    fn fixed_time_that_comes_twice_is_due_once() {
        // At 01:00 UTC the clock goes from 3 back to 2.
        let before = datetime!(2026-10-24 22:00 UTC);
        for (expression, expected) in [
            ("30 2 * * *", ["2026-10-25T00:30", "2026-10-26T01:30"]),
            ("0 3 * * *", ["2026-10-25T02:00", "2026-10-26T02:00"]),
            // With a star the clock counts.
            ("*/45 2 * * *", ["2026-10-25T00:00", "2026-10-25T00:45"]),
            ("30 * * * *", ["2026-10-24T22:30", "2026-10-24T23:30"]),
        ] {
            assert_eq!(next_in("Europe/Berlin", before, expression, 2), expected, "{expression}");
        }
        let second = datetime!(2026-10-25 01:10 UTC);
        assert_eq!(
            next_in("Europe/Berlin", second, "30 2 * * *", 1),
            ["2026-10-26T01:30"],
            "it was due already"
        );
        assert_eq!(
            next_in("Europe/Berlin", second, "30 * * * *", 2),
            ["2026-10-25T01:30", "2026-10-25T02:30"]
        );
        // The clock of Lord Howe is put back by half an hour only.
        let before = datetime!(2026-04-04 14:29 UTC);
        assert_eq!(
            next_in("Australia/Lord_Howe", before, "*/15 1 * * *", 4),
            ["2026-04-04T14:30", "2026-04-04T14:45", "2026-04-04T15:00", "2026-04-04T15:15",]
        );
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
            "* L * * *",
            "* * L/0 * *",
            "* * 5L * *",
            "* * L-2 * *",
            "* * LW/0 * *",
            "* * 15W * *",
            "* * * * L",
            "* * * * friL",
            "* * * * 8L",
            "* * * * 5L/2",
            "* * * * 5#0",
            "* * * * 5#6",
            "* * * * #2",
            "* * * * 1-5#2",
            "* * * jan#1 *",
            "0 0 30 2 *",
            "@reboot",
            "@midnight",
            "@Daily",
            "1-2-3 * * * *",
            "99999999999 * * * *",
        ] {
            assert_eq!(Crontab::parse(expression), None, "{expression}");
        }
    }
}
