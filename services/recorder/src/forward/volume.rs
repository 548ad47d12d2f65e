//! Counts items in Sentry's data categories, for rate limits and for reports of losses.

use telemetry::Category;

use crate::protocol::{
    envelope::{Envelope, Item},
    event::{ErrorEvent, Transaction},
    fields, sessions, signals,
};

/// Quantity in one category.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Data category.
    pub(super) category: Category,
    /// Number of items, or of bytes for categories that are counted in bytes.
    pub(super) quantity: u64,
}

impl Volume {
    fn of(category: Category, quantity: u64) -> Self {
        Self { category, quantity }
    }

    /// Returns the volumes of all items of an envelope.
    #[must_use]
    pub fn of_envelope(envelope: &Envelope<'_>) -> Vec<Self> {
        envelope.items.iter().flat_map(Self::of_item).collect()
    }

    /// Returns the volumes of one item. The category whose limit applies to the item comes first. Client reports have no
    /// volume, because no limit names them.
    pub(super) fn of_item(item: &Item<'_>) -> Vec<Self> {
        let bytes = item.payload_bytes();
        let json = item.json().unwrap_or_default();
        match item.item_type().as_ref() {
            "client_report" => Vec::new(),
            "event" if ErrorEvent::parse(json).is_feedback() => vec![Self::of(Category::Feedback, 1)],
            "event" => vec![Self::of(Category::Error, 1)],
            "transaction" => {
                let mut spans = 1;
                if let Some(list) = Transaction::parse(json).spans {
                    fields::each_entry(list.get(), |entry| spans += u64::from(entry.get().starts_with('{')));
                }
                vec![Self::of(Category::Transaction, 1), Self::of(Category::Span, spans)]
            }
            "span" => vec![Self::of(Category::Span, entries(json).max(1))],
            "log" => vec![Self::of(Category::LogItem, entries(json)), Self::of(Category::LogByte, bytes)],
            "trace_metric" => {
                vec![
                    Self::of(Category::TraceMetric, entries(json)),
                    Self::of(Category::TraceMetricByte, bytes),
                ]
            }
            "session" | "sessions" => {
                let mut count = 0;
                sessions::each(json, |_| count += 1);
                vec![Self::of(Category::Session, count.max(1))]
            }
            "attachment" => vec![Self::of(Category::Attachment, bytes)],
            "check_in" => vec![Self::of(Category::Monitor, 1)],
            "feedback" | "user_report" => vec![Self::of(Category::Feedback, 1)],
            "profile" => vec![Self::of(Category::Profile, 1)],
            "profile_chunk" => vec![Self::of(Category::ProfileChunk, 1)],
            "replay_event" | "replay_recording" | "replay_video" => vec![Self::of(Category::Replay, 1)],
            _ => vec![Self::of(Category::Default, 1)],
        }
    }
}

fn entries(json: &str) -> u64 {
    let mut count = 0;
    signals::each_entry(json, |_| count += 1);
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(item_type: &str, payload: &str) -> Vec<(&'static str, u64)> {
        let body = format!("{{}}\n{{\"type\":\"{item_type}\"}}\n{payload}\n");
        let envelope = Envelope::parse(body.as_bytes()).expect("an envelope");
        let volumes = Volume::of_envelope(&envelope).into_iter();
        volumes.map(|volume| (volume.category.as_str(), volume.quantity)).collect()
    }

    #[test]
    fn each_item_type_has_its_category() {
        for (item_type, category) in [
            ("event", "error"),
            ("check_in", "monitor"),
            ("feedback", "feedback"),
            ("user_report", "feedback"),
            ("profile", "profile"),
            ("profile_chunk", "profile_chunk"),
            ("replay_event", "replay"),
            ("replay_recording", "replay"),
            ("replay_video", "replay"),
            ("session", "session"),
            ("span", "span"),
            ("statsd", "default"),
        ] {
            assert_eq!(counted(item_type, "{}"), [(category, 1)], "{item_type}");
        }
        assert_eq!(
            counted("event", r#"{"type":"feedback"}"#),
            [("feedback", 1)],
            "in whatever item it comes"
        );
        assert_eq!(counted("attachment", "abc"), [("attachment", 3)], "in bytes");
        assert!(counted("client_report", "{}").is_empty(), "no limit names it");
    }

    #[test]
    fn batches_are_counted_by_entry() {
        let batch = r#"{"items":[{},7,{}]}"#;
        let bytes = batch.len() as u64;
        assert_eq!(counted("span", batch), [("span", 2)]);
        assert_eq!(counted("log", batch), [("log_item", 2), ("log_byte", bytes)]);
        assert_eq!(counted("trace_metric", batch), [("trace_metric", 2), ("trace_metric_byte", bytes)]);
        let transaction = r#"{"spans":[{},null,{}]}"#;
        assert_eq!(counted("transaction", transaction), [("transaction", 1), ("span", 3)], "its root is one");
        let sums = r#"{"attrs":{"release":"r"},"aggregates":[{},{}]}"#;
        assert_eq!(counted("sessions", sums), [("session", 2)]);
    }
}
