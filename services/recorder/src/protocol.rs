//! What an envelope means, without any I/O, clock or task.
//!
//! Promise: arbitrary bytes never panic here and never cost more than their own length; what is not understood is
//! named (and kept by the journal anyway), never guessed.

pub mod auth;
pub mod digest;
pub mod envelope;
pub mod event;
pub mod grouping;
pub mod lenient;
pub mod timestamp;
pub mod trace;
