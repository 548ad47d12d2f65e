//! The bus on a real Kafka: every guarantee of the crate that is visible from outside.

mod admin;
mod backpressure;
mod breaker;
mod chaos;
mod codecs;
mod consume;
mod damage;
mod dead_letters;
mod disturb;
mod gaps;
mod handover;
mod health;
mod hooks;
mod lag;
mod letters;
mod producing;
mod proxy;
mod retry;
mod retry_topics;
mod stopping;
mod stuck;
mod support;
mod tailing;
mod times;
mod traces;
mod transactions;
