//! Loop that reads the lag of every group, and the cache of the last reading.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bus::CancellationToken;
use bus::lag::{Reader, Reading};
use chassis::ReadyFlag;
use telemetry::check_in::Job;

use crate::gauges::{self, Gauges};

/// Keeps the last reading.
#[derive(Debug, Default)]
pub(crate) struct LagCache {
    last: Mutex<Option<Cached>>,
}

/// A reading with its time.
#[derive(Clone, Debug)]
pub(crate) struct Cached {
    pub(crate) reading: Arc<Reading>,
    /// Number of the reading, from 1.
    pub(crate) number: u64,
    pub(crate) first_at: Instant,
    pub(crate) taken_at: Instant,
}

impl LagCache {
    /// Returns the last reading, unless it is older than `age_max`.
    pub(crate) fn get(&self, age_max: Duration) -> Option<Cached> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        last.filter(|cached| cached.taken_at.elapsed() <= age_max)
    }

    /// Replaces the last reading.
    pub(crate) fn set(&self, reading: Reading, taken_at: Instant) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (number, first_at) = match &*last {
            Some(cached) => (cached.number.saturating_add(1), cached.first_at),
            None => (1, taken_at),
        };
        *last = Some(Cached { reading: Arc::new(reading), number, first_at, taken_at });
    }
}

/// Reads the lag of every group at an interval.
pub(crate) struct Watch {
    reader: Arc<Reader>,
    cache: Arc<LagCache>,
    interval: Duration,
    ready: ReadyFlag,
}

impl Watch {
    pub(crate) fn new(reader: Arc<Reader>, cache: Arc<LagCache>, interval_ms: u64, ready: ReadyFlag) -> Self {
        Self { reader, cache, interval: Duration::from_millis(interval_ms), ready }
    }

    /// Runs until `stop` is cancelled. Logs only the first of consecutive failures. A failure removes the gauges of the lag.
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<(), Infallible> {
        let mut job = Job::new("lagwatch-watch", self.interval);
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut gauges = Gauges::default();
        let mut is_failing = false;
        let mut last_success = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = ticks.tick() => {}
            }
            let run = job.begin();
            let attempt = self.reader.reading();
            tokio::pin!(attempt);
            let result = loop {
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    result = &mut attempt => break result,
                    () = tokio::time::sleep(self.interval) => gauges::set_age(last_success.elapsed()),
                }
            };
            job.end(run, result.is_ok());
            self.ready.set(result.is_ok());
            match result {
                Ok(reading) => {
                    gauges.report(&reading);
                    last_success = Instant::now();
                    self.cache.set(reading, last_success);
                    is_failing = false;
                }
                Err(error) => {
                    gauges.clear();
                    if !is_failing {
                        tracing::warn!(error = %error, "the lag of the consumer groups could not be read, retrying");
                    }
                    is_failing = true;
                }
            }
            gauges::set_age(last_success.elapsed());
        }
    }
}
