//! What waits to be sent, what is on its way, and the bounds of both.

use std::collections::{HashMap, VecDeque};

use super::{Limits, Outgoing};
use crate::drop_count::{Category, Reason};

type Losses = Vec<(Category, u64)>;

/// The queue; its owner guards it with a mutex held for moments.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Outgoing>,
    bytes: usize,
    in_flight: HashMap<u64, Losses>,
    last_ticket: u64,
    closed: bool,
    /// A flush wants the losses so far reported without delay.
    pub(super) report_now: bool,
}

/// An envelope taken for sending; [`Queue::settle`] ends it.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) ticket: u64,
    pub(super) outgoing: Outgoing,
}

impl Queue {
    pub(super) fn push(&mut self, outgoing: Outgoing, limits: &Limits) -> Result<(), (Outgoing, Reason)> {
        if self.closed {
            return Err((outgoing, Reason::Shutdown));
        }
        let full = self.waiting.len() >= limits.queue_envelopes_max
            || self.bytes + outgoing.bytes.len() > limits.queue_bytes_max;
        if full {
            return Err((outgoing, Reason::QueueOverflow));
        }
        self.bytes += outgoing.bytes.len();
        self.waiting.push_back(outgoing);
        Ok(())
    }

    pub(super) fn take(&mut self) -> Option<Taken> {
        let outgoing = self.waiting.pop_front()?;
        self.bytes -= outgoing.bytes.len();
        Some(self.track(outgoing))
    }

    /// Counts something as on its way that was never queued (a client report).
    pub(super) fn track(&mut self, outgoing: Outgoing) -> Taken {
        self.last_ticket += 1;
        self.in_flight.insert(self.last_ticket, outgoing.losses.clone());
        Taken { ticket: self.last_ticket, outgoing }
    }

    /// It is answered for. `false`: the queue was closed meanwhile, and it has been counted as dropped already.
    pub(super) fn settle(&mut self, ticket: u64) -> bool {
        self.in_flight.remove(&ticket).is_some()
    }

    /// Nothing reached the server: it goes first next time. Above the bound by what was in flight, and no more.
    pub(super) fn put_back(&mut self, taken: Taken) {
        if self.settle(taken.ticket) {
            self.bytes += taken.outgoing.bytes.len();
            self.waiting.push_front(taken.outgoing);
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.in_flight.is_empty()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes nothing more, and gives up what there is.
    pub(super) fn close(&mut self) -> Vec<Losses> {
        self.closed = true;
        self.bytes = 0;
        let waiting = std::mem::take(&mut self.waiting).into_iter().map(|outgoing| outgoing.losses);
        waiting
            .chain(std::mem::take(&mut self.in_flight).into_values())
            .filter(|losses| !losses.is_empty())
            .collect()
    }
}
