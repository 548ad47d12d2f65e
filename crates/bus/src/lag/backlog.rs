//! How far one group is behind, as one number: what somebody asks who would otherwise add to it.

use std::sync::Arc;
use std::time::Duration;

use contracts::{Group, Topic};

use super::Reader;
use crate::config::Config;
use crate::error::ClientError;

/// What a group has yet to read on some topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// Records up to the high watermark that the group has not committed.
    pub messages: u64,
    /// The age of the oldest of them, in milliseconds: 0 when there is none (or when its time is a few seconds ahead of our
    /// clock), `None` when it cannot be told (its time is absurd, or it could not be read).
    pub oldest_age_ms: Option<u64>,
}

impl Backlog {
    /// Whether something is unread that is older than this. True when that cannot be told: whoever would add to a
    /// backlog had better not.
    #[must_use]
    pub fn is_older_than(self, age: Duration) -> bool {
        self.oldest_age_ms.is_none_or(|ms| Duration::from_millis(ms) > age)
    }
}

/// Asks for the backlog of one group, keeping its connections: three requests to the broker when nothing is unread, and
/// one short read when something is.
pub struct BacklogReader {
    reader: Arc<Reader>,
}

impl BacklogReader {
    /// A reader of `group` over `topics`.
    ///
    /// # Errors
    /// When the settings make no sense. The broker is not asked yet.
    pub fn new(config: &Config, group: Group, topics: &[Topic]) -> Result<Self, ClientError> {
        let asked = std::iter::once((group, topics.to_vec()));
        Ok(Self { reader: Arc::new(Reader::over(config, asked, false)?) })
    }

    /// The backlog now.
    ///
    /// # Errors
    /// When the broker cannot be asked. That is not "no backlog".
    pub async fn read(&self) -> Result<Backlog, ClientError> {
        let mut backlog = Backlog { messages: 0, oldest_age_ms: Some(0) };
        for stand in self.reader.stands().await?.iter().filter(|stand| stand.unread() > 0) {
            backlog.messages += u64::try_from(stand.unread()).unwrap_or(0);
            let age = stand.age_ms.and_then(|ms| u64::try_from(ms).ok());
            backlog.oldest_age_ms = backlog.oldest_age_ms.zip(age).map(|(known, age)| known.max(age));
        }
        Ok(backlog)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_told_is_older() {
        let backlog = |oldest_age_ms| Backlog { messages: 1, oldest_age_ms };
        assert!(backlog(None).is_older_than(Duration::from_secs(30)));
        assert!(backlog(Some(30_001)).is_older_than(Duration::from_secs(30)));
        assert!(!backlog(Some(30_000)).is_older_than(Duration::from_secs(30)));
        assert!(!backlog(Some(0)).is_older_than(Duration::ZERO));
    }
}
