//! Units of what the rules measure, for people.

use telemetry::metric::Metric;

use crate::{Aggregate, Rule, Signal, SpanMeasure};

/// Unit of a measured value and of its bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// A number of something.
    #[default]
    None,
    /// Milliseconds.
    Millisecond,
    /// Seconds.
    Second,
    /// Bytes.
    Byte,
    /// A share from 0 to 1, shown in percent.
    Share,
}

impl Unit {
    /// Writes a value with the unit and at most three decimal places.
    #[must_use]
    pub fn show(self, value: f64) -> String {
        match self {
            Self::None => number(value),
            Self::Millisecond => format!("{} ms", number(value)),
            Self::Second => format!("{} s", number(value)),
            Self::Byte => format!("{} bytes", number(value)),
            Self::Share => format!("{} %", number(100.0 * value)),
        }
    }

    fn of_metric(metric: Metric) -> Self {
        match metric.sentry_unit() {
            "millisecond" => Self::Millisecond,
            "second" => Self::Second,
            "byte" => Self::Byte,
            "ratio" => Self::Share,
            _ => Self::None,
        }
    }
}

impl Rule {
    /// Returns the unit of its values and of its bound.
    #[must_use]
    pub fn unit(&self) -> Unit {
        match &self.signal {
            Signal::Metric(metric) if metric.aggregate == Aggregate::Count => Unit::None,
            Signal::Metric(metric) => Unit::of_metric(metric.name.0),
            Signal::Ratio(_) => Unit::Share,
            Signal::Transactions(spans) => match spans.measure {
                SpanMeasure::P95DurationMs => Unit::Millisecond,
                SpanMeasure::FailureRate => Unit::Share,
            },
        }
    }
}

fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use crate::rule;

    #[test]
    fn values_are_shown_in_the_unit_of_their_rule() {
        for (slug, value, shown) in [
            ("request-latency", 709.507, "709.507 ms"),
            ("request-errors", 0.141, "14.1 %"),
            ("payouts-below-owed", 0.999, "99.9 %"),
            ("lag-seconds", 30.0, "30 s"),
            ("lag-messages", 1_000.0, "1000"),
            ("dead-letters", 0.0, "0"),
        ] {
            let unit = rule(slug).expect("declared").unit();
            assert_eq!(unit.show(value), shown, "{slug}");
        }
    }
}
