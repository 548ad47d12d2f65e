//! Trust in trace headers from outside. A trace continues only if the caller has a known key or is an operator, and even then
//! this process makes the sampling decision. Baggage entries (`pitboss.…`) are commands, so only an operator may send them. An
//! entry that the listener creates itself is accepted from nobody.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use http::HeaderMap;
use opentelemetry::Context;
use opentelemetry::trace::SpanContext;

use super::baggage::with_entry;
use super::wire;
use crate::sampling::Request;
use crate::sampling_context::SamplingContext;

type Judge = Arc<dyn Fn(&HeaderMap) -> bool + Send + Sync>;
type EntryOf = Arc<dyn Fn(&HeaderMap) -> Option<String> + Send + Sync>;

/// Rules of an HTTP listener for trusting trace headers.
#[derive(Clone, Default)]
pub struct TrustPolicy {
    inside: bool,
    public_keys: Arc<HashSet<String>>,
    operator: Option<Judge>,
    record: Option<Judge>,
    own_entry: Option<(&'static str, EntryOf)>,
}

impl fmt::Debug for TrustPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustPolicy")
            .field("inside", &self.inside)
            .field("public_keys", &self.public_keys.len())
            .finish()
    }
}

impl TrustPolicy {
    /// For listeners that only Pitboss services reach. Every trace continues unchanged, with its sampling decision.
    pub fn inside() -> Self {
        Self { inside: true, ..Self::default() }
    }

    /// For public listeners. A trace continues if its Sentry baggage contains one of these keys.
    pub fn outside(public_keys: impl IntoIterator<Item = String>) -> Self {
        Self { public_keys: Arc::new(public_keys.into_iter().collect()), ..Self::default() }
    }

    /// Also continues a trace if `is_operator` returns true (it checks the request's token). Only then the request's Pitboss
    /// baggage entries are kept.
    #[must_use]
    pub fn with_operator(mut self, is_operator: impl Fn(&HeaderMap) -> bool + Send + Sync + 'static) -> Self {
        self.operator = Some(Arc::new(is_operator));
        self
    }

    /// Always records requests for which `record` returns true (an operator's fault for one request).
    #[must_use]
    pub fn with_always_recorded(
        mut self,
        record: impl Fn(&HeaderMap) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.record = Some(Arc::new(record));
        self
    }

    /// Lets this listener create the Pitboss baggage entry `name`, with the value that `value_of` returns for a request. It checks
    /// the request's token.
    ///
    /// Such a request is always recorded. An entry of that name in a request from outside is dropped, whoever sent it.
    #[must_use]
    pub fn with_own_entry(
        mut self,
        name: &'static str,
        value_of: impl Fn(&HeaderMap) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.own_entry = Some((name, Arc::new(value_of)));
        self
    }
}

/// Result of reading the headers: the context for the new span, and the traces that it is only linked to.
#[derive(Debug, Clone, Default)]
pub struct Incoming {
    /// The parent and the accepted Pitboss baggage entries. It is empty for an untrusted caller.
    pub context: Context,
    /// The trace of an untrusted caller.
    pub links: Vec<SpanContext>,
}

/// Reads a request's trace headers according to `policy`.
pub fn extract_untrusted(headers: &HeaderMap, policy: &TrustPolicy) -> Incoming {
    let raw = wire::Raw::read(headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())));
    let record = policy.record.as_ref().is_some_and(|record| record(headers));
    let mut incoming = if policy.inside {
        Incoming { context: raw.into_context(), links: Vec::new() }
    } else {
        judge(raw, headers, policy)
    };
    let own_entry = policy.own_entry.as_ref().and_then(|(name, value_of)| {
        let value = value_of(headers)?;
        with_entry(&incoming.context, name, &value)
    });
    let is_recorded = record || own_entry.is_some();
    incoming.context = own_entry.unwrap_or(incoming.context);
    if is_recorded {
        incoming.context = incoming.context.with_value(Request::Record);
    }
    incoming
}

fn judge(mut raw: wire::Raw, headers: &HeaderMap, policy: &TrustPolicy) -> Incoming {
    let is_operators = policy.operator.as_ref().is_some_and(|is_operator| is_operator(headers));
    if !is_operators {
        // Every browser has a public key, so the key may continue a trace but not send commands
        raw.baggage.own.clear();
    }
    if let Some((name, _)) = &policy.own_entry {
        raw.baggage.own.retain(|(known, _)| known != name);
    }
    let has_our_key = |dsc: Option<&SamplingContext>| {
        let key = dsc.and_then(|dsc| dsc.public_key.as_ref());
        key.is_some_and(|key| policy.public_keys.contains(key))
    };
    let caller = raw.caller(|dsc| is_operators || has_our_key(dsc));
    let Some(parent) = caller.parent.clone() else {
        return Incoming { context: raw.continuing(caller), links: Vec::new() };
    };
    if has_our_key(caller.dsc.as_ref()) || is_operators {
        let context = raw.continuing(caller).with_value(Request::DecideHere);
        Incoming { context, links: Vec::new() }
    } else {
        Incoming { context: Context::new(), links: vec![parent] }
    }
}
