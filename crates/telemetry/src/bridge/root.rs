//! One local root and the spans below it, until they can be sent together.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use opentelemetry::trace::SpanId;
use opentelemetry_sdk::trace::SpanData;

use super::{GRACE, PROFILE_GRACE, SPANS_PER_TRANSACTION_MAX};
use crate::profiler::{Profile, Profiler};
use crate::sampling_context::SharedContext;
use crate::transaction::{Finished, LiveSpans};

/// An incomplete transaction.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) dsc: SharedContext,
    span_id: SpanId,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Spans started, the root included.
    started: u32,
    /// Spans started and not ended, and a profile that is not complete.
    open: u32,
    root: Option<SpanData>,
    children: Vec<SpanData>,
    live: LiveSpans,
    /// Records until the root ends.
    profiler: Option<Profiler>,
    is_held: bool,
    profile: Option<Box<Profile>>,
    /// The transaction was sent, so spans that end from now on are late.
    flushed: bool,
    /// There was no room for the root, so no span of the transaction is sent.
    abandoned: bool,
    /// Nobody needs the transaction, so no span of it is sent.
    discarded: bool,
}

/// Result of the end of a span.
#[derive(Debug)]
pub(super) enum Ended {
    /// There is nothing to send yet.
    Kept,
    /// The root ended while spans of it are still open.
    Waiting,
    /// The last span ended.
    Complete(Box<Finished>),
    /// The transaction was already sent, so this span is sent alone.
    Late(Box<Finished>),
    /// The root ended but there was no room for it. This number of children is dropped with it.
    Abandoned(usize),
}

impl Root {
    /// Creates a transaction whose root has just started.
    pub(super) fn new(span_id: SpanId, dsc: SharedContext) -> Self {
        let state = State {
            started: 1,
            open: 1,
            root: None,
            children: Vec::new(),
            live: LiveSpans::default(),
            profiler: None,
            is_held: false,
            profile: None,
            flushed: false,
            abandoned: false,
            discarded: false,
        };
        Self { dsc, span_id, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Consistent after every statement, so a panic in another thread does not damage it
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a span. Returns `None` if the transaction was already sent, otherwise true if there is room for the span.
    pub(super) fn join(&self) -> Option<bool> {
        let mut state = self.state();
        if state.abandoned {
            return Some(false);
        }
        if state.flushed {
            return None;
        }
        state.started += 1;
        state.open += 1;
        // The root takes one extra place
        Some(state.started <= SPANS_PER_TRANSACTION_MAX + 1)
    }

    /// Returns true for the span that the transaction begins with.
    pub(super) fn is_root(&self, span_id: SpanId) -> bool {
        span_id == self.span_id
    }

    pub(super) fn end(&self, data: SpanData, live: Option<LiveSpans>) -> Ended {
        let is_root = self.is_root(data.span_context.span_id());
        let mut state = self.state();
        state.open = state.open.saturating_sub(1);
        if is_root {
            state.profiler = None;
        }
        let Some(live) = live else {
            if is_root {
                (state.flushed, state.abandoned) = (true, true);
                state.live = LiveSpans::default();
                return Ended::Abandoned(std::mem::take(&mut state.children).len());
            }
            return self.last_of_all(&mut state).unwrap_or(Ended::Kept);
        };
        if state.flushed {
            let discarded = state.discarded;
            return Ended::Late(Box::new(self.finished(data, Vec::new(), None, live, discarded)));
        }
        state.live.absorb(live);
        if is_root {
            state.root = Some(data);
        } else {
            state.children.push(data);
        }
        let open = state.open;
        match self.last_of_all(&mut state) {
            Some(complete) => complete,
            None if is_root && open > 0 => Ended::Waiting,
            None => Ended::Kept,
        }
    }

    fn last_of_all(&self, state: &mut State) -> Option<Ended> {
        (state.open == 0)
            .then(|| self.take(state))
            .flatten()
            .map(|finished| Ended::Complete(Box::new(finished)))
    }

    fn take(&self, state: &mut State) -> Option<Finished> {
        let root = state.root.take()?;
        state.flushed = true;
        let (children, live) = (std::mem::take(&mut state.children), std::mem::take(&mut state.live));
        Some(self.finished(root, children, state.profile.take(), live, state.discarded))
    }

    fn finished(
        &self,
        root: SpanData,
        children: Vec<SpanData>,
        profile: Option<Box<Profile>>,
        live: LiveSpans,
        discarded: bool,
    ) -> Finished {
        Finished { root, children, dsc: Arc::clone(&self.dsc), profile, discarded, _live: live }
    }

    /// The latest spans that have ended below the root.
    pub(super) fn latest_ended<T>(&self, count_max: usize, convert: impl Fn(&SpanData) -> T) -> Vec<T> {
        let state = self.state();
        let earlier = state.children.len().saturating_sub(count_max);
        state.children.iter().skip(earlier).map(convert).collect()
    }

    /// Sends no span of the transaction from now on.
    pub(super) fn discard(&self) {
        self.state().discarded = true;
    }

    pub(super) fn is_discarded(&self) -> bool {
        self.state().discarded
    }

    /// Makes the transaction wait for its profile, like for a span. Returns false if it was already sent, or has a profile.
    pub(super) fn hold(&self) -> bool {
        let mut state = self.state();
        if state.flushed || state.abandoned || state.is_held || state.profile.is_some() {
            return false;
        }
        state.is_held = true;
        state.open += 1;
        true
    }

    /// Ends the wait for the profile. Returns the end of the transaction, or the profile if it came too late.
    pub(super) fn release(&self, profile: Option<Box<Profile>>) -> Result<Ended, Option<Box<Profile>>> {
        let mut state = self.state();
        state.is_held = false;
        state.open = state.open.saturating_sub(1);
        if state.flushed {
            return Err(profile);
        }
        state.profile = profile;
        Ok(self.last_of_all(&mut state).unwrap_or(Ended::Kept))
    }

    /// Longest time that the root waits after its end.
    pub(super) fn grace(&self) -> Duration {
        if self.state().is_held { PROFILE_GRACE } else { GRACE }
    }

    /// Lets this profiler record until the root ends.
    pub(super) fn profile_until_end(&self, profiler: Profiler) {
        let mut state = self.state();
        if !state.flushed && state.root.is_none() {
            state.profiler = Some(profiler);
        }
    }

    /// Takes the ended spans without waiting for the open ones.
    pub(super) fn flush(&self) -> Option<Finished> {
        self.take(&mut self.state())
    }

    pub(super) fn is_flushed(&self) -> bool {
        self.state().flushed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_with_a_running_profile_waits_longer() {
        let root = Root::new(SpanId::from(7_u64), SharedContext::default());
        assert_eq!(root.grace(), GRACE);
        assert!(root.hold());
        assert_eq!(root.grace(), PROFILE_GRACE);
        assert!(matches!(root.release(None), Ok(Ended::Kept)));
        assert_eq!(root.grace(), GRACE, "only open spans are left");
    }
}
