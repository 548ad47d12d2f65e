//! Lag of the consumer groups: where it is read, what it says about a group, and how it is shown.

pub mod signature;
pub mod source;
pub mod view;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use self::signature::{Sample, Signature, signature};
use self::source::LagReading;

/// Time that the samples behind a signature cover.
const WINDOW: Duration = Duration::from_secs(60);
/// Maximum number of samples of one group.
const SAMPLES_MAX: usize = 240;

/// Samples of each group over the last minute.
#[derive(Debug, Default)]
pub struct History {
    groups: BTreeMap<String, VecDeque<(Instant, Sample)>>,
    last_number: Option<u64>,
}

impl History {
    /// Adds a reading that was received at `now`. The same reading again adds nothing.
    pub fn add(&mut self, reading: &LagReading, now: Instant) {
        match self.last_number {
            Some(last) if last == reading.number => return,
            // The reader started again, and with it its counts
            Some(last) if last > reading.number => self.groups.clear(),
            _ => {}
        }
        self.last_number = Some(reading.number);
        for status in &reading.states {
            let samples = self.groups.entry(status.group.clone()).or_default();
            samples.push_back((now, Sample::of(reading, status)));
            while samples.len() > SAMPLES_MAX
                || samples.front().is_some_and(|(at, _)| now.duration_since(*at) > WINDOW)
            {
                samples.pop_front();
            }
        }
    }

    /// Returns the signature of each group.
    #[must_use]
    pub fn signatures(&self) -> BTreeMap<String, Signature> {
        let of = |samples: &VecDeque<(Instant, Sample)>| {
            let began = samples.front().map(|(at, _)| *at);
            let timed = samples.iter().map(|(at, sample)| {
                let at_s = began.map_or(0.0, |began| at.duration_since(began).as_secs_f64());
                (at_s, sample.clone())
            });
            signature(&timed.collect::<Vec<_>>())
        };
        self.groups.iter().map(|(group, samples)| (group.clone(), of(samples))).collect()
    }
}

#[cfg(test)]
mod tests {
    use bus::lag::{GroupState, GroupStatus};

    use super::*;

    fn reading(number: u64) -> LagReading {
        let group = "game".to_owned();
        let status = GroupStatus { group, state: GroupState::Empty, members: 0, joins: 0 };
        LagReading { states: vec![status], number, ..LagReading::default() }
    }

    #[test]
    fn history_is_bounded_and_skips_repetitions() {
        let (mut history, began) = (History::default(), Instant::now());
        for number in 1..=200_u64 {
            let now = began + Duration::from_secs(number);
            history.add(&reading(number), now);
            history.add(&reading(number), now);
        }
        assert_eq!(history.groups.get("game").map(VecDeque::len), Some(61), "a minute of readings");
        assert_eq!(history.signatures(), BTreeMap::from([("game".to_owned(), Signature::Dead)]));
        history.add(&reading(1), began + Duration::from_secs(201));
        assert_eq!(history.signatures(), BTreeMap::from([("game".to_owned(), Signature::Unknown)]));
    }
}
