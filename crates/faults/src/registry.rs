//! The definitions, one file for each service that breaks.

pub(crate) mod analytics;
pub(crate) mod consumer;
pub(crate) mod game;
pub(crate) mod notification;
pub(crate) mod payment;
pub(crate) mod user;

/// Alert conditions of the catalogue.
mod alert {
    pub(super) const PAYMENT_FAILURES: &str = "payment failures above 5 %";
    pub(super) const LATENCY_P95: &str = "p95 above 500 ms";
    pub(super) const ERROR_RATE: &str = "error rate above 1 %";
    pub(super) const CONSUMER_LAG: &str = "consumer lag";
}

#[cfg(test)]
mod tests;
