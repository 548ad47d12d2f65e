//! Assignment and revocation of partitions.
//!
//! It guarantees that a revoked partition is given back only after its records in flight are done and the frontier is committed,
//! or after the deadlines have passed. A lost partition is released at once. Its epoch ends, so work that still runs cannot
//! count.

use std::time::Instant;

use rdkafka::consumer::Consumer as _;
use telemetry::metric::{self, Metric};

use super::context::{Rebalance, list_of};
use super::owner::Owner;
use crate::error::ClientError;
use crate::partitions::TopicPartition;

/// Partitions that are being handed over to another member.
#[derive(Debug)]
pub(crate) struct Handover {
    pub(super) partitions: Vec<TopicPartition>,
    deadline: Instant,
    step: Step,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Records in flight finish. No more are taken.
    Draining,
    /// The last frontier is being committed.
    Committing,
}

impl Owner {
    pub(super) fn on_rebalance(&mut self, event: Rebalance) {
        match event {
            Rebalance::Assigned(partitions) => self.on_assigned(&partitions),
            Rebalance::Revoked(partitions) => self.on_revoked(partitions),
            Rebalance::Lost(partitions) => self.on_lost(&partitions),
        }
    }

    fn on_assigned(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            self.partitions.assign(partition.clone());
            // A record of an earlier assignment would hide those before it
            self.due.remove(partition);
        }
        let list = list_of(partitions, &self.names);
        if let Err(source) = self.client.incremental_assign(&list) {
            // rdkafka's own default ignores this error, and then nothing is ever fetched
            let cause = ClientError::Kafka { doing: "accepting assigned partitions", source };
            self.begin_stop(Some(cause.into()));
            return;
        }
        for (partition, position) in self.positions() {
            if position.is_none() && partitions.contains(&partition) {
                self.partitions.mark_fresh(&partition);
            }
        }
        tracing::info!(partitions = partitions.len(), "partitions were assigned");
        metric::count(Metric::BusRebalances, 1, &[("group", self.processor.group.as_str())]);
        self.watch_for_gaps(partitions);
        self.has_assignment = true;
        self.report_ready();
        let still_paused = self.partitions.clear_pauses(partitions);
        self.resume(&still_paused);
        self.apply_pause();
    }

    fn on_revoked(&mut self, partitions: Vec<TopicPartition>) {
        if !self.breaker.is_closed() {
            self.withdraw_partitions(&partitions); // they would not start before the deadline
        }
        for partition in &partitions {
            self.partitions.leave(partition);
        }
        let deadline = Instant::now() + self.config.revoke_drain_deadline();
        self.handover = Some(Handover { partitions, deadline, step: Step::Draining });
    }

    fn on_lost(&mut self, partitions: &[TopicPartition]) {
        tracing::warn!(
            partitions = partitions.len(),
            "partitions were lost: this member was out of contact with its group for too long"
        );
        self.disown(partitions);
        self.handover = None; // librdkafka was already answered
    }

    /// Ends the bookkeeping of partitions. Waiting records are given back, and running ones no longer count.
    fn disown(&mut self, partitions: &[TopicPartition]) {
        self.withdraw_partitions(partitions);
        for partition in partitions {
            self.partitions.revoke(partition);
            self.damage.remove(partition);
            self.gaps.remove(partition);
            self.due.remove(partition);
        }
        self.report_ready();
        self.apply_pause();
    }

    /// Advances a hand-over as far as it can go now.
    pub(super) fn advance_handover(&mut self) {
        let Some(handover) = &self.handover else { return };
        let is_due = Instant::now() >= handover.deadline;
        match handover.step {
            Step::Draining => {
                let is_drained =
                    handover.partitions.iter().all(|partition| self.partitions.in_flight(partition) == 0);
                if (is_drained || is_due) && self.commit.is_none() {
                    self.start_commit();
                    let deadline = Instant::now() + self.config.commit_deadline();
                    if let Some(handover) = &mut self.handover {
                        handover.step = Step::Committing;
                        handover.deadline = deadline;
                    }
                    self.advance_handover();
                }
            }
            Step::Committing if self.commit.is_none() || is_due => self.finish_handover(),
            Step::Committing => {}
        }
    }

    pub(super) fn finish_handover(&mut self) {
        let Some(handover) = self.handover.take() else { return };
        self.disown(&handover.partitions);
        let list = list_of(&handover.partitions, &self.names);
        match self.client.incremental_unassign(&list) {
            Ok(()) => {
                tracing::info!(partitions = handover.partitions.len(), "partitions were handed over");
            }
            // The group has moved on without this member. The next rebalance states which partitions are ours.
            Err(error) => {
                tracing::warn!(error = %error, "librdkafka rejected the hand-over of partitions")
            }
        }
    }
}
