//! Evidence in words, for the documents and the reports.

use std::fmt;

use super::Evidence;

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Issue { service, title_contains } => {
                write!(f, "an issue of {service} whose title contains \"{title_contains}\"")
            }
            Self::Spans { service, op, description_contains, same_parent_min, duration_ms_total_min } => {
                write!(
                    f,
                    "in a transaction of {service}, below one parent and after a different {op} span, "
                )?;
                write!(f, "at least {same_parent_min} equal {op} spans in a row")?;
                naming(f, description_contains)?;
                write!(f, ", together {duration_ms_total_min} ms or more (Sentry's N+1 rule)")
            }
            Self::SlowSpan { service, op, description_contains, duration_ms_min, count_min } => {
                write!(f, "{count_min} or more {op} spans of {service} of {duration_ms_min} ms or more")?;
                naming(f, description_contains)
            }
            Self::SegmentStatus { service, op, status, count_min } => {
                write!(f, "{count_min} or more {op} transactions of {service} with the status {status}")
            }
            Self::SpanAttribute { service, op, name, value, count_min } => {
                write!(f, "{count_min} or more {op} spans of {service} with {name} = {value}")
            }
            Self::MetricRatio { numerator, denominator, min, max } => {
                write!(f, "{numerator} divided by {denominator} between {min} and {max}")
            }
            Self::MetricAbove { name, labels, min } => {
                write!(f, "a sum of {name} of {min} or more")?;
                for (number, (label, value)) in labels.iter().enumerate() {
                    let word = if number == 0 { "where" } else { "and" };
                    write!(f, " {word} {label} = {value}")?;
                }
                Ok(())
            }
            Self::All(all) => joined(f, all, "; and "),
            Self::Any(any) => joined(f, any, "; or "),
            Self::Absent(evidence) => write!(f, "not: {evidence}"),
        }
    }
}

fn naming(f: &mut fmt::Formatter<'_>, part: &str) -> fmt::Result {
    if part.is_empty() { Ok(()) } else { write!(f, " whose description contains \"{part}\"") }
}

fn joined(f: &mut fmt::Formatter<'_>, list: &[Evidence], separator: &str) -> fmt::Result {
    for (number, evidence) in list.iter().enumerate() {
        if number > 0 {
            f.write_str(separator)?;
        }
        write!(f, "{evidence}")?;
    }
    Ok(())
}
