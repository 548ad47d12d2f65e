//! Publishes events that a dead process left in an outbox. Normally a sweep only reads an empty partial index.

use std::time::Duration;

use contracts::{Classify, ErrorClass};
use telemetry::check_in::Job;
use telemetry::metric::{self, Metric};
use telemetry::spans;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{PlayerDocument, Players};
use crate::config;
use crate::error::UserError;

/// Largest number of parked players. At this number the list is cleared, and all are tried and reported again.
const PARKED_MAX: usize = 1_000;

/// The sweeper of one process.
pub(crate) struct Sweeper {
    players: Players,
    config: config::Sweeper,
    /// Players whose stored outbox cannot be published. They were reported and are skipped until a restart or until there are
    /// [`PARKED_MAX`]. A new version may be able to read them.
    parked: Vec<String>,
}

impl Sweeper {
    pub(crate) fn new(players: Players, config: config::Sweeper) -> Self {
        Self { players, config, parked: Vec::new() }
    }

    /// Sweeps at every interval until `stop`. A transient failure is logged and retried at the next sweep. One player's
    /// contradiction is reported and does not stop the others. A dead producer ends the process.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), UserError> {
        let interval = Duration::from_millis(self.config.interval_ms);
        let mut job = Job::new("user-sweeper", interval);
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = ticks.tick() => {}
            }
            match job.run(self.sweep()).await {
                Ok(()) => {}
                Err(error) if error.class() == ErrorClass::Transient => {
                    tracing::warn!(error = %error, "a sweep for unpublished events failed, retrying at the next interval");
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn sweep(&mut self) -> Result<(), UserError> {
        let due =
            self.players.with_due_events(self.config.age_ms, &self.parked, self.config.batch_max).await?;
        for player in due {
            self.relay_or_park(&player).await?;
        }
        Ok(())
    }

    /// Relays one player. Returns `Err` for a failure that affects all: the store, the broker or the producer.
    async fn relay_or_park(&mut self, player: &PlayerDocument) -> Result<(), UserError> {
        match self.relay(player).await {
            Ok(()) => Ok(()),
            Err(error) if error.class() == ErrorClass::Transient => Err(error),
            Err(UserError::Publish(error)) if error.class() == ErrorClass::Fatal => Err(error.into()),
            Err(error) => {
                telemetry::report(&error, &[("operation", "sweep"), ("player.id", &player.id)]);
                if self.parked.len() >= PARKED_MAX {
                    self.parked.clear();
                }
                self.parked.push(player.id.clone());
                Ok(())
            }
        }
    }

    /// Relays in the trace of the oldest entry, which would otherwise miss its publish.
    async fn relay(&self, player: &PlayerDocument) -> Result<(), UserError> {
        let count = player.outbox.len();
        let oldest = player.outbox.iter().min_by_key(|entry| entry.seq);
        let context = oldest.map(|entry| entry.trace.context()).unwrap_or_default();
        let span = spans::continued("sweep player events", &context);
        let relayed = self.players.relay(player).instrument(span.clone()).await;
        match &relayed {
            Ok(()) => spans::set_ok(&span),
            Err(_) => spans::set_error(&span, spans::Status::Unavailable),
        }
        relayed?;
        if count > 0 {
            tracing::warn!(player.id = player.id, count, "published events that another process had left");
            metric::count(
                Metric::RelaySwept,
                u64::try_from(count).unwrap_or(u64::MAX),
                &[("service", "user")],
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use store::mongo::Mongo;

    use super::super::{Registration, offline};
    use super::*;

    #[tokio::test]
    async fn parked_list_is_cleared_at_its_limit() {
        let mongo = Mongo::connect(&testkit::long_timeouts::mongo("sweeper")).await.unwrap();
        let players = offline::players(&mongo).await;
        let registration =
            Registration::new("ada@players.example".into(), "12345678".into(), "Ada".into(), "EUR");
        let id = players.register("k", &registration.unwrap(), None).await.unwrap();
        let mut damaged = players.find(&id).await.unwrap().unwrap();
        damaged.outbox[0].event.bytes.bytes = vec![0xff; 3];
        let config = config::Sweeper { interval_ms: 1_000, age_ms: 5_000, batch_max: 100 };
        let mut sweeper = Sweeper::new(players, config);
        sweeper.parked = vec!["another".to_owned(); PARKED_MAX - 1];
        for expected in [PARKED_MAX, 1, 2] {
            sweeper.relay_or_park(&damaged).await.unwrap();
            assert_eq!((sweeper.parked.len(), sweeper.parked.last()), (expected, Some(&id)));
        }
        mongo.drop_database().await.unwrap();
    }
}
