//! librdkafka's side of a rebalance: the callback says what happened and never waits.
//!
//! An assignment and a revocation are answered by the owner, the latter only when the work is done. Inline are only the
//! two cases in which waiting would be wrong: partitions that are lost already, and a client that is closing (a deferred
//! answer would keep the close from ever returning).

use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use tokio::sync::mpsc;

use super::statistics::Reports;
use crate::clients;
use crate::ledger::{NextOffset, TopicPartition};
use crate::names::Names;

/// What the group decided about our partitions.
#[derive(Debug)]
pub(crate) enum Rebalance {
    /// Ours as soon as we say so.
    Assigned(Vec<TopicPartition>),
    /// To be given back as soon as we can.
    Revoked(Vec<TopicPartition>),
    /// Gone, and answered: somebody else may have them already.
    Lost(Vec<TopicPartition>),
}

/// Passes rebalances from librdkafka to the owner.
pub(crate) struct MemberContext {
    names: Names,
    events: mpsc::Sender<Rebalance>,
    closing: AtomicBool,
    reports: Reports,
}

impl MemberContext {
    pub(crate) fn new(names: Names, events: mpsc::Sender<Rebalance>) -> Self {
        Self { names, events, closing: AtomicBool::new(false), reports: Reports::default() }
    }

    /// What librdkafka says about its reading.
    pub(crate) fn reports(&self) -> &Reports {
        &self.reports
    }

    /// From here on every rebalance is answered inline.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    fn assigned(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) {
        let inline = self.closing.load(Ordering::Acquire)
            || self.events.try_send(Rebalance::Assigned(partitions(list, &self.names))).is_err();
        if inline {
            answered(consumer.incremental_assign(list), "assigning while closing");
        }
    }

    fn revoked(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) {
        let closing = self.closing.load(Ordering::Acquire);
        let gone = || partitions(list, &self.names);
        if !closing && !consumer.assignment_lost() && self.events.try_send(Rebalance::Revoked(gone())).is_ok()
        {
            return;
        }
        answered(consumer.incremental_unassign(list), "giving back lost partitions");
        if !closing && self.events.try_send(Rebalance::Lost(gone())).is_err() {
            tracing::error!("the owner of the consumer does not take rebalances");
        }
    }
}

fn answered(result: Result<(), KafkaError>, doing: &'static str) {
    if let Err(error) = result {
        tracing::warn!(kafka.error = %error, "{doing} failed");
    }
}

impl ClientContext for MemberContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        clients::log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if self.reports.complain(reason) {
            clients::log_error(&error, reason);
        }
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.reports.read(statistics, &self.names);
    }
}

impl ConsumerContext for MemberContext {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.assigned(consumer, list);
        } else {
            self.revoked(consumer, list);
        }
    }
}

/// The partitions in librdkafka's list. `elements()` must not be asked of an empty one.
pub(crate) fn partitions(list: &TopicPartitionList, names: &Names) -> Vec<TopicPartition> {
    if list.count() == 0 {
        return Vec::new();
    }
    let own = |topic: &str, partition| TopicPartition::new(names.logical(topic), partition);
    list.elements().iter().map(|element| own(element.topic(), element.partition())).collect()
}

/// A list for librdkafka. Always a local of the caller: one that outlives the consumer keeps its close from returning.
pub(crate) fn list_of<'a>(
    partitions: impl IntoIterator<Item = &'a TopicPartition>,
    names: &Names,
) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition(&names.physical(&partition.topic), partition.partition);
    }
    list
}

/// A list with offsets.
pub(crate) fn offsets_of<'a>(
    offsets: impl IntoIterator<Item = (&'a TopicPartition, NextOffset)>,
    names: &Names,
) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::new();
    for (partition, next) in offsets {
        let physical = names.physical(&partition.topic);
        list.add_partition_offset(&physical, partition.partition, Offset::Offset(next.0))?;
    }
    Ok(list)
}
