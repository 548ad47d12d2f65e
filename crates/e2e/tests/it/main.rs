//! One binary for all tests of the workspace as a whole and of the running platform from outside.
#![allow(missing_docs, reason = "tests are named for what they hold")]

mod platform;
mod workspace;
