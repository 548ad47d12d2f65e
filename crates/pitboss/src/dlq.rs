//! Dead letters as an operator sees them: which are open, what they hold, and what was done with them.
//!
//! `bus::letter` reads and acts. Here are the selection ([`filter`]), the connection ([`desk`]), actions on several
//! letters ([`done`]), the letter with its copies and its last action ([`entry`]), and the output for people ([`render`]).

pub mod desk;
pub mod done;
pub mod entry;
pub mod filter;
pub mod render;
