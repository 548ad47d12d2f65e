//! Notification's promises, on real servers and a small mail server of the test's own.

mod big_wins;
mod domain_purity;
mod harness;
mod smtp;
