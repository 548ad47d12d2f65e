//! The scenarios, one file each. A new one is a file here, its `mod` line and its arm in [`scenario`].

mod alerts;
mod blind;
mod business_metrics;
mod errors;
mod lag;
mod notification_drills;
mod performance;
mod queues_dashboard;
mod tracing;

use super::Scenario;

/// All scenarios. `seed` chooses the fault of the blind one.
#[must_use]
pub fn all(seed: u64) -> Vec<Scenario> {
    let scenarios = [
        tracing::scenario(),
        performance::scenario(),
        errors::scenario(),
        business_metrics::scenario(),
        lag::scenario(),
        notification_drills::scenario(),
        queues_dashboard::scenario(),
        alerts::scenario(),
    ];
    scenarios.into_iter().chain(blind::scenario(seed, true)).collect()
}

/// A scenario by its name. `seed` chooses the fault of the blind one, among those that the platform can apply.
#[must_use]
pub fn scenario(name: &str, seed: u64, has_supervisor: bool) -> Option<Scenario> {
    if name == blind::NAME {
        return blind::scenario(seed, has_supervisor);
    }
    all(seed).into_iter().find(|scenario| scenario.name == name)
}

#[cfg(test)]
mod tests;
