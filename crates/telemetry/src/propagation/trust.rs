//! Headers from outside: continued only when the caller is one of ours, and even then the decision to record is made here.
//! Entries of ours (`pitboss.…`) are orders: from outside, only an operator gives them.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use http::HeaderMap;
use opentelemetry::Context;
use opentelemetry::trace::SpanContext;

use super::wire;
use crate::dsc::Dsc;
use crate::sampling::Request;

type Judge = Arc<dyn Fn(&HeaderMap) -> bool + Send + Sync>;

/// Whose trace headers an HTTP listener believes.
#[derive(Clone, Default)]
pub struct TrustPolicy {
    inside: bool,
    public_keys: Arc<HashSet<String>>,
    operator: Option<Judge>,
    record: Option<Judge>,
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
    /// For listeners that only our own services reach: every trace is continued as it came, its sampling too.
    pub fn inside() -> Self {
        Self { inside: true, ..Self::default() }
    }

    /// For listeners that strangers reach: continued when the Sentry baggage carries one of these keys.
    pub fn outside(public_keys: impl IntoIterator<Item = String>) -> Self {
        Self { public_keys: Arc::new(public_keys.into_iter().collect()), ..Self::default() }
    }

    /// …or when this says that the request is an operator's (its token was checked); only then are its own entries in the
    /// baggage kept.
    #[must_use]
    pub fn with_operator(mut self, is_operator: impl Fn(&HeaderMap) -> bool + Send + Sync + 'static) -> Self {
        self.operator = Some(Arc::new(is_operator));
        self
    }

    /// Requests for which this holds are always recorded (an operator's fault for one request).
    #[must_use]
    pub fn with_always_recorded(
        mut self,
        record: impl Fn(&HeaderMap) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.record = Some(Arc::new(record));
        self
    }
}

/// What came of the headers: the context for the new span, and the traces it is only linked to.
#[derive(Debug, Clone, Default)]
pub struct Incoming {
    /// The parent, and the baggage entries of ours that the caller may set; empty for a stranger.
    pub context: Context,
    /// A stranger's trace.
    pub links: Vec<SpanContext>,
}

/// Reads a request's trace headers as `policy` says.
pub fn extract_untrusted(headers: &HeaderMap, policy: &TrustPolicy) -> Incoming {
    let raw = wire::Raw::read(headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())));
    let record = policy.record.as_ref().is_some_and(|record| record(headers));
    let mut incoming = if policy.inside {
        Incoming { context: raw.into_context(), links: Vec::new() }
    } else {
        judge(raw, headers, policy)
    };
    if record {
        incoming.context = incoming.context.with_value(Request::Record);
    }
    incoming
}

fn judge(mut raw: wire::Raw, headers: &HeaderMap, policy: &TrustPolicy) -> Incoming {
    let is_operators = policy.operator.as_ref().is_some_and(|is_operator| is_operator(headers));
    if !is_operators {
        // a public key is in every browser: it lets a trace go on, and gives no orders
        raw.baggage.own.clear();
    }
    let has_our_key = |dsc: Option<&Dsc>| {
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
