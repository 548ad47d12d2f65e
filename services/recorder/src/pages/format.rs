//! Formats numbers and names for people.

use time::OffsetDateTime;

use crate::projects::Projects;

/// Angle between the hues of neighbouring projects, in degrees. No two of the first dozen look alike.
const GOLDEN_ANGLE: f64 = 137.508;

/// Name and colour of a service, the same on every page.
#[derive(Clone, Debug)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) hue: u32,
}

impl Service {
    pub(super) fn new(projects: &Projects, name: &str) -> Self {
        let id = projects.find(name).unwrap_or_default();
        Self { name: name.to_owned(), hue: (f64::from(id) * GOLDEN_ANGLE + 70.0) as u32 % 360 }
    }
}

/// Formats a time in UTC.
pub(super) fn clock(seconds: f64) -> String {
    // A float holds microseconds exactly, but not nanoseconds.
    let microseconds = (seconds * 1e6).round() as i128;
    let at = OffsetDateTime::from_unix_timestamp_nanos(microseconds.saturating_mul(1_000));
    let Ok(at) = at else { return "–".to_owned() };
    let date = at.date();
    format!("{date} {:02}:{:02}:{:02}.{:03}", at.hour(), at.minute(), at.second(), at.millisecond())
}

/// Formats a duration with a suitable unit.
pub(super) fn duration_ms(milliseconds: f64) -> String {
    match milliseconds {
        ms if !ms.is_finite() => "–".to_owned(),
        ms if ms.abs() < 0.9995 => format!("{:.0} µs", ms * 1000.0),
        ms if ms.abs() < 100.0 => format!("{ms:.2} ms"),
        ms if ms.abs() < 1000.0 => format!("{ms:.0} ms"),
        ms => format!("{:.2} s", ms / 1000.0),
    }
}

/// Formats a value that may be missing.
pub(super) fn optional(value: Option<f64>, format: impl Fn(f64) -> String) -> String {
    value.map_or_else(|| "–".to_owned(), format)
}

/// Formats a share from 0 to 1 in percent.
pub(super) fn percent(share: f64) -> String {
    match share * 100.0 {
        percent if percent > 0.0 && percent < 0.01 => "< 0.01 %".to_owned(),
        percent => format!("{percent:.2} %"),
    }
}

/// Formats a number of spans a minute.
pub(super) fn rate(per_minute: f64) -> String {
    match per_minute {
        number if number < 10.0 => format!("{number:.2}/min"),
        number => format!("{number:.0}/min"),
    }
}

/// Formats a size.
pub(super) fn bytes(size: f64) -> String {
    match size {
        size if size < 1024.0 => format!("{size:.0} B"),
        size if size < 1024.0 * 1024.0 => format!("{:.1} KiB", size / 1024.0),
        size => format!("{:.1} MiB", size / (1024.0 * 1024.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_times_are_formatted() {
        let shown: Vec<_> = [0.25, 12.3456, 250.4, 2500.0, f64::NAN].into_iter().map(duration_ms).collect();
        assert_eq!(shown, ["250 µs", "12.35 ms", "250 ms", "2.50 s", "–"]);
        assert_eq!(clock(1_700_000_000.25), "2023-11-14 22:13:20.250");
        assert_eq!(clock(f64::INFINITY), "–");
    }

    #[test]
    fn shares_rates_and_sizes_are_formatted() {
        assert_eq!([0.0, 0.00001, 0.5].map(percent), ["0.00 %", "< 0.01 %", "50.00 %"]);
        assert_eq!([0.5, 1234.4].map(rate), ["0.50/min", "1234/min"]);
        assert_eq!([12.0, 2048.0, 3_145_728.0].map(bytes), ["12 B", "2.0 KiB", "3.0 MiB"]);
        assert_eq!(optional(None, percent), "–");
    }
}
