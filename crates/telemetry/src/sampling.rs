//! Sampling of traces. The process where a trace begins decides with its own random number, and the others follow.
//!
//! The number is a keyed hash of the trace id. So it needs no memory, it is the same everywhere in this process, and an outside
//! caller cannot choose a trace id that forces recording.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::OnceLock;

use opentelemetry::trace::{Link, SpanKind, TraceContextExt as _, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SamplingDecision, SamplingResult, ShouldSample};

use crate::drop_count::{Category, Reason, lose};
use crate::lifecycle;

/// Sampling instruction of the code that received a trace, stored in the OpenTelemetry context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Decide here and ignore the caller's decision, because the headers came from outside.
    DecideHere,
    /// Record, because an operator requested it.
    Record,
    /// Do not record, whatever the caller decided, because such requests are only counted.
    Skip,
}

/// Follows the parent, but decides with its own random number if the trace begins here or came from outside.
#[derive(Debug, Clone)]
pub struct Sampler {
    rate: f64,
}

impl Sampler {
    /// Creates a sampler that records this share of new traces.
    pub fn new(rate: f64) -> Self {
        Self { rate: rate.clamp(0.0, 1.0) }
    }

    fn decide(&self, context: Option<&Context>, trace_id: TraceId) -> bool {
        let Some(context) = context else { return self.draw(trace_id) };
        let parent = context.span();
        let parent = parent.span_context();
        if parent.is_valid() && !parent.is_remote() {
            return parent.is_sampled();
        }
        match context.get::<Request>() {
            Some(Request::Record) => true,
            Some(Request::Skip) => false,
            Some(Request::DecideHere) => self.draw(trace_id),
            None if parent.is_valid() => parent.is_sampled(),
            None => self.draw(trace_id),
        }
    }

    fn draw(&self, trace_id: TraceId) -> bool {
        random_of(trace_id) < self.rate
    }
}

/// Counts an unrecorded transaction and its spans (one more than it has children). Every process reports its own to Sentry.
fn count_sampled_out(context: Option<&Context>) {
    let parent = context.map(|context| context.span().span_context().clone());
    let is_child = parent.is_some_and(|parent| parent.is_valid() && !parent.is_remote());
    if !is_child {
        lifecycle::lose_transaction(Reason::SampleRate);
    }
    lose(Reason::SampleRate, Category::Span, 1);
}

impl ShouldSample for Sampler {
    fn should_sample(
        &self,
        parent_context: Option<&Context>,
        trace_id: TraceId,
        _name: &str,
        _span_kind: &SpanKind,
        _attributes: &[KeyValue],
        _links: &[Link],
    ) -> SamplingResult {
        let trace_state: TraceState = parent_context
            .map(|context| context.span().span_context().trace_state().clone())
            .unwrap_or_default();
        let decision = if self.decide(parent_context, trace_id) {
            SamplingDecision::RecordAndSample
        } else {
            count_sampled_out(parent_context);
            SamplingDecision::Drop
        };
        SamplingResult { decision, attributes: Vec::new(), trace_state }
    }
}

/// The decision in the form of a sampling context: rate and random number as text.
pub(crate) struct Decision {
    pub(crate) rate: String,
    pub(crate) rand: String,
}

impl Decision {
    pub(crate) fn of(trace_id: TraceId, sampled: bool) -> Self {
        let rand = random_of(trace_id);
        let rate = RATE.get().copied().unwrap_or(1.0);
        // An operator's request was recorded although the draw failed, so it is reported with a rate of 1
        let rate = if sampled && rand >= rate { 1.0 } else { rate };
        Self { rate: rate.to_string(), rand: format!("{rand:.6}") }
    }
}

static RATE: OnceLock<f64> = OnceLock::new();

pub(crate) fn set_rate(rate: f64) {
    RATE.set(rate).ok();
}

/// A number from 0 up to but not including 1, with six digits (Sentry's precision), so that the compared and sent values agree.
fn random_of(trace_id: TraceId) -> f64 {
    static KEY: OnceLock<RandomState> = OnceLock::new();
    const STEPS: u64 = 1_000_000;
    let hash = KEY.get_or_init(RandomState::new).hash_one(trace_id.to_bytes());
    #[expect(clippy::cast_precision_loss, reason = "below a million")]
    let step = (hash % STEPS) as f64;
    step / 1_000_000.0
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanContext, SpanId, TraceFlags};

    use super::*;

    fn remote(trace: u128, flags: TraceFlags) -> Context {
        let context =
            SpanContext::new(TraceId::from(trace), SpanId::from(7_u64), flags, true, TraceState::default());
        Context::new().with_remote_span_context(context)
    }

    #[test]
    fn draws_at_rate() {
        let sampler = Sampler::new(0.25);
        let sampled = (1..=20_000_u128).filter(|n| sampler.decide(None, TraceId::from(*n << 7))).count();
        // 5 000 expected, sigma 61
        assert!((4_700..5_300).contains(&sampled), "{sampled}");
    }

    #[test]
    fn follows_inside_decision_and_ignores_outside() {
        let never = Sampler::new(0.0);
        let inside = remote(1, TraceFlags::SAMPLED);
        assert!(never.decide(Some(&inside), TraceId::from(1_u128)));
        let outside = inside.with_value(Request::DecideHere);
        assert!(!never.decide(Some(&outside), TraceId::from(1_u128)));
        let operator = remote(1, TraceFlags::NOT_SAMPLED).with_value(Request::Record);
        assert!(never.decide(Some(&operator), TraceId::from(1_u128)));
        let always = Sampler::new(1.0);
        assert!(!always.decide(Some(&remote(1, TraceFlags::NOT_SAMPLED)), TraceId::from(1_u128)));
    }

    #[test]
    fn skipped_request_is_never_recorded() {
        let always = Sampler::new(1.0);
        let continued = remote(1, TraceFlags::SAMPLED).with_value(Request::DecideHere);
        assert!(always.decide(Some(&continued), TraceId::from(1_u128)));
        for context in [continued, Context::new()] {
            let skipped = context.with_value(Request::Skip);
            assert!(!always.decide(Some(&skipped), TraceId::from(1_u128)));
        }
    }
}
