//! Flags on errors and spans: the faults that are armed, and those that acted on a unit of work.
//!
//! An error event lists in `contexts.flags` the flags of the process ([`set_source`]) and those that acted in the event's own
//! trace ([`applied`]). A span on which a flag acted has the attribute `flag.evaluation.<id>`. Both forms are Sentry's.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use sentry::protocol::{Context, Event, Value};
use sentry::{ClientOptions, Hub, Integration};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::attributes::{FLAG_CONTEXT, FLAG_EVALUATION};
use crate::metric::{self, Metric};
use crate::spans;

type Source = Arc<dyn Fn() -> Vec<(String, bool)> + Send + Sync>;

static SOURCE: RwLock<Option<Source>> = RwLock::new(None);

/// Sets the function that lists the flags of this process for each error event. A later call replaces the function.
pub fn set_source(source: impl Fn() -> Vec<(String, bool)> + Send + Sync + 'static) {
    *SOURCE.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(source));
}

/// Records that this flag acted on the current unit of work: on its span, on its later error events, and in the metric.
pub fn applied(id: &str) {
    let name = format!("{FLAG_EVALUATION}{id}");
    Span::current().set_attribute(name.clone(), true);
    // The trace limits it to this unit of work, because a background task has one scope for its whole life.
    let trace_id = spans::trace_id().unwrap_or_default();
    Hub::current().configure_scope(|scope| scope.set_extra(&name, Value::String(trace_id)));
    metric::count(Metric::FaultsApplied, 1, &[("fault", id)]);
}

/// Adds the flags to error events.
pub(crate) struct AttachFlags;

impl Integration for AttachFlags {
    fn name(&self) -> &'static str {
        "flags"
    }

    fn process_event(&self, mut event: Event<'static>, _: &ClientOptions) -> Option<Event<'static>> {
        let source = SOURCE.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut flags: BTreeMap<String, bool> =
            source.map(|list| list()).unwrap_or_default().into_iter().collect();
        let trace_id = spans::trace_id().unwrap_or_default();
        event.extra.retain(|name, acted_in| {
            let Some(id) = name.strip_prefix(FLAG_EVALUATION) else { return true };
            if acted_in.as_str() == Some(trace_id.as_str()) {
                flags.insert(id.to_owned(), true);
            }
            false
        });
        if !flags.is_empty() {
            let values =
                flags.into_iter().map(|(flag, result)| serde_json::json!({ "flag": flag, "result": result }));
            let list = BTreeMap::from([("values".to_owned(), Value::Array(values.collect()))]);
            event.contexts.insert(FLAG_CONTEXT.to_owned(), Context::Other(list));
        }
        Some(event)
    }
}
