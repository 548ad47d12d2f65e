//! Close of a consumer: last commit, outstanding rebalance answers, producer, client. All steps together have one deadline.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::Consumer as _;
use tokio::time::{Instant, sleep, timeout_at};

use super::commit::{Commit, Committed};
use super::context::{Rebalance, list_of};
use super::owner::{Owner, Phase};
use crate::error::ConsumerError;

/// Pause between two attempts at the last commit. The broker rejects commits during a rebalance, and uncommitted records are
/// redelivered.
const LAST_COMMIT_PAUSE: Duration = Duration::from_millis(100);

impl Owner {
    pub(super) async fn close(mut self) -> Result<(), ConsumerError> {
        let cause = match std::mem::replace(&mut self.phase, Phase::Closing) {
            Phase::Stopping(stop) => stop.cause,
            Phase::Running | Phase::Closing => None,
        };
        let unfinished = self.lanes.busy() + self.lanes.waiting();
        if unfinished > 0 {
            tracing::warn!(
                records = unfinished,
                "the drain deadline passed before all records were done; the unfinished ones are redelivered"
            );
        }
        let until = Instant::now() + self.config.close_deadline();
        self.commit_last(until).await;
        self.answer_rebalances();
        let left = until.saturating_duration_since(Instant::now());
        if let Err(error) = self.processor.producer.flush(left).await {
            tracing::warn!("some published records were not acknowledged before the close: {error}");
        }
        self.drop_client(until).await;
        match cause {
            None => Ok(()),
            Some(cause) => Err(cause),
        }
    }

    async fn commit_last(&mut self, until: Instant) {
        let until = until.min(Instant::now() + self.config.commit_deadline());
        loop {
            self.start_commit();
            if self.commit.is_none() {
                return; // everything is committed
            }
            let Ok(committed) = timeout_at(until, Commit::finished(&mut self.commit)).await else { break };
            let has_failed = matches!(committed, Committed::Failed(_));
            self.on_committed(committed);
            if has_failed && timeout_at(until, sleep(LAST_COMMIT_PAUSE)).await.is_err() {
                break;
            }
        }
        tracing::warn!("the last commit was not confirmed in time; finished records may be redelivered");
    }

    /// Answers outstanding rebalances, because an unanswered one would keep the client from closing.
    fn answer_rebalances(&mut self) {
        self.finish_handover();
        while let Ok(event) = self.rebalances.try_recv() {
            let answered = match event {
                Rebalance::Assigned(partitions) => {
                    self.client.incremental_assign(&list_of(&partitions, &self.names))
                }
                Rebalance::Revoked(partitions) => {
                    self.client.incremental_unassign(&list_of(&partitions, &self.names))
                }
                Rebalance::Lost(_) => Ok(()),
            };
            if let Err(error) = answered {
                tracing::debug!(error = %error, "a rebalance could not be answered while closing");
            }
        }
    }

    /// Leaving the group can hang, so it runs on a blocking thread with a deadline.
    async fn drop_client(self, until: Instant) {
        let client = Arc::clone(&self.client);
        drop(self);
        let closed = telemetry::spawn_blocking(move || drop(client));
        if timeout_at(until, closed).await.is_err() {
            tracing::warn!("the Kafka client did not close in time and is abandoned");
        }
    }
}

impl Drop for Owner {
    /// Also needed when `close` did not run to its end: a client that closes with an unanswered rebalance never returns.
    fn drop(&mut self) {
        self.client.context().close();
        self.answer_rebalances();
    }
}
