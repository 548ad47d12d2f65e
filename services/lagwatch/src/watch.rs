//! Loop that reads the lag of every group, and the cache of the last reading.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bus::CancellationToken;
use bus::lag::{PartitionLag, Reader};
use chassis::ReadyFlag;
use telemetry::metric::{self, Metric};

/// Keeps the last reading.
#[derive(Debug, Default)]
pub(crate) struct LagCache {
    reading: Mutex<Option<Reading>>,
}

/// Lag of every partition, with the time of the reading.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) lags: Arc<[PartitionLag]>,
    pub(crate) taken_at: Instant,
}

impl LagCache {
    /// Returns the last reading, unless it is older than `age_max`.
    pub(crate) fn get(&self, age_max: Duration) -> Option<Reading> {
        let reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner).clone();
        reading.filter(|reading| reading.taken_at.elapsed() <= age_max)
    }

    pub(crate) fn set(&self, reading: Reading) {
        *self.reading.lock().unwrap_or_else(PoisonError::into_inner) = Some(reading);
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

    /// Runs until `stop` is cancelled. Logs only the first of consecutive failures.
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<(), Infallible> {
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut is_failing = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = ticks.tick() => {}
            }
            let result = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                result = self.reader.read() => result,
            };
            self.ready.set(result.is_ok());
            match result {
                Ok(lags) => {
                    set_gauges(&lags);
                    self.cache.set(Reading { lags: lags.into(), taken_at: Instant::now() });
                    is_failing = false;
                }
                Err(error) => {
                    if !is_failing {
                        tracing::warn!(error = %error, "the lag of the consumer groups could not be read, retrying");
                    }
                    is_failing = true;
                }
            }
        }
    }
}

/// Sets the gauges. The gauge of an unknown age is not changed.
fn set_gauges(lags: &[PartitionLag]) {
    for lag in lags {
        let partition = lag.partition.to_string();
        let labels =
            [("group", lag.group.as_str()), ("topic", lag.topic.as_str()), ("partition", partition.as_str())];
        #[expect(clippy::cast_precision_loss, reason = "a gauge for a graph; no lag exceeds 2^53 records")]
        metric::gauge(Metric::ConsumerLagMessages, lag.lag_messages as f64, &labels);
        if let Some(seconds) = lag.lag_seconds {
            metric::gauge(Metric::ConsumerLagSeconds, seconds, &labels);
        }
    }
}
