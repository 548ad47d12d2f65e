//! The dynamic sampling context: facts from the head of a trace, identical on every hop and in every envelope.
//!
//! It is frozen where the trace begins and passed on complete, including fields from a newer SDK. It travels in `baggage` as
//! `sentry-*` entries, and in each envelope as the `trace` header, which Sentry's stock transport drops.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, TraceId};
use serde::Serialize;

use crate::sampling::{self, Request};
use crate::scrub;

/// The context that holds an event's sampling context until the envelope's header is written. It is not sent.
pub(crate) const DSC_CONTEXT: &str = "pitboss.dsc";
/// Prefix of the fields in such a context, because the SDK adds other fields to it.
pub(crate) const DSC_PREFIX: &str = "sentry-";

/// Limits of unknown fields: their number, and the length of a name.
const OTHERS_MAX: usize = 16;
const OTHER_NAME_BYTES_MAX: usize = 64;

macro_rules! fields {
    ($($(#[doc = $help:literal])+ $field:ident,)+) => {
        /// One trace's dynamic sampling context. Numbers are text, as on the wire.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
        pub struct SamplingContext {
            /// The trace, 32 hex digits.
            pub trace_id: String,
            $(
                $(#[doc = $help])+
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $field: Option<String>,
            )+
            /// Other fields, by their name after `sentry-`. They come from a newer SDK and are passed on after scrubbing.
            #[serde(flatten)]
            pub others: BTreeMap<String, String>,
        }

        impl SamplingContext {
            /// Sets a field by its name after `sentry-`. The value may be untrusted. An invalid number, and a field above the
            /// limits, is left out.
            pub(crate) fn set(&mut self, field: &str, value: &str) {
                let Some(clean) = clean(field, value) else { return };
                match field {
                    "trace_id" => self.trace_id = clean.into_owned(),
                    $(stringify!($field) => self.$field = Some(clean.into_owned()),)+
                    other => self.set_other(other, value),
                }
            }

            /// All fields by their name after `sentry-`, the known ones first.
            pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
                let named = [
                    ("trace_id", Some(&self.trace_id)),
                    $((stringify!($field), self.$field.as_ref()),)+
                ];
                named
                    .into_iter()
                    .filter_map(|(name, value)| Some((name, value?.as_str())))
                    .chain(self.others.iter().map(|(name, value)| (name.as_str(), value.as_str())))
                    .filter(|(_, value)| !value.is_empty())
            }
        }
    };
}

fields! {
    /// The public key of the project where the trace began.
    public_key,
    /// The head's sample rate, `0.25`.
    sample_rate,
    /// The head's random number, six digits after the point.
    sample_rand,
    /// `true` or `false`.
    sampled,
    /// The head's release.
    release,
    /// The head's environment.
    environment,
    /// The name of the head's transaction.
    transaction,
    /// The head's organisation, from its DSN.
    org_id,
    /// The browser's session replay, if there is one.
    replay_id,
}

/// Returns the safe form of a field's value. A well-formed id or number stays unchanged, because it is never a secret even if
/// its digits look like one. Text is scrubbed, including a trace id or public key with another shape.
fn clean<'a>(field: &str, value: &'a str) -> Option<Cow<'a, str>> {
    let is_number = match field {
        "trace_id" | "public_key" if is_id(value) => true,
        "release" => return Some(scrub::name_at_version(value)),
        "sample_rate" | "sample_rand" => is_share(value),
        "sampled" => matches!(value, "true" | "false"),
        "org_id" => value.len() <= 20 && is_digits(value),
        "replay_id" => is_id(value),
        _ => return Some(scrub::text(value)),
    };
    is_number.then_some(Cow::Borrowed(value))
}

/// 32 hex digits: a trace, a public key, a replay.
fn is_id(value: &str) -> bool {
    value.len() == 32 && value.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_digits(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit())
}

/// A number from 0 to 1, in any language's notation (Python: `1e-05`).
fn is_share(value: &str) -> bool {
    let is_plain =
        value.len() <= 32 && value.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    is_plain && value.parse::<f64>().is_ok_and(|share| (0.0..=1.0).contains(&share))
}

impl SamplingContext {
    fn set_other(&mut self, name: &str, value: &str) {
        let is_token = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'.')
        };
        let is_name = !name.is_empty() && name.len() <= OTHER_NAME_BYTES_MAX && name.bytes().all(is_token);
        let has_room = self.others.len() < OTHERS_MAX || self.others.contains_key(name);
        if is_name && has_room && !scrub::is_secret_key(name) {
            self.others.insert(name.to_owned(), scrub::text(value).into_owned());
        }
    }

    /// Returns true if this context belongs to that trace. Otherwise it must be ignored.
    pub(crate) fn belongs_to(&self, trace_id: TraceId) -> bool {
        self.trace_id == trace_id.to_string()
    }

    /// Creates the context of a trace that begins in this process, or that arrived without one.
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
            org_id: identity.org_id.clone(),
            replay_id: None,
            others: BTreeMap::new(),
        }
    }

    /// Replaces the sampling decision if it differs from this process's own. Otherwise the context stays unchanged.
    pub(crate) fn with_own_decision(mut self, trace_id: TraceId, sampled: bool) -> Self {
        let sampled_text = sampled.to_string();
        if self.sampled.as_ref() != Some(&sampled_text) {
            let decision = sampling::Decision::of(trace_id, sampled);
            self.sample_rate = Some(decision.rate);
            self.sample_rand = Some(decision.rand);
            self.sampled = Some(sampled_text);
        }
        self
    }

    pub(crate) fn of_span(span_context: &SpanContext) -> Self {
        Self::of_head(span_context.trace_id(), span_context.is_sampled(), None)
    }
}

/// The sampling context of one trace, shared by its spans.
pub(crate) type SharedContext = Arc<SamplingContext>;

/// The sampling context that arrived with a remote parent, stored in the OpenTelemetry context.
#[derive(Debug, Clone)]
pub(crate) struct RemoteContext(pub(crate) SharedContext);

/// The remote caller's sampling context, if it belongs to this trace, updated if this process made the sampling decision.
pub(crate) fn remote_context(context: &Context, span_context: &SpanContext) -> Option<SharedContext> {
    let RemoteContext(dsc) = context.get::<RemoteContext>()?;
    if !dsc.belongs_to(span_context.trace_id()) {
        return None;
    }
    if context.get::<Request>().is_none() {
        return Some(Arc::clone(dsc));
    }
    let decided =
        SamplingContext::clone(dsc).with_own_decision(span_context.trace_id(), span_context.is_sampled());
    Some(Arc::new(decided))
}

/// The organisation from a DSN's host (`o77.ingest.…`), found as Sentry's SDKs do, also on self-hosted servers.
pub(crate) fn org_of_host(host: &str) -> Option<String> {
    let (first, _) = host.split_once('.')?;
    let number = first.strip_prefix('o')?;
    is_digits(number).then(|| number.to_owned())
}

/// Facts about this process in the context of every trace that begins here.
#[derive(Debug, Clone, Default)]
pub(crate) struct Identity {
    pub(crate) public_key: Option<String>,
    pub(crate) org_id: Option<String>,
    pub(crate) release: String,
    pub(crate) environment: String,
}

static IDENTITY: OnceLock<Identity> = OnceLock::new();

pub(crate) fn set_identity(identity: Identity) {
    // Only `init` calls this, and it refuses to run twice
    IDENTITY.set(identity).ok();
}

pub(crate) fn identity() -> &'static Identity {
    static NONE: Identity =
        Identity { public_key: None, org_id: None, release: String::new(), environment: String::new() };
    IDENTITY.get().unwrap_or(&NONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CARD: &str = "4111111111111111";

    #[test]
    fn ids_and_numbers_are_kept_and_text_is_scrubbed() {
        let mut dsc = SamplingContext::default();
        let same = [
            ("trace_id", CARD.repeat(2)),
            ("public_key", CARD.repeat(2)),
            ("sample_rand", format!("0.{CARD}")),
            ("sample_rate", "1e-05".to_owned()),
            ("sampled", "false".to_owned()),
            ("org_id", CARD.to_owned()),
        ];
        for (field, value) in &same {
            dsc.set(field, value);
            assert_eq!(dsc.entries().find(|(name, _)| name == field), Some((*field, value.as_str())));
        }
        for field in ["transaction", "environment", "release", "unknown"] {
            dsc.set(field, &format!("of {CARD}"));
            let found = dsc.entries().find(|(name, _)| *name == field);
            assert_eq!(found, Some((field, "of [Filtered]")));
        }
        dsc.set("public_key", CARD);
        assert_eq!(dsc.public_key.as_deref(), Some("[Filtered]"), "it does not have the form of a key");
    }

    #[test]
    fn invalid_numbers_are_left_out() {
        let mut dsc = SamplingContext::default();
        for (field, value) in [
            ("sample_rand", CARD),
            ("sample_rand", "NaN"),
            ("sample_rand", "jo@example.com"),
            ("sample_rate", "-0.5"),
            ("sample_rate", "1.5"),
            ("sampled", "True"),
            ("org_id", "o7"),
            ("replay_id", CARD),
        ] {
            dsc.set(field, value);
        }
        assert_eq!(dsc, SamplingContext::default());
    }
}
