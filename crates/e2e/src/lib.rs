//! Black-box and chaos tests against the built programs, and tests of the shape of the whole workspace.
//!
//! All tests are under `tests`. This library is empty on purpose.
