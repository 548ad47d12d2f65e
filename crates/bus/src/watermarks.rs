//! High watermarks of partitions, which also count what open transactions hold back.
//!
//! A reader of committed records gets none at or above the last stable offset of a partition. The records from there to the high
//! watermark exist, and cannot be read before the transaction ends.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use crate::clients::{self, Quiet};
use crate::config::Config;
use crate::consumer::context::list_of;
use crate::error::ClientError;
use crate::names::Names;
use crate::partitions::TopicPartition;

/// Time-out of one request to the brokers.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads high watermarks over a connection of its own, because the other clients see only committed records.
pub(crate) struct Watermarks {
    client: BaseConsumer<Quiet>,
    names: Names,
}

impl Watermarks {
    /// Creates a reader. It connects in the background.
    pub(crate) fn new(config: &Config) -> Result<Self, ClientError> {
        let client: BaseConsumer<Quiet> = clients::observer(config, &clients::outsider_group(config))
            .create_with_context(Quiet)
            .map_err(ClientError::kafka("creating a client that reads high watermarks"))?;
        Ok(Self { client, names: config.names() })
    }

    /// Returns the high watermark of each of these partitions of one topic, by number.
    ///
    /// They must be read before the stable ends. In the other order, new records would seem to be held back.
    pub(crate) fn of(&self, partitions: &[TopicPartition]) -> Result<BTreeMap<i32, i64>, ClientError> {
        const DOING: &str = "reading the high watermarks of partitions";
        let mut watermarks = BTreeMap::new();
        // The elements of an empty list must not be read
        if partitions.is_empty() {
            return Ok(watermarks);
        }
        let mut wanted = list_of(partitions, &self.names);
        wanted.set_all_offsets(Offset::End).map_err(ClientError::kafka(DOING))?;
        let found =
            self.client.offsets_for_times(wanted, REQUEST_TIMEOUT).map_err(ClientError::kafka(DOING))?;
        for element in found.elements() {
            element.error().map_err(ClientError::kafka(DOING))?;
            if let Offset::Offset(offset) = element.offset() {
                watermarks.insert(element.partition(), offset);
            }
        }
        Ok(watermarks)
    }
}

/// Number of records that open transactions hold back in a partition that a reader of committed records can read to `stable_end`.
pub(crate) fn held(high_watermark: Option<i64>, stable_end: i64) -> u64 {
    high_watermark.map_or(0, |high| u64::try_from(high.saturating_sub(stable_end)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_above_the_stable_end_are_held() {
        assert_eq!(held(Some(12), 9), 3);
        assert_eq!(held(Some(9), 9), 0);
        assert_eq!(held(Some(9), 12), 0, "records arrived between the two reads");
        assert_eq!(held(None, 9), 0);
    }
}
