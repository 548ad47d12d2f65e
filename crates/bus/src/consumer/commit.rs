//! Offset commits: synchronous, off the owner task, one at a time.
//!
//! The failure of an asynchronous commit is never reported, so each commit is synchronous, on a blocking thread. Some commits
//! fail around a rebalance. Their frontiers are kept and committed again at the next tick.

use std::sync::Arc;

use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use telemetry::metric::{self, Metric};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Client;
use super::context::offsets_of;
use super::owner::{Mode, Owner};
use crate::client_errors;
use crate::error::ClientError;
use crate::names::Names;
use crate::offsets::NextOffset;
use crate::partitions::{Epoch, TopicPartition};

/// Number of commits between two checks of the stored offsets. A commit has only one result for all of its partitions.
const VERIFY_EVERY: u64 = 20;

/// Number of consecutive failures after which they are reported. A few are normal while a broker starts.
const REPORTED_AFTER: u32 = 3;

/// Time-out of that check, in milliseconds.
const VERIFY_TIMEOUT_MS: u64 = 5_000;

type Frontiers = Vec<(TopicPartition, Epoch, NextOffset)>;

/// A commit in flight.
pub(crate) struct Commit {
    task: JoinHandle<Committed>,
}

/// Result of a commit.
pub(crate) enum Committed {
    /// The broker stored these frontiers.
    Confirmed(Frontiers),
    /// The broker did not store them. They are committed again.
    Failed(KafkaError),
    /// The commit task ended without a result.
    NoResult,
}

impl Commit {
    /// Waits for the commit in flight, or forever when there is none.
    pub(super) async fn finished(commit: &mut Option<Self>) -> Committed {
        match commit {
            Some(commit) => (&mut commit.task).await.unwrap_or(Committed::NoResult),
            None => std::future::pending().await,
        }
    }
}

impl Owner {
    /// Moves frontiers past offsets at the end of a partition that hold no records (the end of a transaction, aborted
    /// records). No delivery would move the frontier past them, so they would be lag forever.
    pub(super) fn pass_offsets_without_records(&mut self) {
        // During a shutdown received records are dropped, so the reader is ahead of the registered offsets
        if self.phase.is_running() && self.mode == Mode::Member {
            for (partition, position) in self.positions() {
                // The reader is past a record that waits until it is due, but this record is not registered yet
                if let Some(next) = position
                    && !self.damage.contains(&partition)
                    && !self.due.contains(&partition)
                {
                    self.note_jump(&partition, next.0);
                    self.partitions.reach(&partition, next);
                }
            }
        }
    }

    /// Returns the reader's position in each assigned partition, without a request to the broker.
    pub(super) fn positions(&self) -> Vec<(TopicPartition, Option<NextOffset>)> {
        let Ok(list) = self.client.position() else { return Vec::new() };
        if list.count() == 0 {
            return Vec::new();
        }
        let position = |offset| match offset {
            rdkafka::Offset::Offset(next) => Some(NextOffset(next)),
            _ => None,
        };
        let of = |element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
            let partition = TopicPartition::new(self.names.logical(element.topic()), element.partition());
            (partition, position(element.offset()))
        };
        list.elements().iter().map(of).collect()
    }

    /// Commits every frontier that the broker does not have, unless a commit is in flight.
    pub(super) fn start_commit(&mut self) {
        if self.commit.is_some() || self.mode == Mode::Tail {
            return;
        }
        let frontiers = self.partitions.to_commit();
        if frontiers.is_empty() {
            return;
        }
        let ended: Vec<CancellationToken> =
            frontiers.iter().map(|(partition, _, _)| self.partitions.ended(partition)).collect();
        self.commits += 1;
        let verify = self.commits.is_multiple_of(VERIFY_EVERY);
        let (client, names) = (Arc::clone(&self.client), self.names.clone());
        let task =
            telemetry::spawn_blocking(move || commit(&client, &names, owned(frontiers, ended), verify));
        self.commit = Some(Commit { task });
    }

    pub(super) fn on_committed(&mut self, committed: Committed) {
        self.commit = None;
        match committed {
            Committed::Confirmed(frontiers) => {
                self.stats.count_commit();
                self.commits_failed_in_row = 0;
                for (partition, epoch, next) in &frontiers {
                    self.partitions.mark_committed(partition, *epoch, *next);
                }
            }
            Committed::Failed(error) => self.on_commit_failed(error),
            Committed::NoResult => tracing::warn!("a commit ended without a result and is repeated"),
        }
    }

    fn on_commit_failed(&mut self, error: KafkaError) {
        use RDKafkaErrorCode as Code;
        self.stats.count_failed_commit();
        metric::count(Metric::BusCommitFailures, 1, &[("group", self.processor.group.as_str())]);
        match error.rdkafka_error_code() {
            Some(
                Code::IllegalGeneration
                | Code::UnknownMemberId
                | Code::RebalanceInProgress
                | Code::AssignmentLost
                | Code::State
                | Code::NoOffset,
            ) => tracing::debug!(error = %error, "a commit failed during a rebalance and is repeated"),
            Some(Code::FencedInstanceId) => {
                let cause = ClientError::Kafka { doing: "committing offsets", source: error };
                self.begin_stop(Some(cause.into()));
            }
            _ => {
                tracing::warn!(error = %error, "a commit failed and is repeated");
                self.commits_failed_in_row = self.commits_failed_in_row.saturating_add(1);
                if self.commits_failed_in_row >= REPORTED_AFTER {
                    client_errors::report_commit(&error, self.processor.group.as_str());
                }
            }
        }
    }
}

/// Runs on a blocking thread. The lists are local variables: one that outlives the consumer would keep it from closing.
fn commit(client: &Client, names: &Names, frontiers: Frontiers, verify: bool) -> Committed {
    if frontiers.is_empty() {
        return Committed::Confirmed(frontiers);
    }
    let offsets = frontiers.iter().map(|(partition, _, next)| (partition, *next));
    let committed = offsets_of(offsets, names).and_then(|list| {
        client.commit(&list, CommitMode::Sync)?;
        if verify {
            client.committed_offsets(list, std::time::Duration::from_millis(VERIFY_TIMEOUT_MS)).map(Some)
        } else {
            Ok(None)
        }
    });
    match committed {
        Ok(None) => Committed::Confirmed(frontiers),
        Ok(Some(stored)) => Committed::Confirmed(retain_stored(frontiers, &stored, names)),
        Err(error) => Committed::Failed(error),
    }
}

/// Drops frontiers whose assignment has ended since the commit was decided, because their partitions may have other owners.
fn owned(frontiers: Frontiers, ended: Vec<CancellationToken>) -> Frontiers {
    let both = frontiers.into_iter().zip(ended);
    both.filter(|(_, ended)| !ended.is_cancelled()).map(|(frontier, _)| frontier).collect()
}

/// Drops frontiers that the broker did not store, so that they are committed again.
fn retain_stored(mut frontiers: Frontiers, stored: &rdkafka::TopicPartitionList, names: &Names) -> Frontiers {
    frontiers.retain(|(partition, _, next)| {
        let found = stored.find_partition(&names.physical(&partition.topic), partition.partition);
        let has = found.and_then(|element| element.offset().to_raw()).is_some_and(|offset| offset >= next.0);
        if !has {
            tracing::warn!(
                messaging.destination.name = %partition.topic,
                messaging.destination.partition.id = partition.partition,
                messaging.kafka.offset = next.0,
                "the broker confirmed a commit that it did not store; it is repeated"
            );
        }
        has
    });
    frontiers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partitions::Partitions;

    #[test]
    fn offset_of_ended_assignment_is_not_sent() {
        let mut partitions = Partitions::default();
        let mut frontiers = Vec::new();
        let all = [0, 1, 2, 3].map(|number| TopicPartition::new("topic", number));
        for partition in &all {
            frontiers.push((partition.clone(), partitions.assign(partition.clone()), NextOffset(5)));
        }
        let ended = all.iter().map(|partition| partitions.ended(partition)).collect();
        let [kept, leaving, lost, assigned_again] = &all;
        partitions.leave(leaving);
        partitions.cancel_all();
        partitions.revoke(lost);
        partitions.revoke(assigned_again);
        partitions.assign(assigned_again.clone());
        let sent: Vec<TopicPartition> =
            owned(frontiers, ended).into_iter().map(|(partition, _, _)| partition).collect();
        assert_eq!(sent, [kept.clone(), leaving.clone()], "a partition that is leaving is still ours");
    }
}
