//! One local root and the spans below it, until they can go out together.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use opentelemetry::trace::SpanId;
use opentelemetry_sdk::trace::SpanData;

use super::{Finished, LiveSpans, SPANS_PER_TRANSACTION_MAX};
use crate::dsc::Dsc;

/// A transaction in the making.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) dsc: Arc<Dsc>,
    span_id: SpanId,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Spans begun, the root included.
    begun: u32,
    /// Spans begun and not ended.
    open: u32,
    root: Option<SpanData>,
    children: Vec<SpanData>,
    live: LiveSpans,
    /// It has gone out; what ends now is late.
    flushed: bool,
    /// There was no room for its root: nothing of it goes out.
    abandoned: bool,
}

/// What the end of a span led to.
#[derive(Debug)]
pub(super) enum Ended {
    /// It waits for its root.
    Kept,
    /// It was the root, and spans of it are still open.
    Waiting,
    /// It was the last one.
    Complete(Box<Finished>),
    /// Its transaction had gone out; it goes alone.
    Late(Box<Finished>),
    /// It was the root and there was no room for it; so many children go with it.
    Abandoned(usize),
}

impl Root {
    /// A new transaction whose root has just begun.
    pub(super) fn new(span_id: SpanId, dsc: Arc<Dsc>) -> Self {
        let state = State {
            begun: 1,
            open: 1,
            root: None,
            children: Vec::new(),
            live: LiveSpans::default(),
            flushed: false,
            abandoned: false,
        };
        Self { dsc, span_id, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // whole after every statement
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A span begins below it. `None`: it has gone out, begin another. Else whether there is room for the span.
    pub(super) fn join(&self) -> Option<bool> {
        let mut state = self.state();
        if state.abandoned {
            return Some(false);
        }
        if state.flushed {
            return None;
        }
        state.begun += 1;
        state.open += 1;
        // one place is the root's
        Some(state.begun <= SPANS_PER_TRANSACTION_MAX + 1)
    }

    pub(super) fn end(&self, data: SpanData, live: Option<LiveSpans>) -> Ended {
        let is_root = data.span_context.span_id() == self.span_id;
        let mut state = self.state();
        state.open = state.open.saturating_sub(1);
        let Some(live) = live else {
            if is_root {
                (state.flushed, state.abandoned) = (true, true);
                state.live = LiveSpans::default();
                return Ended::Abandoned(std::mem::take(&mut state.children).len());
            }
            return self.last_of_all(&mut state).unwrap_or(Ended::Kept);
        };
        if state.flushed {
            let alone =
                Finished { root: data, children: Vec::new(), dsc: Arc::clone(&self.dsc), _live: live };
            return Ended::Late(Box::new(alone));
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
        Some(Finished { root, children, dsc: Arc::clone(&self.dsc), _live: live })
    }

    /// What there is, without waiting any longer.
    pub(super) fn flush(&self) -> Option<Finished> {
        self.take(&mut self.state())
    }

    pub(super) fn is_flushed(&self) -> bool {
        self.state().flushed
    }
}
