//! Envelopes that are queued or in flight, and the limits of both.
//!
//! There are two lanes. Errors, check-ins and sessions have priority, with room and requests that spans, logs and metrics
//! cannot use. A full lane drops its oldest envelope, because newer ones describe the current state better.

use std::collections::{HashMap, VecDeque};

use super::{Limits, Outgoing};
use crate::drop_count::{Category, Reason};

type Losses = Vec<(Category, u64)>;

/// The queue. Its owner protects it with a mutex that is held only for moments.
#[derive(Debug, Default)]
pub(super) struct Queue {
    first: Lane,
    rest: Lane,
    in_flight: HashMap<u64, Flying>,
    last_ticket: u64,
    closed: bool,
    /// A flush wants the losses so far reported without delay.
    pub(super) report_now: bool,
}

#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<Outgoing>,
    bytes: usize,
}

#[derive(Debug)]
struct Flying {
    losses: Losses,
    is_first: bool,
}

/// An envelope taken for sending. [`Queue::settle`] or [`Queue::put_back`] must follow.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) ticket: u64,
    pub(super) outgoing: Outgoing,
}

/// Dropped envelopes, and the reasons.
pub(super) type Lost = Vec<(Outgoing, Reason)>;

impl Lane {
    /// Appends the envelope and drops the oldest ones if there is no room.
    fn push(&mut self, outgoing: Outgoing, envelopes_max: usize, bytes_max: usize) -> Lost {
        if outgoing.bytes.len() > bytes_max || envelopes_max == 0 {
            return vec![(outgoing, Reason::QueueOverflow)];
        }
        let mut lost = Lost::new();
        while self.waiting.len() >= envelopes_max || self.bytes + outgoing.bytes.len() > bytes_max {
            let Some(oldest) = self.pop() else { break };
            lost.push((oldest, Reason::QueueOverflow));
        }
        self.bytes += outgoing.bytes.len();
        self.waiting.push_back(outgoing);
        lost
    }

    fn put_back(&mut self, outgoing: Outgoing) {
        self.bytes += outgoing.bytes.len();
        self.waiting.push_front(outgoing);
    }

    fn pop(&mut self) -> Option<Outgoing> {
        let outgoing = self.waiting.pop_front()?;
        self.bytes -= outgoing.bytes.len();
        Some(outgoing)
    }

    fn drain(&mut self) -> impl Iterator<Item = Outgoing> + use<> {
        self.bytes = 0;
        std::mem::take(&mut self.waiting).into_iter()
    }
}

impl Queue {
    /// Queues the envelope. Returns the dropped envelopes, which are older ones or this one.
    pub(super) fn push(&mut self, outgoing: Outgoing, limits: &Limits) -> Lost {
        if self.closed {
            return vec![(outgoing, Reason::Shutdown)];
        }
        if outgoing.goes_first() {
            self.first.push(outgoing, limits.first_envelopes_max, limits.first_bytes_max)
        } else {
            self.rest.push(outgoing, limits.queue_envelopes_max, limits.queue_bytes_max)
        }
    }

    /// The next envelope to send. The low-priority lane is used only while enough requests stay free for the other lane.
    pub(super) fn take(&mut self, limits: &Limits) -> Option<Taken> {
        let outgoing = match self.first.pop() {
            Some(first) => first,
            None => {
                let of_rest = self.in_flight.values().filter(|flying| !flying.is_first).count();
                let most = limits.in_flight_max.saturating_sub(limits.first_in_flight_min).max(1);
                if of_rest >= most {
                    return None;
                }
                self.rest.pop()?
            }
        };
        Some(self.track(outgoing))
    }

    /// Counts an envelope as in flight that was never queued (a client report).
    pub(super) fn track(&mut self, outgoing: Outgoing) -> Taken {
        self.last_ticket += 1;
        let flying = Flying { losses: outgoing.losses.clone(), is_first: outgoing.goes_first() };
        self.in_flight.insert(self.last_ticket, flying);
        Taken { ticket: self.last_ticket, outgoing }
    }

    /// Ends the flight. Returns false if the queue was closed meanwhile, which has already counted the envelope as dropped.
    pub(super) fn settle(&mut self, ticket: u64) -> bool {
        self.in_flight.remove(&ticket).is_some()
    }

    /// Puts the envelope back to the front of its lane. The lane may exceed its limit by the envelopes that were in flight.
    pub(super) fn put_back(&mut self, taken: Taken) {
        if self.settle(taken.ticket) {
            let lane = if taken.outgoing.goes_first() { &mut self.first } else { &mut self.rest };
            lane.put_back(taken.outgoing);
        }
    }

    /// Removes everything that is queued, to be counted as lost.
    pub(super) fn drain(&mut self) -> Vec<Outgoing> {
        self.first.drain().chain(self.rest.drain()).collect()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.first.waiting.is_empty() && self.rest.waiting.is_empty() && self.in_flight.is_empty()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Closes the queue and returns the losses of everything that is queued or in flight.
    pub(super) fn close(&mut self) -> Vec<Losses> {
        self.closed = true;
        let waiting = self.drain().into_iter().map(|outgoing| outgoing.losses);
        waiting
            .chain(std::mem::take(&mut self.in_flight).into_values().map(|flying| flying.losses))
            .filter(|losses| !losses.is_empty())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            queue_envelopes_max: 3,
            queue_bytes_max: 100,
            first_envelopes_max: 2,
            first_bytes_max: 100,
            in_flight_max: 4,
            first_in_flight_min: 2,
            ..Limits::default()
        }
    }

    fn of(category: Category, name: u8, bytes: usize) -> Outgoing {
        Outgoing::new(category, vec![name; bytes], vec![(category, 1)])
    }

    fn names(lost: &Lost) -> Vec<u8> {
        lost.iter().map(|(outgoing, _)| outgoing.bytes[0]).collect()
    }

    #[test]
    fn errors_have_own_room_and_go_first() {
        let (mut queue, limits) = (Queue::default(), limits());
        for name in 0..3 {
            assert!(queue.push(of(Category::Transaction, name, 10), &limits).is_empty());
        }
        assert!(queue.push(of(Category::Error, 9, 10), &limits).is_empty());
        assert!(queue.push(of(Category::Monitor, 8, 10), &limits).is_empty());
        let order: Vec<u8> =
            std::iter::from_fn(|| queue.take(&limits)).map(|taken| taken.outgoing.bytes[0]).collect();
        assert_eq!(order, [9, 8, 0, 1], "and two requests are kept free");
        assert!(queue.push(of(Category::Error, 7, 10), &limits).is_empty());
        assert_eq!(queue.take(&limits).map(|taken| taken.outgoing.bytes[0]), Some(7));
    }

    #[test]
    fn full_lane_drops_its_oldest() {
        let (mut queue, limits) = (Queue::default(), limits());
        queue.push(of(Category::Error, 9, 10), &limits);
        let lost: Vec<Vec<u8>> =
            (0..5).map(|name| names(&queue.push(of(Category::Transaction, name, 10), &limits))).collect();
        assert_eq!(lost, [vec![], vec![], vec![], vec![0], vec![1]]);
        // By bytes as by number
        assert_eq!(names(&queue.push(of(Category::LogItem, 6, 85), &limits)), [2, 3]);
        assert_eq!(names(&queue.push(of(Category::LogItem, 7, 101), &limits)), [7], "never fits");
        queue.push(of(Category::Error, 8, 10), &limits);
        assert_eq!(names(&queue.push(of(Category::Session, 5, 10), &limits)), [9], "errors too");
    }

    #[test]
    fn returned_envelope_goes_first_in_lane() {
        let (mut queue, limits) = (Queue::default(), limits());
        queue.push(of(Category::Error, 1, 10), &limits);
        queue.push(of(Category::Error, 2, 10), &limits);
        let taken = queue.take(&limits).unwrap();
        queue.put_back(taken);
        assert_eq!(queue.take(&limits).unwrap().outgoing.bytes[0], 1);
        assert_eq!(queue.close().len(), 2, "one waits, one is in flight");
    }
}
