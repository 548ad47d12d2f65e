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
use crate::offsets::{Offsets, RecordEnd};
use crate::partitions::{Delivered, Epoch, TopicPartition};
use crate::record::Record;
use crate::record_task::{RecordTask, TaskResult};

/// A record that waits in its lane.
pub(crate) struct Queued {
    pub(super) partition: TopicPartition,
    epoch: Epoch,
    cost_bytes: usize,
    record: Arc<Record>,
    received_at: SystemTime,
    cancellation: CancellationToken,
}

/// Result that a worker sends at its end.
#[derive(Debug)]
pub(crate) struct Completion {
    slot: Slot,
    partition: TopicPartition,
    epoch: Epoch,
    offset: i64,
    cost_bytes: usize,
    result: TaskResult,
}

/// Sends the completion even if the worker panics. A record without a completion would hold its frontier forever.
struct Worker {
    completion_sender: mpsc::Sender<Completion>,
    completion: Option<Completion>,
}

impl Worker {
    fn finish(mut self, result: TaskResult) {
        if let Some(completion) = &mut self.completion {
            completion.result = result;
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(completion) = self.completion.take() {
            // Fails only after the owner has ended, and then no completion is needed
            self.completion_sender.try_send(completion).ok();
        }
    }
}

impl Owner {
    pub(super) fn on_record(&mut self, record: Record) {
        if !self.phase.is_running() {
            return; // not registered, so it is redelivered to the partition's next owner
        }
        let partition = TopicPartition::new(record.topic.as_str(), record.partition);
        if self.is_beyond_damage(&partition, record.offset) {
            return; // it is redelivered after the batch that is unreadable now
        }
        if let Some(record) = self.hold_until_due(&partition, record) {
            self.take(partition, record);
        }
    }

    /// Registers a record and puts it into its lane.
    pub(super) fn take(&mut self, partition: TopicPartition, record: Record) {
        self.note_jump(&partition, record.offset);
        let epoch = match self.partitions.deliver(&partition, record.offset) {
            Delivered::New(epoch) => epoch,
            // Seen after incremental assignments: two consecutive polls return the same offsets
            Delivered::Redelivered | Delivered::NotOurs => {
                self.stats.count_dropped();
                tracing::debug!(
                    messaging.destination.name = record.topic,
                    messaging.destination.partition.id = record.partition,
                    messaging.kafka.offset = record.offset,
                    "a redelivered record, or one of a partition that is not assigned here, is dropped"
                );
                return;
            }
        };
        self.enqueue(partition, epoch, record);
    }

    fn enqueue(&mut self, partition: TopicPartition, epoch: Epoch, record: Record) {
        let cost_bytes = record.cost_bytes();
        self.budget.add(&partition, cost_bytes);
        self.stats.count_taken();
        self.stats.set_in_flight(self.budget.records(), self.budget.bytes());
        let ahead = self.partitions.offsets(&partition).map_or(0, Offsets::ahead);
        self.stats.observe_ahead(ahead);
        let is_full = self.budget.must_pause(&partition, ahead);
        let lane = Lanes::<Queued>::lane_of(record.key.as_deref(), record.partition, record.offset);
        let cancellation = self.partitions.cancellation(&partition);
        let received_at = SystemTime::now();
        self.lanes.push(
            lane,
            Queued { partition, epoch, cost_bytes, record: Arc::new(record), received_at, cancellation },
        );
        if is_full {
            self.apply_pause();
        }
    }

    /// Starts all work that may start now.
    pub(super) fn dispatch(&mut self) {
        while let Some((slot, queued)) = self.start_next() {
            self.slot_partitions[slot] = Some(queued.partition.clone());
            let worker = Worker {
                completion_sender: self.completion_sender.clone(),
                completion: Some(Completion {
                    slot,
                    partition: queued.partition,
                    epoch: queued.epoch,
                    offset: queued.record.offset,
                    cost_bytes: queued.cost_bytes,
                    result: TaskResult::Failed(ConsumerError::Invariant("a worker had no result".to_owned())),
                }),
            };
            let task = RecordTask {
                record: queued.record,
                received_at: queued.received_at,
                cancellation: queued.cancellation,
                activity: Arc::clone(&self.activities[slot]),
            };
            let processor = Arc::clone(&self.processor);
            drop(telemetry::spawn(async move { worker.finish(processor.run(&task).await) }));
        }
    }

    pub(super) fn on_completed(&mut self, completion: Completion) {
        let Completion { slot, partition, epoch, offset, cost_bytes, result } = completion;
        let lane = self.lanes.finish(slot);
        self.slot_partitions[slot] = None;
        self.budget.release(&partition, cost_bytes);
        self.stats.set_in_flight(self.budget.records(), self.budget.bytes());
        let end = match &result {
            TaskResult::Done(_) => RecordEnd::Done,
            TaskResult::Abandoned | TaskResult::Failed(_) => RecordEnd::Abandoned,
        };
        let registered = self.partitions.finish(&partition, epoch, offset, end);
        self.count_ended(slot, &result);
        match result {
            TaskResult::Done(_) => {}
            // Its successors in its lane must not overtake it
            TaskResult::Abandoned => self.withdraw(|key, queued| {
                key == lane && queued.epoch == epoch && queued.partition == partition
            }),
            TaskResult::Failed(cause) => {
                self.withdraw(|key, _| key == lane);
                self.begin_stop(Some(cause));
            }
        }
        if let Err(error) = registered {
            self.begin_stop(Some(ConsumerError::Invariant(error.to_string())));
        }
        if self.partitions.is_any_paused() {
            self.apply_pause();
        }
    }

    /// Removes waiting records from their lanes and gives them back.
    pub(super) fn withdraw(&mut self, unwanted: impl FnMut(LaneKey, &Queued) -> bool) {
        for Queued { partition, epoch, cost_bytes, record, .. } in self.lanes.withdraw(unwanted) {
            self.budget.release(&partition, cost_bytes);
            let end = RecordEnd::Abandoned;
            if let Err(error) = self.partitions.finish(&partition, epoch, record.offset, end) {
                tracing::error!("broken invariant while giving back records: {error}");
            }
        }
    }

    /// Returns true if a partition stands still on purpose. The breaker is not closed, or one of its records waits for its next
    /// attempt or behind such a record, or all slots are busy and one of them holds such a record.
    pub(super) fn is_held(&self, partition: &TopicPartition) -> bool {
        if !self.breaker.is_closed() {
            return true;
        }
        let mut holding =
            (0..self.activities.len()).filter(|slot| self.activities[*slot].is_holding()).peekable();
        if self.lanes.is_saturated() && holding.peek().is_some() {
            return true;
        }
        holding.any(|slot| {
            self.slot_partitions[slot].as_ref() == Some(partition)
                || self.lanes.waits_behind(slot, |queued| queued.partition == *partition)
        })
    }

    /// Gives back the waiting records of revoked partitions.
    pub(super) fn withdraw_partitions(&mut self, partitions: &[TopicPartition]) {
        self.withdraw(|_, queued| partitions.contains(&queued.partition));
    }

    /// Pauses or resumes fetching as the budget, a shutdown, damage, the breaker or a record that is not due requires: for all
    /// partitions, or for one.
    pub(super) fn apply_pause(&mut self) {
        let Self { phase, budget, partitions, damage, breaker, due, .. } = self;
        let is_stopping = !phase.is_running();
        let change = partitions.update_pauses(|partition, ahead| {
            budget.must_pause(partition, ahead)
                || is_stopping
                || damage.must_pause(partition)
                || breaker.stops_reading()
                || due.contains(partition)
        });
        if !change.pause.is_empty() {
            self.stats.count_pause();
            tracing::debug!(
                records = self.budget.records(),
                bytes = self.budget.bytes(),
                partitions = change.pause.len(),
                "fetching is paused"
            );
            let list = list_of(&change.pause, &self.names);
            self.log_rejection(self.client.pause(&list));
        }
        self.resume(&change.resume);
    }

    pub(super) fn resume(&self, partitions: &[TopicPartition]) {
        if !partitions.is_empty() {
            let list = list_of(partitions, &self.names);
            self.log_rejection(self.client.resume(&list));
        }
    }

    /// Logs a refusal only at debug level, because a partition that has just left cannot be paused.
    fn log_rejection(&self, result: Result<(), rdkafka::error::KafkaError>) {
        if let Err(error) = result {
            tracing::debug!(error = %error, "librdkafka rejected a pause or resume");
        }
    }
}
