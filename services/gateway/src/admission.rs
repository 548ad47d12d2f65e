//! Admission of bets: the state machine of `domain::overload` with this process's clock, its metrics and its log.

use std::{
    convert::Infallible,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use chassis::problem::Problem;
use contracts::EventId;
use http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use telemetry::{
    check_in::Job,
    metric::{self, Metric},
    spans,
};
use tokio_util::sync::CancellationToken;
use tracing::Span;

use crate::{
    config::Bets,
    domain::overload::{Change, Overload, RETRY_AFTER_MAX_S, Refusal, Rules},
};

/// Last part of the problem's type, and the error type of the request's span.
const OVERLOADED: &str = "overloaded";
/// Interval of the gauges. The end of an overload without further bets is found as often.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Largest wait from which the spread begins, in seconds. Longer waits are spread from here to the limit.
const SPREAD_FROM_MAX_S: u64 = 20;

/// Decides which bets are accepted.
#[derive(Debug)]
pub(crate) struct Admission {
    started: Instant,
    overload: Mutex<Overload>,
}

impl Admission {
    pub(crate) fn new(bets: &Bets) -> Self {
        let rules = Rules {
            in_flight_min: bets.in_flight_min,
            slow_ratio: bets.slow_ratio,
            after: Duration::from_millis(bets.overload_after_ms),
            wait: Duration::from_millis(bets.wait_ms),
        };
        Self { started: Instant::now(), overload: Mutex::new(Overload::new(rules)) }
    }

    /// Admits a new bet, or refuses it. A refused bet must not be published.
    pub(crate) fn admit(&self, id: &EventId) -> Result<(), Refusal> {
        self.with(|overload, now| overload.admit(id, now))
    }

    /// Admits a bet that was accepted before. It is never refused.
    pub(crate) fn admit_known(&self, id: &EventId) {
        self.with(|overload, now| overload.admit_known(id, now));
    }

    /// Counts an outcome. It ignores the ids of other commands, and of bets that other instances accepted.
    pub(crate) fn decided(&self, id: &str) {
        if let Ok(id) = id.parse::<EventId>() {
            self.with(|overload, now| overload.decided(&id, now));
        }
    }

    /// Does not measure a bet that game answered alone. Such an answer comes sooner than that of any other bet, so its time must not
    /// become the one that the others are compared with.
    pub(crate) fn answered_early(&self, id: &str) {
        if let Ok(id) = id.parse::<EventId>() {
            self.with(|overload, now| overload.answered_early(&id, now));
        }
    }

    /// Forgets a bet that was admitted and not published.
    pub(crate) fn cancel(&self, id: &EventId) {
        self.with(|overload, _| overload.cancel(id));
    }

    /// Expects no outcome of a bet that the broker has not acknowledged in time.
    pub(crate) fn unacknowledged(&self, id: &EventId) {
        self.with(|overload, _| overload.unacknowledged(id));
    }

    /// Sets the gauges at an interval until the shutdown.
    pub(crate) async fn report(&self, stop: CancellationToken) -> Result<(), Infallible> {
        let mut job = Job::new("gateway-admission", REPORT_INTERVAL);
        loop {
            let run = job.begin();
            let (in_flight, limit) = self.with(|overload, now| {
                overload.advance(now);
                (overload.in_flight(), overload.limit())
            });
            metric::gauge(Metric::BetsInFlight, in_flight as f64, &[]);
            match limit {
                Some(limit) => metric::gauge(Metric::BetsInFlightLimit, limit as f64, &[]),
                None => metric::remove_gauge(Metric::BetsInFlightLimit, &[]),
            }
            job.end(run, true);
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(REPORT_INTERVAL) => {}
            }
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Overload, Duration) -> T) -> T {
        // A poisoned lock is safe to use: no code panics under it.
        let mut overload = self.overload.lock().unwrap_or_else(PoisonError::into_inner);
        let result = work(&mut overload, self.started.elapsed());
        let changes = [overload.take_change(), overload.take_change()];
        drop(overload);
        changes.into_iter().flatten().for_each(log);
        result
    }
}

/// Answers a refused bet. Without `is_recorded` it gets no transaction.
pub(crate) fn problem(refusal: Refusal, is_recorded: bool) -> Problem {
    metric::count(Metric::BetsRefused, 1, &[]);
    spans::set_attr(&Span::current(), telemetry::attributes::ERROR_TYPE, OVERLOADED);
    let title = "More bets arrive than can be decided";
    let detail = "this request was not accepted and has no effect: repeat it with the same Idempotency-Key";
    let wait_s = spread_s(refusal.retry_after_s, rand::random());
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, OVERLOADED, title)
        .detail(detail)
        .header(RETRY_AFTER, HeaderValue::from(wait_s));
    if is_recorded { problem } else { problem.unrecorded() }
}

/// Lengthens a wait by up to its length, as far as the limit allows, so that refused clients do not all return at the same time. Near
/// the limit the spread begins earlier instead. `random` is from 0 up to 1.
fn spread_s(wait_s: u64, random: f64) -> u64 {
    let (shortest_s, longest_s) =
        (wait_s.min(SPREAD_FROM_MAX_S), wait_s.saturating_mul(2).min(RETRY_AFTER_MAX_S));
    let longer_s = longest_s.saturating_sub(shortest_s);
    // All seconds are equally likely, the longest too.
    let added_s = (random * (longer_s as f64 + 1.0)) as u64;
    shortest_s.saturating_add(added_s.min(longer_s))
}

/// Logs a change once, so that an overload has two lines and not one for each refused bet.
fn log(change: Change) {
    match change {
        Change::Began { limit, rate_per_s } => tracing::warn!(
            "overload: {rate_per_s:.0} bets a second are decided and more arrive, so bets are refused while {limit} are in flight"
        ),
        Change::Ended { refused, lasted } => {
            tracing::info!("the overload is over after {} s: {refused} bets were refused", lasted.as_secs());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_is_spread_up_to_twice_and_the_limit() {
        let ends = |wait_s| (spread_s(wait_s, 0.0), spread_s(wait_s, 0.999));
        assert_eq!(ends(1), (1, 2));
        assert_eq!(ends(10), (10, 20));
        assert_eq!(ends(20), (20, 30));
        assert_eq!(ends(25), (20, 30));
        assert_eq!(ends(30), (20, 30), "clients that wait the longest come back at different times, too");
        assert_eq!(spread_s(1, 0.5), 2, "each second is as likely as the other");
    }
}
