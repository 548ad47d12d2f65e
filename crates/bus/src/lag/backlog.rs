//! Backlog of one group as one number, for a caller that must not add to it.

use std::sync::Arc;
use std::time::Duration;

use contracts::{Group, Topic};

use super::Reader;
use crate::config::Config;
use crate::error::ClientError;

/// Unread records of a group on some topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// Number of records up to the high watermark that the group has not committed.
    pub messages: u64,
    /// Age of the oldest of them, in milliseconds. 0 when there is none, or when its timestamp is a few seconds ahead of our
    /// clock. `None` when unknown: its timestamp is implausible, or it could not be read.
    pub oldest_age_ms: Option<u64>,
}

impl Backlog {
    /// Returns true if the oldest unread record is older than `age`. Also true when its age is unknown, because the caller should
    /// then not add to the backlog.
    #[must_use]
    pub fn is_older_than(self, age: Duration) -> bool {
        self.oldest_age_ms.is_none_or(|ms| Duration::from_millis(ms) > age)
    }
}

/// Reads the backlog of one group over persistent connections. A read takes three requests to the broker, and one short fetch if
/// records are unread.
pub struct BacklogReader {
    reader: Arc<Reader>,
}

impl BacklogReader {
    /// Creates a reader of `group` over `topics`.
    ///
    /// # Errors
    /// When the settings are invalid. The broker is not contacted yet.
    pub fn new(config: &Config, group: Group, topics: &[Topic]) -> Result<Self, ClientError> {
        Ok(Self { reader: Arc::new(Reader::of_backlog(config, group, topics)?) })
    }

    /// Reads the present backlog.
    ///
    /// # Errors
    /// When the broker does not answer. That does not mean "no backlog".
    pub async fn read(&self) -> Result<Backlog, ClientError> {
        let mut backlog = Backlog { messages: 0, oldest_age_ms: Some(0) };
        for position in
            self.reader.snapshot().await?.positions.iter().filter(|position| position.unread() > 0)
        {
            backlog.messages += u64::try_from(position.unread()).unwrap_or(0);
            let age = position.age_ms.and_then(|ms| u64::try_from(ms).ok());
            backlog.oldest_age_ms = backlog.oldest_age_ms.zip(age).map(|(known, age)| known.max(age));
        }
        Ok(backlog)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_age_counts_as_older() {
        let backlog = |oldest_age_ms| Backlog { messages: 1, oldest_age_ms };
        assert!(backlog(None).is_older_than(Duration::from_secs(30)));
        assert!(backlog(Some(30_001)).is_older_than(Duration::from_secs(30)));
        assert!(!backlog(Some(30_000)).is_older_than(Duration::from_secs(30)));
        assert!(!backlog(Some(0)).is_older_than(Duration::ZERO));
    }
}
