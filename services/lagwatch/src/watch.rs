//! Loop that reads the lag of every group, and the board that keeps the last reading.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bus::CancellationToken;
use bus::lag::{PartitionLag, Reader};
use chassis::ReadyFlag;
use telemetry::metric::{self, Metric};

/// Keeps the last reading.
#[derive(Debug, Default)]
pub(crate) struct Board {
    reading: Mutex<Option<Reading>>,
}

/// Lag of every partition, with the time of the reading.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) lags: Arc<[PartitionLag]>,
    pub(crate) taken_at: Instant,
}

impl Board {
    /// Returns the last reading, unless it is older than `age_max`.
    pub(crate) fn reading(&self, age_max: Duration) -> Option<Reading> {
        let reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner).clone();
        reading.filter(|reading| reading.taken_at.elapsed() <= age_max)
    }

    pub(crate) fn hang(&self, reading: Reading) {
        *self.reading.lock().unwrap_or_else(PoisonError::into_inner) = Some(reading);
    }
}

/// Reads the lag of every group at an interval.
pub(crate) struct Watch {
    reader: Arc<Reader>,
    board: Arc<Board>,
    interval: Duration,
    ready: ReadyFlag,
}

impl Watch {
    pub(crate) fn new(reader: Arc<Reader>, board: Arc<Board>, interval_ms: u64, ready: ReadyFlag) -> Self {
        Self { reader, board, interval: Duration::from_millis(interval_ms), ready }
    }

    /// Runs until `stop` is cancelled. Logs only the first of consecutive failures.
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<(), Infallible> {
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut was_seeing = true;
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = ticks.tick() => {}
            }
            let looked = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                looked = self.reader.read() => looked,
            };
            self.ready.set(looked.is_ok());
            match looked {
                Ok(lags) => {
                    tell(&lags);
                    self.board.hang(Reading { lags: lags.into(), taken_at: Instant::now() });
                    was_seeing = true;
                }
                Err(error) => {
                    if was_seeing {
                        tracing::warn!(error = %error, "lag cannot be read");
                    }
                    was_seeing = false;
                }
            }
        }
    }
}

/// Sets the gauges. The gauge of an unknown age is not changed.
fn tell(lags: &[PartitionLag]) {
    for lag in lags {
        let partition = lag.partition.to_string();
        let labels =
            [("group", lag.group.as_str()), ("topic", lag.topic.as_str()), ("partition", partition.as_str())];
        #[expect(clippy::cast_precision_loss, reason = "a gauge for a graph; a lag beyond 2^53 is no lag")]
        metric::gauge(Metric::ConsumerLagMessages, lag.lag_messages as f64, &labels);
        if let Some(seconds) = lag.lag_seconds {
            metric::gauge(Metric::ConsumerLagSeconds, seconds, &labels);
        }
    }
}
