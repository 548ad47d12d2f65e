//! A dead letter with its copies and the last action on it.

use std::collections::BTreeMap;

use bus::letter::{Content, FirstPlace, Handled, History, Letter};
use contracts::Group;
use serde_json::{Value, json};

/// Largest value that is printed as JSON.
const VALUE_BYTES_MAX: usize = 65_536;
/// Number of bytes of a value that is neither JSON nor text.
pub const HEX_BYTES_MAX: usize = 512;

/// The newest of the letters of one record in one group.
#[derive(Debug)]
pub struct Entry {
    /// The letter.
    pub letter: Letter,
    /// Number of letters of the same record, this one included. A process that died while it parked the record leaves two, and so
    /// do two gateways.
    pub copies: usize,
    /// Last action on the record.
    pub handled: Option<Handled>,
    /// No action closed it.
    pub is_open: bool,
}

/// Unites the letters of each record. The order is that of parking.
#[must_use]
pub fn unite(letters: Vec<Letter>, history: &History) -> Vec<Entry> {
    let mut newest: BTreeMap<(Group, FirstPlace), (Letter, usize)> = BTreeMap::new();
    for letter in letters {
        let key = (letter.id.group, letter.first.clone());
        let (known, copies) = match newest.remove(&key) {
            Some((known, copies)) if known.id > letter.id => (known, copies),
            Some((_, copies)) => (letter, copies),
            None => (letter, 0),
        };
        newest.insert(key, (known, copies + 1));
    }
    let entry = |(letter, copies): (Letter, usize)| Entry {
        handled: history.of(&letter).cloned(),
        is_open: history.is_open(&letter),
        letter,
        copies,
    };
    let mut entries: Vec<Entry> = newest.into_values().map(entry).collect();
    entries.sort_by_key(|entry| (entry.letter.parked_at_ms, entry.letter.id));
    entries
}

/// Letters of one record in several groups. One replay of the record is for all of them.
#[derive(Debug)]
pub struct Batch<'a> {
    /// The letter whose record is published.
    pub first: &'a Entry,
    /// Those of the other groups.
    pub others: Vec<&'a Entry>,
}

impl<'a> Batch<'a> {
    /// A batch of one letter.
    #[must_use]
    pub const fn alone(entry: &'a Entry) -> Self {
        Self { first: entry, others: Vec::new() }
    }

    /// All letters.
    pub fn entries(&self) -> impl Iterator<Item = &'a Entry> {
        std::iter::once(self.first).chain(self.others.iter().copied())
    }
}

/// Joins the letters of each record that can be replayed. The order is that of the first letters.
#[must_use]
pub fn batches(entries: &[Entry]) -> Vec<Batch<'_>> {
    let mut batches: Vec<Batch<'_>> = Vec::new();
    let mut places: BTreeMap<&FirstPlace, usize> = BTreeMap::new();
    for entry in entries {
        let is_whole = entry.letter.check_replayable().is_ok();
        let known = places.get(&entry.letter.first).copied().filter(|_| is_whole);
        match known.and_then(|index| batches.get_mut(index)) {
            Some(batch) if batch.first.letter.is_same_record(&entry.letter) => batch.others.push(entry),
            _ => {
                if is_whole {
                    places.entry(&entry.letter.first).or_insert(batches.len());
                }
                batches.push(Batch::alone(entry));
            }
        }
    }
    batches
}

impl Entry {
    /// Age of the letter in seconds at `now_ms`, by the broker's clock.
    #[must_use]
    pub fn age_s(&self, now_ms: i64) -> Option<i64> {
        Some(now_ms.saturating_sub(self.letter.parked_at_ms?).max(0) / 1_000)
    }

    /// All facts about it. `trace_url` makes the address of a trace.
    #[must_use]
    pub fn to_json(&self, now_ms: i64, trace_url: impl Fn(&str) -> Option<String>) -> Value {
        let Self { letter, copies, handled, is_open } = self;
        let trace_id = letter.trace_id();
        json!({
            "id": letter.id.to_string(),
            "group": letter.id.group.as_str(),
            "topic": letter.id.topic.name(),
            "class": letter.verdict.class,
            "reason": letter.verdict.reason,
            "attempts": letter.verdict.attempts,
            "failed_at": letter.verdict.failed_at,
            "age_s": self.age_s(now_ms),
            "event_id": letter.event_id.as_str(),
            "event_type": letter.event_type(),
            "key": letter.key().map(|key| printable(key, HEX_BYTES_MAX)),
            "first": letter.first,
            "copies": copies,
            "trace_url": trace_id.as_deref().and_then(trace_url),
            "trace_id": trace_id,
            "open": is_open,
            "last_action": handled.as_ref().map(|handled| &handled.last),
            "value": value_json(letter),
        })
    }
}

fn value_json(letter: &Letter) -> Value {
    if letter.value_bytes() > VALUE_BYTES_MAX {
        return json!({ "omitted_bytes": letter.value_bytes() });
    }
    match letter.content() {
        Content::Message { json, .. } | Content::Json(json) => json,
        Content::Text(text) => Value::String(text),
        Content::Bytes(bytes) => json!({ "hex": hex(&bytes, HEX_BYTES_MAX), "bytes": bytes.len() }),
        Content::Empty => Value::Null,
    }
}

/// The beginning of some bytes as text without control characters, or in hexadecimal digits where they are not text.
#[must_use]
pub fn printable(bytes: &[u8], bytes_max: usize) -> String {
    let shown = bytes.get(..bytes_max).unwrap_or(bytes);
    // A character at the limit may be cut
    let text = match std::str::from_utf8(shown) {
        Ok(text) => Some(text),
        Err(error) if error.error_len().is_none() => {
            shown.get(..error.valid_up_to()).and_then(|valid| std::str::from_utf8(valid).ok())
        }
        Err(_) => None,
    };
    let Some(text) = text else { return format!("0x{}", hex(bytes, bytes_max)) };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    if bytes.len() > bytes_max {
        shown.push('…');
    }
    shown
}

/// The beginning of some bytes in hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8], bytes_max: usize) -> String {
    let digits = bytes.iter().take(bytes_max).map(|byte| format!("{byte:02x}"));
    let more = (bytes.len() > bytes_max).then(|| "…".to_owned());
    digits.chain(more).collect()
}

#[cfg(test)]
mod tests {
    use bus::letter::{Action, LetterId};
    use contracts::Topic;

    use super::super::filter::tests::letter;
    use super::*;

    const FIRST: [(&str, &str); 4] = [
        ("dlq-original-topic", "casino.bets.commands.v1"),
        ("dlq-original-partition", "2"),
        ("dlq-original-offset", "7"),
        ("dlq-error-class", "poison"),
    ];

    /// An action on the letter of [`FIRST`] at this offset, as it is read from the topic.
    fn action(offset: i64) -> Action {
        let json = json!({
            "action": "replay", "by": "ann", "at": "2026-11-28T18:00:00Z", "group": "game", "event_id": "e",
            "letter": { "topic": "casino.bets.commands.v1.dlq.game", "partition": 0, "offset": offset },
            "first": { "topic": "casino.bets.commands.v1", "partition": 2, "offset": 7 },
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn copies_are_one_entry_with_the_newest_verdict() {
        let newest = [("dlq-error-class", "panic")];
        let letters = vec![
            letter(14, 3_000, &[FIRST.as_slice(), &newest].concat(), "{}"),
            letter(12, 1_000, &FIRST, "{}"),
            letter(13, 2_000, &[], "another record"),
        ];
        let entries = unite(letters, &History::default());
        let shown: Vec<(i64, usize, &str)> = entries
            .iter()
            .map(|entry| (entry.letter.id.offset, entry.copies, entry.letter.verdict.class.as_str()))
            .collect();
        assert_eq!(shown, [(13, 1, ""), (14, 2, "panic")]);
    }

    #[test]
    fn letters_of_one_record_are_one_batch() {
        let of = |group, offset, headers: &[(&str, &str)], value: &str| {
            let id = LetterId { group, topic: Topic::BetsCommands, partition: 0, offset };
            Letter::example(id, offset, headers, value)
        };
        let cut = [FIRST.as_slice(), &[("dlq-value-truncated", "9")]].concat();
        let letters = vec![
            of(Group::Analytics, 1, &cut, "{}"),
            of(Group::Game, 2, &FIRST, "{}"),
            of(Group::Game, 3, &[], "{}"),
            of(Group::User, 4, &FIRST, "{}"),
            of(Group::Payment, 5, &FIRST, "another value"),
        ];
        let entries = unite(letters, &History::default());
        let batches: Vec<Vec<i64>> = batches(&entries)
            .iter()
            .map(|batch| batch.entries().map(|entry| entry.letter.id.offset).collect())
            .collect();
        assert_eq!(batches, [vec![1], vec![2, 4], vec![3], vec![5]]);
    }

    #[test]
    fn replayed_record_that_failed_again_is_open() {
        let mut history = History::default();
        history.extend([action(12)]);
        let state = |offset: i64| {
            let entries = unite(vec![letter(offset, 1_000, &FIRST, "{}")], &history);
            (entries[0].is_open, entries[0].handled.is_some())
        };
        assert_eq!((state(12), state(13)), ((false, true), (true, true)));
    }

    #[test]
    fn json_has_the_documented_fields() {
        let entries = unite(vec![letter(12, 1_000, &FIRST, r#"{"a":1}"#)], &History::default());
        let json = entries[0].to_json(4_000, |_| None);
        assert_eq!((&json["id"], &json["age_s"]), (&json!("game/bets.commands/12"), &json!(3)));
        assert_eq!((&json["open"], &json["last_action"]), (&json!(true), &Value::Null));
        assert_eq!((&json["value"], &json["key"]), (&json!({ "a": 1 }), &json!("p-1")));
        let first = json!({ "topic": "casino.bets.commands.v1", "partition": 2, "offset": 7 });
        assert_eq!((&json["first"], &json["topic"]), (&first, &json!("casino.bets.commands.v1")));
        assert!(json["id"].as_str().unwrap().parse::<LetterId>().is_ok());
    }

    #[test]
    fn bytes_are_shown_bounded_and_printable() {
        assert_eq!(printable(b"a\x1b[31m\n", 99), "a\\u{1b}[31m\\n");
        assert_eq!(printable(b"abc", 2), "ab…");
        assert_eq!(printable("aä".as_bytes(), 2), "a…", "a cut character");
        assert_eq!(printable(&[0xff, 0x00, 0x80], 2), "0xff00…");
    }
}
