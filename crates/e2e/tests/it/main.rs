//! One binary for all tests that look at the workspace as a whole or at the running platform from outside.
#![allow(missing_docs, reason = "tests are named for what they hold")]

mod platform;
mod workspace;
