//! Latency of a record, computed from timestamps that may be wrong.
//!
//! It guarantees that **a latency is true or absent**: never years, never negative, never a zero that means an error. Our topics
//! carry the broker's time (`LogAppendTime`, docs/adr/0009). The producer's send time is used only where it agrees with that. The
//! caller counts timestamps that do not agree.

use contracts::Topic;

use crate::record::Record;

/// Header with the producer's send time, in seconds since 1970 as decimal text. Sentry's own SDKs use the same header, so their
/// queues and ours show the same latency.
pub(crate) const ENQUEUED_TIME: &str = "sentry-task-enqueued-time";

/// Maximum plausible time between send and append. A producer gives up on its broker before that.
const SEND_MS_MAX: i64 = 120_000;
/// Maximum plausible age of a record on a foreign topic, whose retention is unknown.
const AGE_MS_MAX: i64 = 90 * 24 * 60 * 60 * 1_000;
/// Maximum lead of the broker's clock over ours. Beyond it neither is used: clocks synchronised by the network differ far less.
const SKEW_MS_MAX: i64 = 5_000;

/// Latency by the timestamps of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Latency {
    /// Milliseconds from the producer to us. None when unknown.
    pub(crate) ms: Option<i64>,
    /// A timestamp was later than one that must follow it, implausible, or missing.
    pub(crate) is_skewed: bool,
}

/// Computes the latency of a record that was received at `received_ms`. The wait for a due time is on purpose and does not count.
pub(crate) fn of(record: &Record, received_ms: i64) -> Latency {
    if let Some(due_ms) = record.due_ms() {
        // The broker's time is later only if the move to the retry topic took longer than the delay
        let waited_from = record.timestamp_ms.map(|timestamp_ms| timestamp_ms.max(due_ms));
        return between(waited_from, None, received_ms, age_ms_max(&record.topic));
    }
    let enqueued = record.header(ENQUEUED_TIME).map(|value| enqueued_ms(value));
    between(record.timestamp_ms, enqueued, received_ms, age_ms_max(&record.topic))
}

/// Computes the age of a record, where its timestamp is plausible.
///
/// A timestamp slightly ahead of our clock belongs to a new record: its age is 0, marked as skewed. A timestamp that is missing
/// or further ahead than [`SKEW_MS_MAX`] gives no age. A gate that depends on it then stays closed, and the skew is counted.
pub(crate) fn age(timestamp_ms: Option<i64>, now_ms: i64, topic: &str) -> Latency {
    let age = timestamp_ms.filter(|time| *time > 0).and_then(|time| now_ms.checked_sub(time));
    match age {
        Some(age) if (-SKEW_MS_MAX..0).contains(&age) => Latency { ms: Some(0), is_skewed: true },
        Some(age) if (0..=age_ms_max(topic)).contains(&age) => Latency { ms: Some(age), is_skewed: false },
        _ => Latency { ms: None, is_skewed: true },
    }
}

/// Maximum plausible age. A record older than its topic's retention is deleted, so such a timestamp is wrong.
fn age_ms_max(topic: &str) -> i64 {
    Topic::of_record(topic).map_or(AGE_MS_MAX, Topic::retention_ms)
}

/// `enqueued_ms` is `Some(None)` when the producer's header is not a valid time.
fn between(
    timestamp_ms: Option<i64>,
    enqueued_ms: Option<Option<i64>>,
    received_ms: i64,
    age_ms_max: i64,
) -> Latency {
    let age = timestamp_ms
        .filter(|time| *time > 0)
        .and_then(|time| received_ms.checked_sub(time).map(|age| (time, age)))
        .filter(|(_, age)| (0..=age_ms_max).contains(age));
    let Some((timestamp_ms, age)) = age else { return Latency { ms: None, is_skewed: true } };
    let Some(enqueued) = enqueued_ms else { return Latency { ms: Some(age), is_skewed: false } };
    let sending = enqueued.and_then(|enqueued| timestamp_ms.checked_sub(enqueued));
    match sending.filter(|sending| (0..=SEND_MS_MAX).contains(sending)) {
        Some(sending) => Latency { ms: Some(age + sending), is_skewed: false },
        None => Latency { ms: Some(age), is_skewed: true },
    }
}

/// Parses the header's time into whole milliseconds.
fn enqueued_ms(value: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(value).ok().filter(|text| text.len() <= 32)?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if seconds.is_empty() || !digits(seconds) || !digits(fraction) {
        return None;
    }
    let millis: String = fraction.chars().chain("000".chars()).take(3).collect();
    let whole = seconds.parse::<i64>().ok()?.checked_mul(1_000)?;
    whole.checked_add(millis.parse().ok()?)
}

/// Value of the header for a record that is sent at that time, in milliseconds since 1970. A time before 1970 becomes 1970.
pub(crate) fn enqueued_at(sent_at_ms: i64) -> String {
    let sent_at_ms = sent_at_ms.max(0);
    format!("{}.{:03}", sent_at_ms / 1_000, sent_at_ms % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_764_000_000_000;
    const WEEK: i64 = 7 * 24 * 60 * 60 * 1_000;

    fn latency(ms: Option<i64>, is_skewed: bool) -> Latency {
        Latency { ms, is_skewed }
    }

    #[test]
    fn implausible_timestamp_gives_no_latency() {
        let plain = |timestamp_ms| between(timestamp_ms, None, NOW, WEEK);
        assert_eq!(plain(Some(NOW - 7)), latency(Some(7), false));
        assert_eq!(plain(Some(NOW)), latency(Some(0), false));
        assert_eq!(plain(Some(NOW - WEEK)), latency(Some(WEEK), false), "as old as the topic's retention");
        for implausible in [
            None,
            Some(NOW + 1),
            Some(NOW + WEEK),
            Some(1),
            Some(0),
            Some(-1),
            Some(i64::MIN),
            Some(i64::MAX),
        ] {
            assert_eq!(plain(implausible), latency(None, true), "{implausible:?}");
        }
    }

    #[test]
    fn wait_for_the_due_time_is_no_latency() {
        let mut record = crate::record::tests::record();
        "casino.bets.events.v1.retry.analytics".clone_into(&mut record.topic);
        record.timestamp_ms = Some(NOW - 5_030);
        let due = ("dlq-retry-due".to_owned(), (NOW - 30).to_string().into());
        let enqueued = (ENQUEUED_TIME.to_owned(), "1".into());
        record.headers = vec![enqueued, due];
        assert_eq!(of(&record, NOW), latency(Some(30), false));
    }

    #[test]
    fn age_slightly_ahead_is_zero_far_ahead_unknown() {
        let of = |timestamp_ms| age(timestamp_ms, NOW, "casino.bets.commands.v1");
        assert_eq!(of(Some(NOW - 7)), latency(Some(7), false));
        assert_eq!(of(Some(NOW)), latency(Some(0), false));
        for ahead in [1, SKEW_MS_MAX] {
            assert_eq!(of(Some(NOW + ahead)), latency(Some(0), true), "{ahead}");
        }
        for implausible in
            [None, Some(NOW + SKEW_MS_MAX + 1), Some(1), Some(0), Some(i64::MIN), Some(i64::MAX)]
        {
            assert_eq!(of(implausible), latency(None, true), "{implausible:?}");
        }
    }

    #[test]
    fn producer_time_is_used_if_broker_agrees() {
        let with = |enqueued| between(Some(NOW - 7), Some(enqueued), NOW, WEEK);
        assert_eq!(with(Some(NOW - 10)), latency(Some(10), false));
        for implausible in [None, Some(NOW - 6), Some(NOW + WEEK), Some(1), Some(NOW - WEEK), Some(i64::MIN)]
        {
            assert_eq!(with(implausible), latency(Some(7), true), "{implausible:?}");
        }
    }

    #[test]
    fn enqueued_time_may_have_any_fraction() {
        for (text, ms) in [
            ("1764000000.123456", Some(1_764_000_000_123)),
            ("1764000000.1", Some(1_764_000_000_100)),
            ("1764000000", Some(1_764_000_000_000)),
            ("1764000000123", Some(1_764_000_000_123_000)),
            ("", None),
            (".5", None),
            ("-1.5", None),
            ("1e9", None),
            ("NaN", None),
            ("99999999999999999999999999", None),
        ] {
            assert_eq!(enqueued_ms(text.as_bytes()), ms, "{text}");
        }
        assert_eq!(enqueued_ms(&[0xff]), None);
        for written in [0, 7, 999, NOW, NOW + 70] {
            assert_eq!(enqueued_ms(enqueued_at(written).as_bytes()), Some(written));
        }
        assert_eq!(enqueued_at(i64::MIN), "0.000");
    }
}
