//! The bus on a real Kafka: every guarantee of the crate that is visible from outside.

mod admin;
mod backpressure;
mod chaos;
mod codecs;
mod consume;
mod damage;
mod dead_letters;
mod handover;
mod health;
mod hooks;
mod lag;
mod producing;
mod proxy;
mod retry;
mod stopping;
mod stuck;
mod support;
mod tailing;
mod times;
mod traces;
mod transactions;
