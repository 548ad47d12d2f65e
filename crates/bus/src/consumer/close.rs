//! Close of a consumer: last commit, outstanding rebalance answers, producer, client. Every step that can block has a deadline.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::Consumer as _;
use tokio::time::{Instant, sleep, timeout, timeout_at};

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
                "the deadline passed before all records were done; they come again"
            );
        }
        self.commit_last().await;
        self.answer_what_is_owed();
        if let Err(error) = self.processor.producer.flush(self.config.close_deadline()).await {
            tracing::warn!("not everything that was published is acknowledged: {error}");
        }
        self.drop_client().await;
        match cause {
            None => Ok(()),
            Some(cause) => Err(cause),
        }
    }

    async fn commit_last(&mut self) {
        let until = Instant::now() + self.config.commit_deadline().min(self.config.close_deadline());
        loop {
            self.start_commit();
            if self.commit.is_none() {
                return; // everything is committed
            }
            let Ok(committed) = timeout_at(until, Commit::ended(&mut self.commit)).await else { break };
            let was_refused = matches!(committed, Committed::Failed(_));
            self.on_committed(committed);
            if was_refused && timeout_at(until, sleep(LAST_COMMIT_PAUSE)).await.is_err() {
                break;
            }
        }
        tracing::warn!("the last commit was not confirmed in time; finished records may come again");
    }

    /// Answers outstanding rebalances, because an unanswered one would keep the client from closing.
    fn answer_what_is_owed(&mut self) {
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
                tracing::debug!(kafka.error = %error, "a rebalance could not be answered while closing");
            }
        }
    }

    /// Leaving the group can hang, so it runs on a blocking thread with a deadline.
    async fn drop_client(self) {
        let deadline: Duration = self.config.close_deadline();
        let client = Arc::clone(&self.client);
        drop(self);
        let closed = telemetry::spawn_blocking(move || drop(client));
        if timeout(deadline, closed).await.is_err() {
            tracing::warn!("the Kafka client did not close in time and is left behind");
        }
    }
}

impl Drop for Owner {
    /// Also needed when `close` did not run to its end: a client that closes with an unanswered rebalance never returns.
    fn drop(&mut self) {
        self.client.context().close();
        self.answer_what_is_owed();
    }
}
