//! The bus on a real Kafka: every promise of the crate where it can be seen from outside.

mod admin;
mod backpressure;
mod chaos;
mod consume;
mod dead_letters;
mod handover;
mod health;
mod lag;
mod producing;
mod retry;
mod stopping;
mod support;
mod tailing;
mod traces;
