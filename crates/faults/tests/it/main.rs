//! Integration tests of the faults: the watched file, the reference page, and the code that reads
//! the faults.
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside test functions")]

mod readers;
mod reference;
mod watching;
