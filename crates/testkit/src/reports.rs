//! Errors that the code under test logs for an operator to act on.

#![allow(clippy::print_stdout, reason = "a failed test shows the warnings")]

use std::fmt::Write as _;
use std::sync::{Mutex, Once, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

static REPORTS: Mutex<Vec<String>> = Mutex::new(Vec::new());
static CAPTURING: Once = Once::new();

/// Starts to capture reported errors. Warnings are printed.
///
/// # Panics
/// When the process already has another subscriber.
pub fn start_capture() {
    CAPTURING.call_once(|| {
        tracing::subscriber::set_global_default(Capture).expect("the only subscriber of these tests");
    });
}

/// Returns the reported errors that contain this text. No other test may cause them.
#[must_use]
pub fn containing(text: &str) -> Vec<String> {
    let reports = REPORTS.lock().unwrap_or_else(PoisonError::into_inner);
    reports.iter().filter(|report| report.contains(text)).cloned().collect()
}

/// Returns the reported error that contains this text. No other test may cause one.
///
/// # Panics
/// When there is none, or more than one.
pub fn expect_one(text: &str) -> String {
    let mut found = containing(text);
    assert_eq!(found.len(), 1, "reported errors with {text}: {found:#?}");
    found.remove(0)
}

struct Capture;

impl Subscriber for Capture {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN && metadata.is_event()
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        if *event.metadata().level() != Level::ERROR {
            println!("{}", fields.0);
            return;
        }
        REPORTS.lock().unwrap_or_else(PoisonError::into_inner).push(fields.0);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _infallible = write!(self.0, "{field}={value:?} ");
    }
}
