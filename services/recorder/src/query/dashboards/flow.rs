//! Flow of records through topics: published × groups that handle it + redelivered = processed + skipped.
//!
//! A record has a place, which is its partition and offset. A publish with an offset was acknowledged. A second `queue.process`
//! of one group at one place is a redelivery. A record that its group has no handler for has no span, but it is counted by a metric.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    offsets::{Added, Offsets, RangesLeft},
    rows::Rows,
};
use crate::protocol::{
    envelope::Item,
    fields,
    signals::{self, Attributes},
    spans::SpanAttributes,
};

/// Attribute with the topic.
pub(super) const DESTINATION: &str = "messaging.destination.name";
/// Attribute with the consumer group.
const GROUP: &str = "messaging.consumer.group.name";
const PARTITION: &str = "messaging.destination.partition.id";
const OFFSET: &str = "messaging.kafka.offset";
/// Metric of the records that their group has no handler for.
const SKIPPED: &str = "pitboss.bus.records.skipped";
/// Largest number of ranges of offsets that one query keeps.
const RANGES_MAX: usize = 100_000;
/// Largest number of partitions or of groups of one topic.
const PARTS_MAX: usize = 256;

/// Records of one topic.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Flow {
    /// Distinct records whose publish was acknowledged.
    pub(crate) acknowledged: u64,
    /// Publishes without an offset: refused, not acknowledged in time, or of a producer that does not tell it.
    pub(crate) without_offset: u64,
    /// Groups that handled or skipped records of the topic.
    pub(crate) groups: Vec<GroupFlow>,
}

/// Records of one topic in one consumer group.
#[derive(Debug, Default, Serialize)]
pub(crate) struct GroupFlow {
    /// Name of the group. Empty when the consumer does not tell it.
    pub(crate) group: String,
    /// Number of `queue.process` spans.
    pub(crate) processed: u64,
    /// Records without a handler in the group.
    pub(crate) skipped: u64,
    /// `queue.process` spans of a record that the group had already handled.
    pub(crate) redelivered: u64,
    /// Acknowledged + redelivered − processed − skipped: 0 when every record was handled or skipped.
    pub(crate) missing: i64,
}

#[derive(Debug, Default)]
struct Group {
    processed: u64,
    skipped: f64,
    redelivered: u64,
    places: BTreeMap<String, Offsets>,
}

#[derive(Debug, Default)]
struct TopicFlow {
    acknowledged: u64,
    without_offset: u64,
    published: BTreeMap<String, Offsets>,
    groups: BTreeMap<String, Group>,
}

/// Collects the flow of all topics.
#[derive(Debug)]
pub(super) struct Flows {
    topics: Rows<String, TopicFlow>,
    left: RangesLeft,
    is_exact: bool,
}

impl Default for Flows {
    fn default() -> Self {
        Self { topics: Rows::default(), left: RangesLeft(RANGES_MAX), is_exact: true }
    }
}

impl Flows {
    /// Adds a publish.
    pub(super) fn published(&mut self, destination: &str, attributes: &SpanAttributes<'_>) {
        let Some(topic) = self.topics.row(destination.to_owned()) else {
            self.is_exact = false;
            return;
        };
        match added(&mut topic.published, attributes, &mut self.left) {
            Some(Added::New) => topic.acknowledged += 1,
            Some(Added::Known) => {}
            Some(Added::Unknown) => self.is_exact = false,
            None => topic.without_offset += 1,
        }
    }

    /// Adds a processed record.
    pub(super) fn processed(&mut self, destination: &str, attributes: &SpanAttributes<'_>) {
        let name = attributes.text(GROUP).unwrap_or_default();
        let Some(group) = group(&mut self.topics, destination, name) else {
            self.is_exact = false;
            return;
        };
        group.processed += 1;
        match added(&mut group.places, attributes, &mut self.left) {
            Some(Added::New) => {}
            Some(Added::Known) => group.redelivered += 1,
            Some(Added::Unknown) | None => self.is_exact = false,
        }
    }

    /// Adds the skipped records that a metrics item reports.
    pub(super) fn metrics(&mut self, item: &Item<'_>) {
        let Some(json) = item.json() else { return };
        signals::each_entry(json, |entry| {
            if entry.text("name").as_deref() != Some(SKIPPED) {
                return;
            }
            let attributes = Attributes::read(&entry);
            let value = entry.get("value").and_then(fields::text).and_then(|text| text.parse::<f64>().ok());
            let (Some(destination), Some(value)) = (attributes.text(DESTINATION), value) else { return };
            let name = attributes.text(GROUP).unwrap_or_default();
            match group(&mut self.topics, &destination, name) {
                Some(group) if value.is_finite() => group.skipped += value,
                _ => self.is_exact = false,
            }
        });
    }

    /// Returns the flow of each topic, and whether every record could be told apart.
    pub(super) fn finish(self) -> (BTreeMap<String, Flow>, bool) {
        let is_exact = self.is_exact;
        let rows = self.topics.sorted(|name, topic| (name, topic.finish()), |_| 0.0);
        (rows.into_iter().collect(), is_exact)
    }
}

impl TopicFlow {
    fn finish(self) -> Flow {
        let acknowledged = self.acknowledged;
        let groups = self.groups.into_iter().map(|(name, group)| group.finish(name, acknowledged)).collect();
        Flow { acknowledged, without_offset: self.without_offset, groups }
    }
}

impl Group {
    fn finish(self, group: String, acknowledged: u64) -> GroupFlow {
        let Self { processed, skipped, redelivered, .. } = self;
        // A counter is a sum of whole numbers, which a float holds exactly.
        let skipped = skipped.round().max(0.0) as u64;
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let missing =
            signed(acknowledged.saturating_add(redelivered)) - signed(processed.saturating_add(skipped));
        GroupFlow { group, processed, skipped, redelivered, missing }
    }
}

/// Returns the group of a topic. `None` when there are too many.
fn group<'t>(
    topics: &'t mut Rows<String, TopicFlow>,
    destination: &str,
    name: String,
) -> Option<&'t mut Group> {
    let topic = topics.row(destination.to_owned())?;
    if topic.groups.len() >= PARTS_MAX && !topic.groups.contains_key(&name) {
        return None;
    }
    Some(topic.groups.entry(name).or_default())
}

/// Adds a record's place. `None` when the span does not tell it.
fn added(
    partitions: &mut BTreeMap<String, Offsets>,
    attributes: &SpanAttributes<'_>,
    left: &mut RangesLeft,
) -> Option<Added> {
    let (partition, offset) = (attributes.text(PARTITION)?, attributes.whole(OFFSET)?);
    if partitions.len() >= PARTS_MAX && !partitions.contains_key(&partition) {
        return Some(Added::Unknown);
    }
    Some(partitions.entry(partition).or_default().add(offset, left))
}
