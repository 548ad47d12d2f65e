//! What the gateway says, apart from how: pure values, no I/O, no clock.
//!
//! The promise kept here: the answer to one command is the same bytes whichever way it was learnt — from the event, from the
//! cache or from the service that owns it.

pub(crate) mod answer;
pub(crate) mod bet;
pub(crate) mod payment;
pub(crate) mod restriction;
