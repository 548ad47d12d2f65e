//! A loop that does not find its end, until its limit.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use contracts::DebugFault;
use telemetry::spans;
use tracing::Span;

use super::answer::Outcome;
use crate::problem::Problem;

/// Duration of the loop.
const LIMIT: Duration = Duration::from_secs(1);
/// Steps between two looks at the clock.
const STEPS: u64 = 10_000;

#[derive(Debug, thiserror::Error)]
#[error("a loop was ended at its limit of {limit_ms} ms")]
struct LoopEnded {
    limit_ms: u128,
}

/// Runs the loop on a thread for blocking work, so that the listeners of the process still answer. The transaction gets a CPU
/// profile, unless this process has another one now or had one just before.
pub(super) async fn infinite_loop() -> Result<Outcome, Problem> {
    tracing::info!("a loop begins that does not find its end");
    let work = || {
        let profiler = telemetry::profile::start(&Span::current());
        let steps = spans::function("search_without_end").in_scope(|| search_without_end(LIMIT));
        drop(profiler);
        steps
    };
    let steps = telemetry::spawn_blocking(work).await.map_err(|_| Problem::internal())?;
    let error = LoopEnded { limit_ms: LIMIT.as_millis() };
    let event_id = telemetry::report(&error, &[("kind", DebugFault::InfiniteLoop.as_str())]);
    Ok(Outcome { detail: format!("{error}, after {steps} steps"), event_id })
}

/// Searches a number that its sequence never reaches. Returns the number of steps.
#[inline(never)]
fn search_without_end(limit: Duration) -> u64 {
    let (began_at, mut steps, mut value) = (Instant::now(), 0_u64, 1_u64);
    while began_at.elapsed() < limit {
        for _ in 0..STEPS {
            // The sequence has only odd numbers
            value = black_box(value).wrapping_mul(5).wrapping_add(2);
            if value == 0 {
                return steps;
            }
        }
        steps = steps.saturating_add(STEPS);
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_ends_at_its_limit_only() {
        let began_at = Instant::now();
        let limit = Duration::from_millis(20);
        assert!(search_without_end(limit) >= STEPS);
        assert!(began_at.elapsed() >= limit);
    }
}
