//! Number of partitions of each topic, which is read again from time to time, because topics are deleted and get more partitions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time after which the numbers are read again.
const AGE_MAX: Duration = Duration::from_secs(60);

/// Number of partitions of each topic that exists.
#[derive(Debug, Default)]
pub(super) struct Counts {
    known: BTreeMap<Arc<str>, i32>,
    /// Time of the first number.
    since: Option<Instant>,
}

impl Counts {
    /// Forgets the numbers if they are old.
    pub(super) fn expire(&mut self, now: Instant) {
        if self.since.is_some_and(|since| now.saturating_duration_since(since) >= AGE_MAX) {
            self.forget();
        }
    }

    /// Forgets the numbers, because one of them may be wrong.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Returns the number of partitions of a topic, and reads it if it is not known. A topic without partitions is read each time.
    pub(super) fn of<E>(
        &mut self,
        topic: &Arc<str>,
        now: Instant,
        read: impl FnOnce() -> Result<i32, E>,
    ) -> Result<i32, E> {
        if let Some(count) = self.known.get(topic) {
            return Ok(*count);
        }
        let count = read()?;
        if count > 0 {
            self.since.get_or_insert(now);
            self.known.insert(Arc::clone(topic), count);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn count_is_reread_after_minute_or_error() {
        let (mut counts, began) = (Counts::default(), Instant::now());
        let topic: Arc<str> = Arc::from("t");
        let of = |counts: &mut Counts, second, broker: Result<i32, &'static str>| {
            let now = began + Duration::from_secs(second);
            counts.expire(now);
            counts.of(&topic, now, || broker)
        };
        assert_eq!(of(&mut counts, 0, Err("away")), Err("away"));
        assert_eq!(of(&mut counts, 1, Ok(0)), Ok(0), "the topic does not exist yet");
        assert_eq!(of(&mut counts, 2, Ok(6)), Ok(6));
        assert_eq!(of(&mut counts, 61, Ok(12)), Ok(6), "it is known");
        assert_eq!(of(&mut counts, 62, Ok(12)), Ok(12));
        counts.forget();
        assert_eq!(of(&mut counts, 63, Ok(0)), Ok(0), "the topic was deleted");
    }
}
