//! Sampling contexts of traces that began in this process, for spans that begin after their transaction was sent.
//!
//! A sampling context must not change after it has left the process, so such a span must not create a new one. Only the
//! newest [`TRACES_MAX`] traces are kept.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use opentelemetry::trace::TraceId;

use crate::sampling_context::{SamplingContext, SharedContext};

/// Each takes about half a kilobyte.
const TRACES_MAX: usize = 512;

#[derive(Debug, Default)]
pub(super) struct Frozen {
    contexts: HashMap<TraceId, SharedContext>,
    in_order: VecDeque<TraceId>,
}

impl Frozen {
    pub(super) fn get(&self, trace_id: TraceId) -> Option<SharedContext> {
        self.contexts.get(&trace_id).map(Arc::clone)
    }

    /// Returns the first sampling context of that trace, or stores the one that `create` creates.
    pub(super) fn get_or_insert_with(
        &mut self,
        trace_id: TraceId,
        create: impl FnOnce() -> SamplingContext,
    ) -> SharedContext {
        if let Some(known) = self.get(trace_id) {
            return known;
        }
        if self.in_order.len() >= TRACES_MAX
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.contexts.remove(&oldest);
        }
        let dsc = Arc::new(create());
        self.in_order.push_back(trace_id);
        self.contexts.insert(trace_id, Arc::clone(&dsc));
        dsc
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_context_stays_and_number_is_bounded() {
        let mut frozen = Frozen::default();
        let named =
            |name: &str| SamplingContext { transaction: Some(name.to_owned()), ..SamplingContext::default() };
        let id = |n: usize| TraceId::from(u128::try_from(n).unwrap_or_default() + 1);
        frozen.get_or_insert_with(id(0), || named("first"));
        let again = frozen.get_or_insert_with(id(0), || named("second"));
        assert_eq!(again.transaction.as_deref(), Some("first"));
        for n in 1..=TRACES_MAX {
            frozen.get_or_insert_with(id(n), || named("other"));
        }
        assert!(frozen.get(id(0)).is_none() && frozen.get(id(1)).is_some());
        assert_eq!((frozen.contexts.len(), frozen.in_order.len()), (TRACES_MAX, TRACES_MAX));
    }
}
