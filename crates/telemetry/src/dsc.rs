//! The dynamic sampling context: what the head of a trace says about it, the same on every hop and in every envelope.
//!
//! Frozen where the trace begins. It rides in `baggage` as `sentry-*` entries, and as the `trace` header of each envelope
//! (which the stock transport loses).

use std::sync::OnceLock;

use opentelemetry::trace::{SpanContext, TraceId};
use serde::Serialize;

use crate::{sampling, scrub};

/// One trace's dynamic sampling context; numbers are text, as on the wire.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Dsc {
    /// The trace, 32 hex digits.
    pub trace_id: String,
    /// The public key of the project where the trace began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// The head's sample rate, `0.25`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_rate: Option<String>,
    /// The head's random number, six digits after the point.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_rand: Option<String>,
    /// `true` or `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampled: Option<String>,
    /// The head's release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// The head's environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The name of the head's transaction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction: Option<String>,
    /// The browser's session replay, when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay_id: Option<String>,
}

/// The fields by their name behind `sentry-`; what is not named here does not travel.
pub(crate) const FIELDS: [&str; 9] = [
    "trace_id",
    "public_key",
    "sample_rate",
    "sample_rand",
    "sampled",
    "release",
    "environment",
    "transaction",
    "replay_id",
];

impl Dsc {
    /// Sets a field by its name on the wire. The value may be a stranger's.
    pub(crate) fn set(&mut self, field: &str, value: &str) {
        let value = scrub::text(value).into_owned();
        match field {
            "trace_id" => self.trace_id = value,
            "public_key" => self.public_key = Some(value),
            "sample_rate" => self.sample_rate = Some(value),
            "sample_rand" => self.sample_rand = Some(value),
            "sampled" => self.sampled = Some(value),
            "release" => self.release = Some(value),
            "environment" => self.environment = Some(value),
            "transaction" => self.transaction = Some(value),
            "replay_id" => self.replay_id = Some(value),
            _ => {}
        }
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let values = [
            Some(&self.trace_id),
            self.public_key.as_ref(),
            self.sample_rate.as_ref(),
            self.sample_rand.as_ref(),
            self.sampled.as_ref(),
            self.release.as_ref(),
            self.environment.as_ref(),
            self.transaction.as_ref(),
            self.replay_id.as_ref(),
        ];
        FIELDS
            .into_iter()
            .zip(values)
            .filter_map(|(name, value)| Some((name, value?.as_str())))
            .filter(|(_, v)| !v.is_empty())
    }

    /// Whether this context speaks of that trace; one that does not is ignored.
    pub(crate) fn speaks_of(&self, trace_id: TraceId) -> bool {
        self.trace_id == trace_id.to_string()
    }

    /// What this process says of a trace that begins here, or that came without a context of its own.
    pub(crate) fn of_head(trace_id: TraceId, sampled: bool, transaction: Option<&str>) -> Self {
        let identity = identity();
        let decision = sampling::Decision::of(trace_id, sampled);
        Self {
            trace_id: trace_id.to_string(),
            public_key: identity.public_key.clone(),
            sample_rate: Some(decision.rate),
            sample_rand: Some(decision.rand),
            sampled: Some(sampled.to_string()),
            release: Some(identity.release.clone()),
            environment: Some(identity.environment.clone()),
            transaction: transaction.map(|name| scrub::text(name).into_owned()),
            replay_id: None,
        }
    }

    /// Puts our own sampling decision in place of the one that came along.
    pub(crate) fn decided_here(mut self, trace_id: TraceId, sampled: bool) -> Self {
        let decision = sampling::Decision::of(trace_id, sampled);
        self.sample_rate = Some(decision.rate);
        self.sample_rand = Some(decision.rand);
        self.sampled = Some(sampled.to_string());
        self
    }

    pub(crate) fn of_span(span_context: &SpanContext) -> Self {
        Self::of_head(span_context.trace_id(), span_context.is_sampled(), None)
    }
}

/// What every trace that begins here says of us.
#[derive(Debug, Clone, Default)]
pub(crate) struct Identity {
    pub(crate) public_key: Option<String>,
    pub(crate) release: String,
    pub(crate) environment: String,
}

static IDENTITY: OnceLock<Identity> = OnceLock::new();

pub(crate) fn set_identity(identity: Identity) {
    // only `init` calls this, and it refuses to run twice
    IDENTITY.set(identity).ok();
}

pub(crate) fn identity() -> &'static Identity {
    static NONE: Identity = Identity { public_key: None, release: String::new(), environment: String::new() };
    IDENTITY.get().unwrap_or(&NONE)
}
