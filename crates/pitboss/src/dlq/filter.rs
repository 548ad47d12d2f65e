//! Options that select dead letters.

use bus::letter::{Letter, LetterId, topic_named};
use clap::Args;
use contracts::{Group, Topic};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

/// Values of `--class`: those of the header `dlq-error-class`, and [`NO_CLASS`].
const CLASSES: [&str; 5] = ["undecodable", "poison", "panic", "transient", NO_CLASS];
/// Class of a dead letter without this header.
pub(super) const NO_CLASS: &str = "unknown";

/// Options that select dead letters. Several values of one option are alternatives.
#[derive(Clone, Debug, Default, Args)]
pub struct FilterArgs {
    /// Only of this group, such as game
    #[arg(long, value_name = "GROUP")]
    group: Vec<Group>,
    /// Only of this topic, such as casino.bets.commands.v1 or bets.commands
    #[arg(long, value_name = "TOPIC", value_parser = parse_topic)]
    topic: Vec<Topic>,
    /// Only with an error of this class
    #[arg(long, value_name = "CLASS", value_parser = CLASSES)]
    class: Vec<String>,
    /// Only parked at this time or later, such as 2026-11-28T18:00:00Z, or in this time until now, such as 2h
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    since: Option<OffsetDateTime>,
    /// Only this dead letter, by its id in the list
    #[arg(long, value_name = "ID")]
    id: Vec<LetterId>,
}

fn parse_topic(text: &str) -> Result<Topic, String> {
    topic_named(text).ok_or_else(|| {
        let names: Vec<&str> = Topic::ALL.iter().map(|topic| bus::letter::short_name(*topic)).collect();
        format!("unknown topic: expected one of {}", names.join(", "))
    })
}

fn parse_since(text: &str) -> Result<OffsetDateTime, String> {
    if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
        return Ok(time);
    }
    age(text).and_then(|age| OffsetDateTime::now_utc().checked_sub(age)).ok_or_else(|| {
        "expected a time such as 2026-11-28T18:00:00Z, or an age such as 30m, 2h or 7d".to_owned()
    })
}

/// Reads a whole number of seconds, minutes, hours or days.
fn age(text: &str) -> Option<Duration> {
    let units = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];
    units.into_iter().find_map(|(unit, seconds)| {
        let number = text.strip_suffix(unit)?.parse::<u32>().ok()?;
        Some(Duration::seconds(i64::from(number) * seconds))
    })
}

impl FilterArgs {
    /// Selects one letter.
    #[must_use]
    pub fn of_id(id: LetterId) -> Self {
        Self { id: vec![id], ..Self::default() }
    }

    /// Selects the letters that were parked at this time or later.
    #[must_use]
    pub fn parked_since(since: OffsetDateTime) -> Self {
        Self { since: Some(since), ..Self::default() }
    }

    /// Returns true if the options select this letter.
    #[must_use]
    pub fn matches(&self, letter: &Letter) -> bool {
        let Self { group, topic, class, since, id } = self;
        let is_recent = |since: &OffsetDateTime| {
            let since_ms = since.unix_timestamp_nanos() / 1_000_000;
            letter.parked_at_ms.is_some_and(|parked_at_ms| i128::from(parked_at_ms) >= since_ms)
        };
        let own_class = match letter.verdict.class.as_str() {
            "" => NO_CLASS,
            own => own,
        };
        (group.is_empty() || group.contains(&letter.id.group))
            && (topic.is_empty() || topic.contains(&letter.id.topic))
            && (class.is_empty() || class.iter().any(|class| class == own_class))
            && (id.is_empty() || id.contains(&letter.id))
            && since.as_ref().is_none_or(is_recent)
    }

    /// Ids that were named and are not among `found`.
    #[must_use]
    pub fn missing(&self, found: &[LetterId]) -> Vec<LetterId> {
        self.id.iter().copied().filter(|id| !found.contains(id)).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A letter that game parked at this time.
    pub(crate) fn letter(offset: i64, parked_at_ms: i64, headers: &[(&str, &str)], value: &str) -> Letter {
        let id = LetterId { group: Group::Game, topic: Topic::BetsCommands, partition: 0, offset };
        Letter::example(id, parked_at_ms, headers, value)
    }

    #[test]
    fn same_options_are_alternatives_others_combine() {
        let shown = letter(12, 1_000_000, &[("dlq-error-class", "poison")], "{}");
        let all = FilterArgs::default();
        let since = |ms: i64| OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).ok();
        let matching = [
            all.clone(),
            FilterArgs { group: vec![Group::User, Group::Game], ..all.clone() },
            FilterArgs { topic: vec![Topic::BetsCommands], class: vec!["poison".into()], ..all.clone() },
            FilterArgs { since: since(1_000_000), ..all.clone() },
            FilterArgs::of_id(shown.id),
        ];
        for filter in matching {
            assert!(filter.matches(&shown), "{filter:?}");
        }
        let other = LetterId { offset: 13, ..shown.id };
        let not_matching = [
            FilterArgs { group: vec![Group::User], ..all.clone() },
            FilterArgs { group: vec![Group::Game], class: vec!["panic".into()], ..all.clone() },
            FilterArgs { topic: vec![Topic::BetsEvents], ..all.clone() },
            FilterArgs { since: since(1_000_001), ..all },
            FilterArgs::of_id(other),
        ];
        for filter in not_matching {
            assert!(!filter.matches(&shown), "{filter:?}");
        }
        let without = FilterArgs { class: vec![NO_CLASS.into()], ..FilterArgs::default() };
        assert!(without.matches(&letter(12, 0, &[], "{}")) && !without.matches(&shown));
        assert_eq!(FilterArgs::of_id(other).missing(&[shown.id]), [other]);
    }

    #[test]
    fn time_or_age_is_read() {
        let exact = parse_since("2026-11-28T18:00:00+01:00").unwrap();
        assert_eq!(exact.unix_timestamp(), 1_795_885_200);
        assert_eq!(
            ["90s", "5m", "2h", "7d"].map(age).map(Option::unwrap),
            [90, 300, 7_200, 604_800].map(Duration::seconds)
        );
        assert!(parse_since("1h").unwrap() < OffsetDateTime::now_utc());
        for invalid in ["", "h", "2w", "-1h", "yesterday"] {
            assert!(parse_since(invalid).is_err(), "{invalid}");
        }
        assert_eq!(parse_topic("bets.commands"), Ok(Topic::BetsCommands));
        assert!(parse_topic("bets").unwrap_err().contains("payments.events"));
    }
}
