//! Expectations in words, for the reports.

use std::fmt;

use super::Expectation;

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transactions => f.write_str("transactions of gateway and service in the answer's trace"),
            Self::OneEvent => f.write_str("one event of the service in the answer's trace"),
            Self::NoEvent => f.write_str("no event in the answer's trace"),
            Self::EventInAnswer => f.write_str("the id of the event in the answer"),
            Self::Handled => f.write_str("a handled error"),
            Self::Unhandled => f.write_str("an unhandled error"),
            Self::Tag(name, "") => write!(f, "the tag {name}"),
            Self::Tag(name, value) => write!(f, "the tag {name} = {value}"),
            Self::Type(name) => write!(f, "the type {name}"),
            Self::Text(text) => write!(f, "the text \"{text}\""),
            Self::Fingerprint(parts) => write!(f, "a fingerprint that begins with {}", parts.join(", ")),
            Self::OwnFrame => f.write_str("a function of the program on the stack"),
            Self::Function(name) => write!(f, "{name} as the innermost function of the program"),
            Self::Breadcrumbs => f.write_str("breadcrumbs that lead to the error"),
            Self::User => f.write_str("the player of the request as user"),
            Self::Process => f.write_str("the state of the process"),
            Self::MemoryMin(bytes) => write!(f, "{bytes} bytes of memory or more"),
            Self::ArmedFault => f.write_str("the armed fault as flag"),
            Self::Threads("") => f.write_str("the threads, and which one crashed"),
            Self::Threads(name) => write!(f, "the threads, and that {name} crashed"),
            Self::Linked(count) => write!(f, "{count} linked errors"),
            Self::Detail(name) => write!(f, "the detail {name}"),
            Self::Spans { op, status, count_min } => {
                write!(f, "{count_min} or more {op} spans that are {status}")
            }
            Self::SlowQuery { duration_ms_min } => write!(f, "a db span of {duration_ms_min} ms or more"),
            Self::Profile(function) => write!(f, "a CPU profile of {function}"),
            Self::Minidump => f.write_str("an event with a minidump"),
            Self::InTrace => f.write_str("that event in the answer's trace"),
        }
    }
}
