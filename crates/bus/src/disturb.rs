//! What a drill does to a broker, to its topics and to the groups that read them. No service uses this module.
//!
//! [`Disturbance`] joins a group for a while without handling a record, publishes records exactly as given, changes settings of a
//! topic, deletes records that one group has not read, denies writing to a topic, and limits what a client may produce.
//! Everything but publishing and deleting can be taken back, and taking it back twice changes nothing more.

mod access;
mod member;
mod records;
mod topics;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use contracts::{Group, Topic, TopicSpec};

pub use topics::Deleted;

use crate::config::Config;
use crate::error::ClientError;
use crate::lag::Reader;
use crate::record::RawRecord;

/// Time-out of one request to the broker.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Reason why a disturbance was not carried out or not taken back.
#[derive(Debug, thiserror::Error)]
pub enum DisturbError {
    /// A client could not be created, or a request failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The broker answered that it does not do this.
    #[error("the broker refused {doing}: {reason}")]
    Refused {
        /// Operation that failed.
        doing: &'static str,
        /// The broker's error.
        reason: String,
    },
    /// The connection failed, or the answer was late or not as the protocol says.
    #[error("no usable answer of the broker to {doing}: {reason}")]
    NoAnswer {
        /// Operation that failed.
        doing: &'static str,
        /// What happened instead.
        reason: String,
    },
}

/// Disturbs one broker.
pub struct Disturbance {
    config: Config,
    /// Created by the first deletion of records, because its clients are costly.
    lag: OnceLock<Arc<Reader>>,
}

impl Disturbance {
    /// Creates a handle. Nothing is contacted yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { config, lag: OnceLock::new() }
    }

    /// Joins a group as a further member, stays for `hold` after partitions were assigned, and leaves.
    ///
    /// It handles and commits nothing. Returns false if the group assigned nothing within `join_deadline`. Dropping the future
    /// makes the member leave.
    ///
    /// # Errors
    /// When the client cannot be created.
    pub async fn join_and_leave(
        &self,
        group: Group,
        join_deadline: Duration,
        hold: Duration,
    ) -> Result<bool, DisturbError> {
        Ok(member::join_and_leave(&self.config, group, join_deadline, hold).await?)
    }

    /// Publishes records with their headers exactly as given, and returns how many the broker acknowledged, which are all.
    ///
    /// # Errors
    /// When one of them was not acknowledged. Others may have been, also later ones.
    pub async fn publish(&self, records: &[RawRecord]) -> Result<u64, DisturbError> {
        Ok(records::publish(&self.config, records).await?)
    }

    /// Gives a topic its settings of the catalogue, except for those in `changes`.
    ///
    /// # Errors
    /// When the broker does not answer or refuses the settings.
    pub async fn set_topic(&self, spec: &TopicSpec, changes: &[(&str, &str)]) -> Result<(), DisturbError> {
        topics::set(&self.config, spec, changes).await
    }

    /// Deletes the records of a topic that `victim` has not read and that every other group has read.
    ///
    /// # Errors
    /// When the broker does not answer or refuses the deletion.
    pub async fn delete_unread(&self, victim: Group, topic: Topic) -> Result<Vec<Deleted>, DisturbError> {
        let reader = match self.lag.get() {
            Some(reader) => Arc::clone(reader),
            None => {
                let reader = Arc::new(Reader::new(&self.config, Group::ALL)?);
                Arc::clone(self.lag.get_or_init(|| reader))
            }
        };
        topics::delete_unread(&self.config, &reader, victim, topic).await
    }

    /// Denies every client to write to a topic. Reading stays permitted.
    ///
    /// # Errors
    /// When the broker does not answer, or has no authorizer.
    pub async fn deny_writing(&self, topic: Topic) -> Result<(), DisturbError> {
        access::deny_writing(&self.config, topic).await
    }

    /// Removes every access rule of a topic.
    ///
    /// # Errors
    /// When the broker does not answer, or has no authorizer.
    pub async fn permit_everything(&self, topic: Topic) -> Result<(), DisturbError> {
        access::permit_everything(&self.config, topic).await
    }

    /// Limits what the clients of that id may produce, or removes the limit.
    ///
    /// # Errors
    /// When the broker does not answer or refuses.
    pub async fn limit_producing(
        &self,
        client_id: &str,
        bytes_per_s: Option<u32>,
    ) -> Result<(), DisturbError> {
        access::limit_producing(&self.config, client_id, bytes_per_s).await
    }
}
