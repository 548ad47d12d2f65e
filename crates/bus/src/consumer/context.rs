//! librdkafka's rebalance callback passes events to the owner and never waits.
//!
//! The owner answers assignments and revocations, the latter only when the work is done. The callback answers inline where
//! waiting is wrong or impossible: for partitions that are already lost, for a client that is closing (a deferred answer would
//! block the close forever), and when the owner's channel is full.

use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use tokio::sync::mpsc;

use super::statistics::Reports;
use crate::client_errors;
use crate::clients;
use crate::names::Names;
use crate::offsets::NextOffset;
use crate::partitions::TopicPartition;

/// Decision of the group about our partitions.
#[derive(Debug)]
pub(crate) enum Rebalance {
    /// Assigned, once the owner confirms.
    Assigned(Vec<TopicPartition>),
    /// Revoked. They are given back as soon as their work is done.
    Revoked(Vec<TopicPartition>),
    /// Lost, and already answered. Another member may have them now.
    Lost(Vec<TopicPartition>),
}

/// Passes rebalances from librdkafka to the owner.
pub(crate) struct MemberContext {
    names: Names,
    /// What this consumer reads, for errors that name no topic.
    subscription: String,
    events: mpsc::Sender<Rebalance>,
    closing: AtomicBool,
    reports: Reports,
}

impl MemberContext {
    pub(crate) fn new(names: Names, subscription: String, events: mpsc::Sender<Rebalance>) -> Self {
        let (closing, reports) = (AtomicBool::new(false), Reports::default());
        Self { names, subscription, events, closing, reports }
    }

    /// Returns librdkafka's reports about its reading.
    pub(crate) fn reports(&self) -> &Reports {
        &self.reports
    }

    /// Makes the callback answer every later rebalance inline.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    fn assigned(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) {
        let inline = self.closing.load(Ordering::Acquire)
            || self.events.try_send(Rebalance::Assigned(partitions(list, &self.names))).is_err();
        if inline {
            log_error(consumer.incremental_assign(list), "assigning while closing");
        }
    }

    fn revoked(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) {
        let closing = self.closing.load(Ordering::Acquire);
        let lost = || partitions(list, &self.names);
        if !closing && !consumer.assignment_lost() && self.events.try_send(Rebalance::Revoked(lost())).is_ok()
        {
            return;
        }
        log_error(consumer.incremental_unassign(list), "giving back lost partitions");
        if !closing && self.events.try_send(Rebalance::Lost(lost())).is_err() {
            tracing::error!("the consumer does not process rebalances; restart the process");
        }
    }
}

fn log_error(result: Result<(), KafkaError>, doing: &'static str) {
    if let Err(error) = result {
        tracing::warn!(error = %error, "{doing} failed");
    }
}

impl ClientContext for MemberContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        clients::log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if self.reports.add_error(reason) {
            clients::log_error(&error, reason);
        }
        client_errors::report_read(&error, reason, &self.names, &self.subscription);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.reports.add_statistics(statistics, &self.names);
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

/// Returns the partitions in librdkafka's list. `elements()` must not be called on an empty list.
pub(crate) fn partitions(list: &TopicPartitionList, names: &Names) -> Vec<TopicPartition> {
    if list.count() == 0 {
        return Vec::new();
    }
    let logical = |topic: &str, partition| TopicPartition::new(names.logical(topic), partition);
    list.elements().iter().map(|element| logical(element.topic(), element.partition())).collect()
}

/// Creates a list for librdkafka. Keep it in a local variable: one that outlives the consumer keeps it from closing.
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

/// Creates a list with offsets.
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
