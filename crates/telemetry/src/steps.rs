//! Breadcrumbs of error events from the spans that led to the error: queries, cache reads, calls and publishes that ended before it.
//!
//! They are read from the transaction that is still open, so a request without an error does nothing for them. Log lines are
//! breadcrumbs by themselves.

use std::collections::BTreeMap;

use opentelemetry::trace::TraceContextExt as _;
use opentelemetry_sdk::trace::SpanData;
use sentry::protocol::{Breadcrumb, Event, Value};
use sentry::{ClientOptions, Integration, Level};

use crate::attributes as names;
use crate::transaction::parts::{description, status, text_attribute};
use crate::{bridge, frames};

/// Largest number of breadcrumbs from spans. The latest ones count.
const STEPS_MAX: usize = 30;

/// Adds the latest spans of the transaction to error events, in the order of their ends.
pub(crate) struct AttachSteps;

impl Integration for AttachSteps {
    fn name(&self) -> &'static str {
        "attach-steps"
    }

    fn process_event(&self, mut event: Event<'static>, _: &ClientOptions) -> Option<Event<'static>> {
        if frames::is_error(&event) {
            let active = opentelemetry::Context::current().span().span_context().span_id();
            let steps = bridge::latest_ended(active, STEPS_MAX, step);
            if !steps.is_empty() {
                event.breadcrumbs.values.extend(steps);
                event.breadcrumbs.values.sort_by_key(|breadcrumb| breadcrumb.timestamp);
            }
        }
        Some(event)
    }
}

/// The breadcrumb of an ended span.
fn step(span: &SpanData) -> Breadcrumb {
    let took = span.end_time.duration_since(span.start_time).unwrap_or_default();
    let status = status(span);
    let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let data = BTreeMap::from([
        ("duration_ms".to_owned(), Value::from(duration_ms)),
        ("status".to_owned(), Value::from(status)),
    ]);
    Breadcrumb {
        timestamp: span.end_time,
        category: text_attribute(span, names::SENTRY_OP).map(str::to_owned),
        level: if status == "ok" { Level::Info } else { Level::Warning },
        message: Some(description(span).to_owned()),
        data,
        ..Default::default()
    }
}
