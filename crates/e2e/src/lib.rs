//! Black-box and chaos tests against the built programs, and the tests that hold the shape of the whole workspace.
//!
//! Everything is under `tests/it`; this library is empty on purpose.
