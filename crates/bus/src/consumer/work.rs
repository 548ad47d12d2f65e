//! Intake of records, their completion, and the memory between.

use std::sync::Arc;
use std::time::SystemTime;

use rdkafka::consumer::Consumer as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::context::list_of;
use super::owner::Owner;
use crate::error::ConsumerError;
use crate::lanes::{LaneKey, Lanes, Slot};
use crate::ledger::{Delivered, Epoch, TopicPartition};
use crate::process::{Ended, Job};
use crate::record::Record;

/// A record that waits in its lane.
pub(crate) struct Queued {
    partition: TopicPartition,
    epoch: Epoch,
    cost_bytes: usize,
    record: Arc<Record>,
    received_at: SystemTime,
    leaving: CancellationToken,
}

/// Result that a worker sends at its end.
#[derive(Debug)]
pub(crate) struct Completion {
    slot: Slot,
    partition: TopicPartition,
    epoch: Epoch,
    offset: i64,
    cost_bytes: usize,
    ended: Ended,
}

/// Sends the completion even if the worker panics. A record without a completion would hold its frontier forever.
struct Worker {
    completed: mpsc::Sender<Completion>,
    completion: Option<Completion>,
}

impl Worker {
    fn ended(mut self, ended: Ended) {
        if let Some(completion) = &mut self.completion {
            completion.ended = ended;
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(completion) = self.completion.take() {
            // fails only when the owner is gone, and then no completion is needed
            self.completed.try_send(completion).ok();
        }
    }
}

impl Owner {
    pub(super) fn on_record(&mut self, record: Record) {
        if !self.phase.is_running() {
            return; // not in the ledger, so it is redelivered to the partition's next owner
        }
        let partition = TopicPartition::new(record.topic.as_str(), record.partition);
        if self.is_beyond_damage(&partition, record.offset) {
            return; // it is redelivered after the batch that is unreadable now
        }
        let epoch = match self.ledger.deliver(&partition, record.offset) {
            Delivered::New(epoch) => epoch,
            // seen after incremental assignments: two consecutive polls return the same offsets
            Delivered::Redelivered | Delivered::NotOurs => {
                self.load.dropped();
                tracing::debug!(
                    kafka.partition = %partition,
                    kafka.offset = record.offset,
                    "a record that came again, or of a partition that is not ours, is dropped"
                );
                return;
            }
        };
        self.take_in_hand(partition, epoch, record);
    }

    fn take_in_hand(&mut self, partition: TopicPartition, epoch: Epoch, record: Record) {
        let cost_bytes = record.cost_bytes();
        self.budget.take(&partition, cost_bytes);
        self.load.took();
        self.load.holds(self.budget.records(), self.budget.bytes());
        let ahead = self.ledger.ahead(&partition);
        self.load.is_ahead(ahead);
        let is_full = self.budget.rests(&partition, ahead);
        let lane = Lanes::<Queued>::lane_of(record.key.as_deref(), record.partition, record.offset);
        let leaving = self.leaving.entry(partition.clone()).or_default().clone();
        let received_at = SystemTime::now();
        self.lanes.push(
            lane,
            Queued { partition, epoch, cost_bytes, record: Arc::new(record), received_at, leaving },
        );
        if is_full {
            self.apply_pause();
        }
    }

    /// Starts all work that may start now.
    pub(super) fn dispatch(&mut self) {
        while let Some((slot, queued)) = self.lanes.start() {
            self.working_on[slot] = Some(queued.partition.clone());
            let worker = Worker {
                completed: self.completed.clone(),
                completion: Some(Completion {
                    slot,
                    partition: queued.partition,
                    epoch: queued.epoch,
                    offset: queued.record.offset,
                    cost_bytes: queued.cost_bytes,
                    ended: Ended::Failed(ConsumerError::Invariant("a worker vanished".to_owned())),
                }),
            };
            let job = Job {
                record: queued.record,
                received_at: queued.received_at,
                leaving: queued.leaving,
                watch: Arc::clone(&self.watches[slot]),
            };
            let processor = Arc::clone(&self.processor);
            drop(telemetry::spawn(async move { worker.ended(processor.run(&job).await) }));
        }
    }

    pub(super) fn on_completed(&mut self, completion: Completion) {
        let Completion { slot, partition, epoch, offset, cost_bytes, ended } = completion;
        let lane = self.lanes.finish(slot);
        self.working_on[slot] = None;
        self.budget.give_back(&partition, cost_bytes);
        self.load.holds(self.budget.records(), self.budget.bytes());
        let booked = match &ended {
            Ended::Done => self.ledger.complete(&partition, epoch, offset),
            Ended::Abandoned | Ended::Failed(_) => self.ledger.abandon(&partition, epoch, offset),
        };
        match ended {
            Ended::Done => {}
            // its successors in its lane must not overtake it
            Ended::Abandoned => self.withdraw(|key, queued| {
                key == lane && queued.epoch == epoch && queued.partition == partition
            }),
            Ended::Failed(cause) => {
                self.withdraw(|key, _| key == lane);
                self.begin_stop(Some(cause));
            }
        }
        if let Err(wrong) = booked {
            self.begin_stop(Some(ConsumerError::Invariant(wrong.to_string())));
        }
        if !self.paused.is_empty() {
            self.apply_pause();
        }
    }

    /// Removes waiting records from their lanes and gives them back.
    pub(super) fn withdraw(&mut self, unwanted: impl FnMut(LaneKey, &Queued) -> bool) {
        for queued in self.lanes.withdraw(unwanted) {
            self.budget.give_back(&queued.partition, queued.cost_bytes);
            let booked = self.ledger.abandon(&queued.partition, queued.epoch, queued.record.offset);
            if let Err(wrong) = booked {
                tracing::error!("the books are wrong while giving back records: {wrong}");
            }
        }
    }

    /// Returns true if a partition stands still on purpose. One of its records waits for its next attempt or behind such a
    /// record, or all slots are busy and one of them holds such a record.
    pub(super) fn is_held(&self, partition: &TopicPartition) -> bool {
        let mut holding = (0..self.watches.len()).filter(|slot| self.watches[*slot].is_holding()).peekable();
        if self.lanes.is_saturated() && holding.peek().is_some() {
            return true;
        }
        holding.any(|slot| {
            self.working_on[slot].as_ref() == Some(partition)
                || self.lanes.waits_behind(slot, |queued| queued.partition == *partition)
        })
    }

    /// Gives back the waiting records of partitions that are leaving.
    pub(super) fn withdraw_partitions(&mut self, partitions: &[TopicPartition]) {
        self.withdraw(|_, queued| partitions.contains(&queued.partition));
    }

    /// Pauses or resumes fetching as the budget, a shutdown or damage requires: for all partitions, or for one at its share.
    pub(super) fn apply_pause(&mut self) {
        let Self { phase, budget, paused, ledger, damage, .. } = self;
        let stops = !phase.is_running();
        let rests = |partition: &TopicPartition| {
            budget.rests(partition, ledger.ahead(partition)) || stops || damage.rests(partition)
        };
        let change = paused.change(rests, ledger.fetching());
        if !change.pause.is_empty() {
            self.load.rested();
            tracing::debug!(
                records = self.budget.records(),
                bytes = self.budget.bytes(),
                partitions = change.pause.len(),
                "fetching rests"
            );
            let list = list_of(&change.pause, &self.names);
            self.paused_as_told(self.client.pause(&list));
        }
        self.resume(&change.resume);
    }

    pub(super) fn resume(&self, partitions: &[TopicPartition]) {
        if !partitions.is_empty() {
            let list = list_of(partitions, &self.names);
            self.paused_as_told(self.client.resume(&list));
        }
    }

    /// Logs a refusal only at debug level, because a partition that has just left cannot be paused.
    fn paused_as_told(&self, result: Result<(), rdkafka::error::KafkaError>) {
        if let Err(error) = result {
            tracing::debug!(kafka.error = %error, "pausing or resuming was refused");
        }
    }
}
