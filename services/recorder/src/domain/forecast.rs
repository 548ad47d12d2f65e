//! How many events an hour an issue may have that is archived until it escalates.
//!
//! The rule is Sentry's (`generate_issue_forecast`): the limit of each of the next 14 days follows from the hours of the last 7.
//! With events in fewer hours than a week has, it is ten times the largest number of an hour.

use serde::{Deserialize, Serialize};

/// Time before the archiving of which the events count.
pub const HISTORY_S: f64 = 7.0 * 24.0 * HOUR_S;
const HOUR_S: f64 = 3_600.0;
const HOURS_OF_DAY: i64 = 24;
/// Number of hours with events from which mean and deviation are used.
const HOURS_MIN: usize = 7 * 24;
/// Number of days for which a limit is computed. Later days have that of the last one.
const DAYS: i64 = 14;
/// Limit of an issue without events in the last 7 days.
const WITHOUT_EVENTS: u64 = 10;
const FACTOR_OF_SHORT_HISTORY: u64 = 10;

/// Events of an issue in one hour of the clock, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HourCount {
    /// Number of the hour since the epoch.
    pub hour: i64,
    /// Number of events in it.
    pub events: u64,
}

/// Limits of an archived issue, and its events in the present hour.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Forecast {
    /// Day of the first limit, as a number of days since the epoch.
    first_day: i64,
    /// Largest number of events in an hour of each day.
    per_hour_max: Vec<u64>,
    /// The hour that is counted.
    hour: i64,
    /// Number of its events.
    events: u64,
}

impl Forecast {
    /// Computes the limits from the hours that had events, oldest first.
    pub(super) fn new(hours: &[HourCount], now: f64) -> Self {
        let hour = hour_of(now);
        let first_day = day_of(hour);
        let days = first_day..first_day + DAYS;
        let events = hours.iter().find(|count| count.hour == hour).map_or(0, |count| count.events);
        Self { first_day, per_hour_max: limits(hours, days), hour, events }
    }

    /// Counts one event more.
    pub(super) fn with_event(self, now: f64) -> Self {
        let hour = hour_of(now);
        let before = if hour == self.hour { self.events } else { 0 };
        Self { hour, events: before.saturating_add(1), ..self }
    }

    /// Returns the number of events in the hour that is counted.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// Returns the largest number of events in an hour of the day of this time.
    pub(super) fn limit(&self, now: f64) -> u64 {
        let day = usize::try_from(day_of(hour_of(now)) - self.first_day).unwrap_or_default();
        let of_day = self.per_hour_max.get(day).or(self.per_hour_max.last());
        of_day.copied().unwrap_or(WITHOUT_EVENTS)
    }
}

fn hour_of(at: f64) -> i64 {
    (at / HOUR_S).floor() as i64
}

fn day_of(hour: i64) -> i64 {
    hour.div_euclid(HOURS_OF_DAY)
}

fn limits(hours: &[HourCount], days: std::ops::Range<i64>) -> Vec<u64> {
    let Some(most) = hours.iter().map(|count| count.events).max() else {
        return days.map(|_| WITHOUT_EVENTS).collect();
    };
    if hours.len() < HOURS_MIN {
        return days.map(|_| most.saturating_mul(FACTOR_OF_SHORT_HISTORY)).collect();
    }
    let number = hours.len() as f64;
    let mean = hours.iter().map(|count| count.events as f64).sum::<f64>() / number;
    let squares = hours.iter().map(|count| (count.events as f64 - mean).powi(2)).sum::<f64>();
    let deviation = (squares / (number - 1.0)).sqrt();
    // The more the hours differ, the smaller is the factor of the largest, from 5 to 2.
    let by_largest = most as f64 * (5.0 * (-0.65 * deviation / mean).exp()).clamp(2.0, 5.0);
    // Five deviations above the mean, as a multiple of it from 5 to 8.
    let baseline = mean * ((mean + 5.0 * deviation) / mean).clamp(5.0, 8.0);
    days.map(|day| by_largest.max(weighted_mean(hours, day) + baseline) as u64).collect()
}

/// The mean, to which hours of the same day of the week count twice.
fn weighted_mean(hours: &[HourCount], day: i64) -> f64 {
    let weight = |count: &HourCount| if (day_of(count.hour) - day) % 7 == 0 { 2.0 } else { 1.0 };
    let sum = hours.iter().map(|count| count.events as f64 * weight(count)).sum::<f64>();
    sum / hours.iter().map(weight).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 20_000;
    const NOW: f64 = 20_000.0 * 86_400.0;

    /// The week before, with the events of each hour.
    fn week(events: impl Fn(i64) -> u64) -> Vec<HourCount> {
        let hours = (DAY - 7) * 24..DAY * 24;
        hours.map(|hour| HourCount { hour, events: events(hour) }).collect()
    }

    #[test]
    fn limits_are_those_of_sentry() {
        // Computed with its `generate_issue_forecast`.
        for (name, hours, expected) in [
            ("even", week(|_| 10), 60),
            ("one busy day", week(|hour| if day_of(hour) == DAY - 7 { 100 } else { 1 }), 200),
            ("one burst", week(|hour| if hour == DAY * 24 - 1 { 200 } else { 1 }), 400),
            ("by the hour", week(|hour| hour.rem_euclid(24).unsigned_abs() + 1), 83),
            ("a bit more on one day", week(|hour| if day_of(hour) == DAY - 6 { 7 } else { 3 }), 27),
            ("less than a week", week(|_| 9).split_off(1), 90),
            ("one hour", vec![HourCount { hour: DAY * 24 - 3, events: 4 }], 40),
            ("nothing", Vec::new(), 10),
        ] {
            let forecast = Forecast::new(&hours, NOW);
            assert_eq!(forecast.limit(NOW), expected, "{name}");
            assert_eq!(forecast.limit(NOW + 1e9), forecast.per_hour_max[13], "{name}: the last one holds");
        }
    }

    #[test]
    fn day_of_the_week_counts_twice() {
        // Even enough that the largest hour does not decide.
        let hours = week(|hour| if day_of(hour) == DAY - 6 { 40 } else { 20 });
        let on = |day: i64| weighted_mean(&hours, day);
        assert!(on(DAY + 1) > on(DAY) && on(DAY + 8) > on(DAY + 7), "{} {}", on(DAY + 1), on(DAY));
    }

    #[test]
    fn events_are_counted_by_the_hour_of_the_clock() {
        let hours = [HourCount { hour: DAY * 24, events: 3 }];
        let forecast = Forecast::new(&hours, NOW + 60.0);
        assert_eq!(forecast.events(), 3, "those of the same hour before");
        let same = forecast.with_event(NOW + 3_599.0);
        assert_eq!(same.events(), 4);
        assert_eq!(same.with_event(NOW + 3_600.0).events(), 1);
    }
}
