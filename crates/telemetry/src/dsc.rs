//! The dynamic sampling context: what the head of a trace says about it, the same on every hop and in every envelope.
//!
//! Frozen where the trace begins, and passed on whole, with what a newer SDK than ours put into it. It rides in `baggage` as
//! `sentry-*` entries, and as the `trace` header of each envelope (which the stock transport loses).

use std::collections::BTreeMap;
use std::sync::OnceLock;

use opentelemetry::trace::{SpanContext, TraceId};
use serde::Serialize;

use crate::{sampling, scrub};

/// Entries kept that are not named below, and the bytes of such a name.
const OTHERS_MAX: usize = 16;
const OTHER_NAME_BYTES_MAX: usize = 64;

macro_rules! fields {
    ($($(#[doc = $help:literal])+ $field:ident,)+) => {
        /// One trace's dynamic sampling context; numbers are text, as on the wire.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
        pub struct Dsc {
            /// The trace, 32 hex digits.
            pub trace_id: String,
            $(
                $(#[doc = $help])+
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $field: Option<String>,
            )+
            /// What else the head said, by its name behind `sentry-`: a newer SDK's, passed on as it came.
            #[serde(flatten)]
            pub others: BTreeMap<String, String>,
        }

        impl Dsc {
            /// Sets a field by its name behind `sentry-`. The value may be a stranger's. What there is no room for is left out.
            pub(crate) fn set(&mut self, field: &str, value: &str) {
                let clean = if field == "release" { scrub::name_at_version(value) } else { scrub::text(value) };
                match field {
                    "trace_id" => self.trace_id = clean.into_owned(),
                    $(stringify!($field) => self.$field = Some(clean.into_owned()),)+
                    other => self.set_other(other, value),
                }
            }

            /// All there is, by name behind `sentry-`, the named ones first.
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
    /// The browser's session replay, when there is one.
    replay_id,
}

impl Dsc {
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
            org_id: identity.org_id.clone(),
            replay_id: None,
            others: BTreeMap::new(),
        }
    }

    /// What came along, with our own sampling decision where it differs; where it does not, nothing is changed.
    pub(crate) fn decided_here(mut self, trace_id: TraceId, sampled: bool) -> Self {
        let said = sampled.to_string();
        if self.sampled.as_ref() != Some(&said) {
            let decision = sampling::Decision::of(trace_id, sampled);
            self.sample_rate = Some(decision.rate);
            self.sample_rand = Some(decision.rand);
            self.sampled = Some(said);
        }
        self
    }

    pub(crate) fn of_span(span_context: &SpanContext) -> Self {
        Self::of_head(span_context.trace_id(), span_context.is_sampled(), None)
    }
}

/// The organisation that a DSN's host names (`o77.ingest.…`), as Sentry's SDKs read it, on their service and elsewhere.
pub(crate) fn org_of_host(host: &str) -> Option<String> {
    let (first, _) = host.split_once('.')?;
    let number = first.strip_prefix('o')?;
    (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then(|| number.to_owned())
}

/// What every trace that begins here says of us.
#[derive(Debug, Clone, Default)]
pub(crate) struct Identity {
    pub(crate) public_key: Option<String>,
    pub(crate) org_id: Option<String>,
    pub(crate) release: String,
    pub(crate) environment: String,
}

static IDENTITY: OnceLock<Identity> = OnceLock::new();

pub(crate) fn set_identity(identity: Identity) {
    // only `init` calls this, and it refuses to run twice
    IDENTITY.set(identity).ok();
}

pub(crate) fn identity() -> &'static Identity {
    static NONE: Identity =
        Identity { public_key: None, org_id: None, release: String::new(), environment: String::new() };
    IDENTITY.get().unwrap_or(&NONE)
}
