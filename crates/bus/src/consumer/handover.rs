//! Assignment and revocation of partitions.
//!
//! It guarantees that a revoked partition is given back only after its records in flight are done and the frontier is committed,
//! or after the deadlines have passed. A lost partition is released at once. Its epoch ends, so work that still runs cannot
//! count.

use std::time::Instant;

use rdkafka::consumer::Consumer as _;
use telemetry::metric::{self, Metric};
use tokio_util::sync::CancellationToken;

use super::context::{Rebalance, list_of};
use super::owner::Owner;
use crate::error::ClientError;
use crate::ledger::TopicPartition;

/// Partitions that are being handed over to another member.
#[derive(Debug)]
pub(crate) struct Handover {
    pub(super) partitions: Vec<TopicPartition>,
    deadline: Instant,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
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
            self.own(partition);
        }
        let list = list_of(partitions, &self.names);
        if let Err(source) = self.client.incremental_assign(&list) {
            // rdkafka's own default ignores this error, and then nothing is ever fetched
            let cause = ClientError::Kafka { doing: "taking over partitions", source };
            self.begin_stop(Some(cause.into()));
            return;
        }
        for (partition, position) in self.positions() {
            if position.is_none() && partitions.contains(&partition) {
                self.ledger.is_fresh(&partition);
            }
        }
        tracing::info!(kafka.partitions = partitions.len(), "partitions were assigned");
        metric::count(Metric::BusRebalances, 1, &[("group", self.processor.group.as_str())]);
        self.has_assignment = true;
        self.tell_ready();
        let still_paused = self.paused.came(partitions);
        self.resume(&still_paused);
        self.apply_pause();
    }

    /// Begins the bookkeeping of a partition.
    pub(crate) fn own(&mut self, partition: &TopicPartition) {
        let before = self.leaving.insert(partition.clone(), CancellationToken::new());
        if let Some(token) = before {
            token.cancel();
        }
        self.ledger.assign(partition.clone());
    }

    fn on_revoked(&mut self, partitions: Vec<TopicPartition>) {
        for partition in &partitions {
            self.ledger.leave(partition);
            if let Some(token) = self.leaving.get(partition) {
                token.cancel();
            }
        }
        let deadline = Instant::now() + self.config.revoke_drain_deadline();
        self.handover = Some(Handover { partitions, deadline, phase: Phase::Draining });
    }

    fn on_lost(&mut self, partitions: &[TopicPartition]) {
        tracing::warn!(
            kafka.partitions = partitions.len(),
            "partitions were lost: this member was away too long"
        );
        self.disown(partitions);
        self.handover = None; // librdkafka was already answered
    }

    /// Ends the bookkeeping of partitions. Waiting records are given back, and running ones no longer count.
    fn disown(&mut self, partitions: &[TopicPartition]) {
        self.withdraw_partitions(partitions);
        for partition in partitions {
            if let Some(token) = self.leaving.remove(partition) {
                token.cancel();
            }
            self.ledger.revoke(partition);
            self.damage.forget(partition);
        }
        self.tell_ready();
        self.apply_pause();
    }

    /// Advances a hand-over as far as it can go now.
    pub(super) fn advance_handover(&mut self) {
        let Some(handover) = &self.handover else { return };
        let is_due = Instant::now() >= handover.deadline;
        match handover.phase {
            Phase::Draining => {
                let is_drained =
                    handover.partitions.iter().all(|partition| self.ledger.in_hand(partition) == 0);
                if (is_drained || is_due) && self.commit.is_none() {
                    self.start_commit();
                    let deadline = Instant::now() + self.config.commit_deadline();
                    if let Some(handover) = &mut self.handover {
                        handover.phase = Phase::Committing;
                        handover.deadline = deadline;
                    }
                    self.advance_handover();
                }
            }
            Phase::Committing if self.commit.is_none() || is_due => self.finish_handover(),
            Phase::Committing => {}
        }
    }

    pub(super) fn finish_handover(&mut self) {
        let Some(handover) = self.handover.take() else { return };
        self.disown(&handover.partitions);
        let list = list_of(&handover.partitions, &self.names);
        match self.client.incremental_unassign(&list) {
            Ok(()) => {
                tracing::info!(kafka.partitions = handover.partitions.len(), "partitions were handed over");
            }
            // The group has moved on without this member. The next rebalance states which partitions are ours.
            Err(error) => tracing::warn!(kafka.error = %error, "handing over partitions was refused"),
        }
    }
}
