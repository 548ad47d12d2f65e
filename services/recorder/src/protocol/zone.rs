//! Time zones of the tz database, which is compiled in: the clock on the wall of a place, at any time.
//!
//! A local time is a number of seconds, as if the clock on the wall were one in UTC.

use jiff::{Timestamp, tz::TimeZone};

const DAY_S: i64 = 24 * 60 * 60;
const MINUTE_S: i64 = 60;
/// Largest number of minutes that a clock is put forward: a day, where the date line was moved.
const GAP_MINUTES_MAX: i64 = 24 * 60;

/// A time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Zone {
    /// UTC.
    pub const UTC: Self = Self(TimeZone::UTC);

    /// Returns the zone of a name such as `Europe/Berlin`. As in Sentry, the case matters.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        TimeZone::get(name).ok().filter(|zone| zone.iana_name() == Some(name)).map(Self)
    }

    /// Returns the local time at an instant, in seconds since the epoch.
    #[must_use]
    pub fn local(&self, instant: i64) -> i64 {
        instant.saturating_add(self.offset_s(instant))
    }

    /// Returns the instant of a local time. Of a repeated hour it is the first one, and of an hour that is left out the first
    /// minute after it.
    #[must_use]
    pub fn instant(&self, local: i64) -> i64 {
        let real = (0..=GAP_MINUTES_MAX).find_map(|minutes| {
            let local = local.saturating_add(minutes * MINUTE_S);
            // The clock is changed at most once in two days. The offset of before is that of the first of a repeated hour.
            let offsets = [-DAY_S, DAY_S].map(|away| self.offset_s(local.saturating_add(away)));
            let mut instants = offsets.map(|offset_s| local.saturating_sub(offset_s)).into_iter();
            instants.find(|instant| self.local(*instant) == local)
        });
        real.unwrap_or(local)
    }

    fn offset_s(&self, instant: i64) -> i64 {
        Timestamp::from_second(instant).map_or(0, |at| i64::from(self.0.to_offset(at).seconds()))
    }
}

#[cfg(test)]
mod tests {
    use time::{OffsetDateTime, macros::datetime};

    use super::*;

    fn seconds(at: OffsetDateTime) -> i64 {
        at.unix_timestamp()
    }

    #[test]
    fn clock_of_a_zone_is_put_forward_and_back() {
        let berlin = Zone::find("Europe/Berlin").expect("a zone");
        for (instant, local) in [
            (datetime!(2026-03-29 00:59 UTC), datetime!(2026-03-29 01:59 UTC)),
            (datetime!(2026-03-29 01:00 UTC), datetime!(2026-03-29 03:00 UTC)),
            (datetime!(2026-10-25 00:30 UTC), datetime!(2026-10-25 02:30 UTC)),
            (datetime!(2026-10-25 01:30 UTC), datetime!(2026-10-25 02:30 UTC)),
            // By the rule, which goes on after the table of changes has ended.
            (datetime!(2090-07-01 10:00 UTC), datetime!(2090-07-01 12:00 UTC)),
        ] {
            assert_eq!(berlin.local(seconds(instant)), seconds(local), "{instant}");
        }
        for (local, instant) in [
            (datetime!(2026-01-15 12:00 UTC), datetime!(2026-01-15 11:00 UTC)),
            (datetime!(2026-07-15 12:00 UTC), datetime!(2026-07-15 10:00 UTC)),
            // Left out: the clock goes from 2 to 3.
            (datetime!(2026-03-29 02:30 UTC), datetime!(2026-03-29 01:00 UTC)),
            (datetime!(2026-03-29 03:00 UTC), datetime!(2026-03-29 01:00 UTC)),
            // Twice: the clock goes from 3 back to 2.
            (datetime!(2026-10-25 02:30 UTC), datetime!(2026-10-25 00:30 UTC)),
            (datetime!(2026-10-25 03:00 UTC), datetime!(2026-10-25 02:00 UTC)),
        ] {
            assert_eq!(berlin.instant(seconds(local)), seconds(instant), "{local}");
        }
        let apia = Zone::find("Pacific/Apia").expect("a zone");
        // Samoa left out the whole 30th.
        let left_out = seconds(datetime!(2011-12-30 00:00 UTC));
        assert_eq!(apia.instant(left_out), seconds(datetime!(2011-12-30 10:00 UTC)));
        assert_eq!(Zone::UTC.local(7), 7);
        assert_eq!((Zone::UTC.instant(7), Zone::UTC.instant(i64::MAX)), (7, i64::MAX));
    }

    #[test]
    fn zones_that_nobody_has_are_not_found() {
        for name in ["", "Mars/Olympus", "Europe", "Etc/Unknown", "CEST-2", "utc", "europe/vienna"] {
            assert_eq!(Zone::find(name), None, "{name}");
        }
        for name in ["UTC", "Etc/UTC", "GMT", "Zulu", "Europe/Vienna", "America/St_Johns"] {
            assert!(Zone::find(name).is_some(), "{name}");
        }
    }
}
