//! Framing of Kafka's protocol: the heads of requests and responses, and the requests that wait for a response.
//!
//! Both begin with a length of four bytes. A request continues with API key, API version and correlation id, a response with the
//! correlation id. The broker answers the requests of a connection in their order.

use std::collections::VecDeque;

/// API key of a produce request.
pub(crate) const PRODUCE: i16 = 0;
/// Bytes of a request that are read here.
pub(crate) const REQUEST_HEAD_BYTES: usize = 12;
/// Bytes of a response that are read here.
pub(crate) const RESPONSE_HEAD_BYTES: usize = 8;

/// Largest number of requests of a connection that are remembered. The oldest is forgotten first, and its answer passes unread.
const WAITING_MAX: usize = 1_024;

/// Head of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestHead {
    /// Kind of the request.
    pub(crate) api_key: i16,
    /// Number that the response repeats.
    pub(crate) correlation_id: i32,
    /// Bytes of the request after the head.
    pub(crate) body_bytes: u64,
}

impl RequestHead {
    /// Reads a head. None: no request of Kafka begins like this.
    pub(crate) fn parse(head: [u8; REQUEST_HEAD_BYTES]) -> Option<Self> {
        let [a, b, c, d, key_high, key_low, _, _, e, f, g, h] = head;
        Some(Self {
            api_key: i16::from_be_bytes([key_high, key_low]),
            correlation_id: i32::from_be_bytes([e, f, g, h]),
            body_bytes: body_bytes([a, b, c, d], 8)?,
        })
    }
}

/// Head of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResponseHead {
    /// Number of the request that it answers.
    pub(crate) correlation_id: i32,
    /// Bytes of the response after the head.
    pub(crate) body_bytes: u64,
}

impl ResponseHead {
    /// Reads a head. None: no response of Kafka begins like this.
    pub(crate) fn parse(head: [u8; RESPONSE_HEAD_BYTES]) -> Option<Self> {
        let [a, b, c, d, e, f, g, h] = head;
        Some(Self {
            correlation_id: i32::from_be_bytes([e, f, g, h]),
            body_bytes: body_bytes([a, b, c, d], 4)?,
        })
    }
}

/// Length of a whole frame.
pub(crate) fn frame_bytes(body_bytes: u64, head_bytes: usize) -> u64 {
    body_bytes.saturating_add(u64::try_from(head_bytes).unwrap_or(u64::MAX))
}

fn body_bytes(length: [u8; 4], read_bytes: u64) -> Option<u64> {
    u64::try_from(i32::from_be_bytes(length)).ok()?.checked_sub(read_bytes)
}

/// Requests of one connection that were sent and are not answered yet, in their order.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    requests: VecDeque<(i32, i16)>,
}

impl Waiting {
    /// Adds a request.
    pub(crate) fn add(&mut self, request: &RequestHead) {
        if self.requests.len() >= WAITING_MAX {
            self.requests.pop_front();
        }
        self.requests.push_back((request.correlation_id, request.api_key));
    }

    /// Removes the request of a response, and those before it, which have no response (a produce request without acknowledgement).
    /// Returns its API key, or None if the request is not known.
    pub(crate) fn answered(&mut self, response: &ResponseHead) -> Option<i16> {
        let place = self.requests.iter().position(|(id, _)| *id == response.correlation_id)?;
        self.requests.drain(..place);
        self.requests.pop_front().map(|(_, api_key)| api_key)
    }

    /// Returns true if every remembered request was answered.
    pub(crate) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(api_key: i16, correlation_id: i32) -> RequestHead {
        RequestHead { api_key, correlation_id, body_bytes: 0 }
    }

    fn answer(correlation_id: i32) -> ResponseHead {
        ResponseHead { correlation_id, body_bytes: 0 }
    }

    #[test]
    fn head_of_request_and_response_is_read() {
        let head = RequestHead::parse([0, 0, 1, 2, 0, 3, 0, 9, 0, 0, 0, 7]);
        assert_eq!(head, Some(RequestHead { api_key: 3, correlation_id: 7, body_bytes: 0x102 - 8 }));
        let head = ResponseHead::parse([0, 0, 0, 4, 255, 255, 255, 254]);
        assert_eq!(head, Some(ResponseHead { correlation_id: -2, body_bytes: 0 }));
        assert_eq!(frame_bytes(0x102 - 8, REQUEST_HEAD_BYTES), 0x102 + 4);
    }

    #[test]
    fn impossible_length_is_refused() {
        assert_eq!(RequestHead::parse([0, 0, 0, 7, 0, 3, 0, 9, 0, 0, 0, 7]), None);
        assert_eq!(RequestHead::parse([0x80, 0, 0, 0, 0, 3, 0, 9, 0, 0, 0, 7]), None);
        assert_eq!(ResponseHead::parse([0, 0, 0, 3, 0, 0, 0, 1]), None);
    }

    #[test]
    fn response_finds_its_request() {
        let mut waiting = Waiting::default();
        for (api_key, id) in [(PRODUCE, 1), (3, 2), (PRODUCE, 3), (1, 4)] {
            waiting.add(&request(api_key, id));
        }
        assert_eq!(waiting.answered(&answer(9)), None, "no such request");
        assert_eq!(waiting.answered(&answer(2)), Some(3));
        assert_eq!(waiting.answered(&answer(1)), None, "a request before an answered one has no response");
        assert_eq!(waiting.answered(&answer(3)), Some(PRODUCE));
        assert!(!waiting.is_empty());
        assert_eq!(waiting.answered(&answer(4)), Some(1));
        assert!(waiting.is_empty());
    }

    #[test]
    fn number_of_waiting_requests_is_bounded() {
        let mut waiting = Waiting::default();
        for id in 0..10_000 {
            waiting.add(&request(PRODUCE, id));
        }
        assert_eq!(waiting.requests.len(), WAITING_MAX);
        assert_eq!(waiting.answered(&answer(0)), None);
        assert_eq!(waiting.answered(&answer(9_999)), Some(PRODUCE));
    }
}
