//! Alerts: when a rule fires and ends, and which findings become one alert.
//!
//! [`Condition`] is the state of one rule in one project. What it and others find are [`Finding`]s. [`Book`] folds them into
//! [`Alert`]s. All of it depends on its arguments only, so a simulated day is a test.

mod book;
mod condition;
mod finding;

#[cfg(test)]
mod day;

pub use book::{ALERTS_MAX, ALERTS_PER_DAY_MAX, Alert, AlertState, Book, Entry};
pub use condition::{Change, Condition, Phase};
pub use finding::{Finding, FoldedBy, Origin, key};
