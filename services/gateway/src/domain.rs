//! Content of the gateway's answers and the admission of bets, as pure values without I/O and without a clock.
//!
//! It guarantees that the answer to a command has the same bytes from every source: the event, the cache, or the service that
//! owns the outcome.

pub(crate) mod answer;
pub(crate) mod bet;
pub(crate) mod overload;
pub(crate) mod pay_table;
pub(crate) mod payment;
pub(crate) mod player;
pub(crate) mod restriction;
