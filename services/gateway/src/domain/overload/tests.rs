//! The admission beside a platform that is simulated: it decides one bet after the other, and each outcome travels for some time.

use std::collections::BTreeMap;

use contracts::ids;

use super::{measures::rounded, *};

/// The platform decides 100 bets a second.
const SERVICE: Duration = Duration::from_millis(10);
/// A bet on an idle platform takes 20 ms, so 120 ms are slow.
const TRAVEL: Duration = Duration::from_millis(10);
const RULES: Rules =
    Rules { in_flight_min: 64, slow_ratio: 6, after: Duration::from_secs(1), wait: Duration::from_secs(2) };

struct Platform {
    overload: Overload,
    now: Duration,
    service: Duration,
    travel: Duration,
    free_at: Duration,
    bets: u64,
    /// Outcomes on their way, with the time of the request.
    due: BTreeMap<(Duration, u64), (EventId, Duration)>,
}

/// What happened in an interval.
#[derive(Default)]
struct Seen {
    /// For each outcome: time of its request from the beginning of the interval, and how long it took.
    took: Vec<(Duration, Duration)>,
    /// For each refusal: its time from the beginning of the interval.
    refused: Vec<Duration>,
    retry_after_max_s: u64,
}

impl Platform {
    fn new() -> Self {
        Self {
            overload: Overload::new(RULES),
            now: Duration::ZERO,
            service: SERVICE,
            travel: TRAVEL,
            free_at: Duration::ZERO,
            bets: 0,
            due: BTreeMap::new(),
        }
    }

    /// Sends bets at fixed times.
    fn run(&mut self, rate_per_s: u32, seconds: u32) -> Seen {
        let begin = self.now;
        let mut seen = Seen::default();
        for number in 0..rate_per_s * seconds {
            self.pass_until(begin + Duration::from_secs(1) * number / rate_per_s, begin, &mut seen);
            self.bet(begin, &mut seen);
        }
        self.pass_until(begin + Duration::from_secs(1) * seconds, begin, &mut seen);
        seen
    }

    fn bet(&mut self, begin: Duration, seen: &mut Seen) {
        self.bets += 1;
        let id = ids::command_id("player", "route", &self.bets.to_string());
        match self.overload.admit(&id, self.now) {
            Ok(()) => {
                self.free_at = self.free_at.max(self.now) + self.service;
                self.due.insert((self.free_at + self.travel, self.bets), (id, self.now));
            }
            Err(refusal) => {
                seen.refused.push(self.now - begin);
                seen.retry_after_max_s = seen.retry_after_max_s.max(refusal.retry_after_s);
            }
        }
    }

    /// Sends bets at the same moment. Returns the changes after each, as the process sees them.
    fn burst(&mut self, bets: u32) -> Vec<Change> {
        let (mut seen, mut changes) = (Seen::default(), Vec::new());
        for _ in 0..bets {
            self.bet(self.now, &mut seen);
            changes.extend(self.take_changes());
        }
        changes
    }

    /// Lets time pass without a bet.
    fn pass(&mut self, time: Duration) {
        self.pass_until(self.now + time, self.now, &mut Seen::default());
    }

    fn take_changes(&mut self) -> Vec<Change> {
        std::iter::from_fn(|| self.overload.take_change()).collect()
    }

    fn pass_until(&mut self, until: Duration, begin: Duration, seen: &mut Seen) {
        while let Some(next) = self.due.first_entry().filter(|next| next.key().0 <= until) {
            let at = next.key().0;
            let (id, since) = next.remove();
            self.overload.decided(&id, at);
            seen.took.push((since.saturating_sub(begin), at - since));
        }
        self.now = until;
        self.overload.advance(until);
    }

    /// Makes an overload from which the admission learns, and waits until it is over.
    fn learn(&mut self) {
        self.run(50, 3);
        assert!(!self.run(200, 5).refused.is_empty());
        self.run(50, 5);
        assert_eq!(self.overload.limit(), None, "the overload is over");
    }
}

impl Seen {
    fn slowest_after(&self, begin: Duration) -> Duration {
        let later = self.took.iter().filter(|(since, _)| *since >= begin);
        later.map(|(_, took)| *took).max().expect("outcomes")
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn rate_below_capacity_is_admitted() {
    let mut platform = Platform::new();
    let seen = platform.run(80, 20);
    assert!(seen.refused.is_empty(), "{:?}", seen.refused);
    assert_eq!(platform.overload.take_change(), None);
}

#[test]
fn overload_is_refused_and_the_rest_is_fast() {
    let mut platform = Platform::new();
    platform.run(50, 3);
    let seen = platform.run(200, 20);
    let first = seen.refused.first().expect("refusals");
    assert!(*first < ms(2_000), "refused after {first:?}");
    assert!(matches!(platform.overload.take_change(), Some(Change::Began { .. })));
    // From the fifth second on: twice what an outcome takes that is just not slow.
    let slowest = seen.slowest_after(ms(5_000));
    assert!(slowest <= ms(240), "{slowest:?}");
    assert!(seen.took.len() >= 1_800, "{} of 2000 bets that the platform can decide", seen.took.len());
    assert!((1..=3).contains(&seen.retry_after_max_s), "{} s", seen.retry_after_max_s);
}

#[test]
fn second_overload_is_refused_at_once() {
    let mut platform = Platform::new();
    platform.learn();
    let seen = platform.run(200, 60);
    let first = seen.refused.first().expect("refusals");
    assert!(*first < ms(500), "refused after {first:?}");
    let mut took: Vec<Duration> = seen.took.iter().map(|(_, took)| *took).collect();
    took.sort();
    let p99 = took[took.len() * 99 / 100];
    assert!(p99 <= ms(240), "{p99:?}");
    assert!(took.len() >= 5_400, "{} of 6000 bets that the platform can decide", took.len());
}

#[test]
fn end_of_an_overload_refuses_nothing() {
    let mut platform = Platform::new();
    platform.run(50, 3);
    platform.run(200, 5);
    platform.overload.take_change();
    let seen = platform.run(50, 5);
    let last = seen.refused.last().copied().unwrap_or_default();
    assert!(last < ms(1_000), "refused after {last:?}");
    assert!(matches!(platform.overload.take_change(), Some(Change::Ended { refused: 1.., .. })));
    assert!(platform.run(80, 5).refused.is_empty(), "the platform can decide these");
}

#[test]
fn burst_is_admitted() {
    let mut platform = Platform::new();
    platform.run(20, 3);
    let mut seen = Seen::default();
    for _ in 0..100 {
        platform.bet(Duration::ZERO, &mut seen);
    }
    assert_eq!(platform.overload.in_flight(), 100);
    assert!(seen.refused.is_empty() && platform.run(20, 5).refused.is_empty());
}

/// All bets of the burst are in the bucket that is not complete yet.
#[test]
fn burst_into_a_slow_queue_is_one_overload() {
    let mut platform = Platform::new();
    platform.run(20, 3);
    assert!(platform.burst(200).is_empty(), "nothing is slow yet");
    platform.pass(ms(1_300));
    assert_eq!(platform.overload.undecided.len(), 71);
    let mut changes = platform.burst(200);
    platform.run(20, 5);
    changes.extend(platform.take_changes());
    let is_one = matches!(changes.as_slice(), [Change::Began { .. }, Change::Ended { refused: 100.., .. }]);
    assert!(is_one, "{changes:?}");
}

/// The queue grew before the overload began, and only shrinks after its end.
#[test]
fn shrinking_queue_is_no_new_overload() {
    let mut platform = Platform::new();
    platform.run(20, 3);
    platform.burst(100);
    platform.pass(ms(900));
    assert!(platform.burst(200).is_empty(), "outcomes are not slow for a second yet");
    platform.pass(ms(300));
    platform.run(20, 5);
    let changes = platform.take_changes();
    let is_one = matches!(changes.as_slice(), [Change::Began { .. }, Change::Ended { refused: 1.., .. }]);
    assert!(is_one, "{changes:?}");
}

#[test]
fn late_outcomes_are_no_overload() {
    let mut platform = Platform::new();
    platform.run(20, 3);
    platform.travel = ms(2_100);
    assert!(platform.run(20, 20).refused.is_empty(), "a low rate");

    let mut platform = Platform::new();
    (platform.service, platform.travel) = (ms(1), TRAVEL);
    platform.run(100, 3);
    platform.travel = ms(1_000);
    assert!(platform.run(100, 20).refused.is_empty(), "a high rate, which is decided");
}

/// Bets that come together make the number of undecided ones go up and down.
#[test]
fn late_outcomes_in_batches_are_no_overload() {
    let mut platform = Platform::new();
    (platform.service, platform.travel) = (ms(1), TRAVEL);
    platform.run(100, 3);
    platform.travel = ms(1_000);
    let (begin, mut seen) = (platform.now, Seen::default());
    for batch in 1..=200 {
        for _ in 0..10 {
            platform.bet(begin, &mut seen);
        }
        platform.pass_until(begin + ms(100) * batch, begin, &mut seen);
    }
    assert!(seen.refused.is_empty(), "{} refused", seen.refused.len());
}

/// The outcomes before the idle time were slow, and most of the latest stay so until six quick ones have come.
#[test]
fn burst_after_an_idle_time_is_admitted() {
    let mut platform = Platform::new();
    platform.run(20, 3);
    platform.travel = ms(300);
    platform.run(20, 3);
    platform.pass(ms(60_000));
    (platform.service, platform.travel) = (ms(50), TRAVEL);
    let mut changes = platform.burst(100);
    platform.pass(ms(150));
    changes.extend(platform.burst(100));
    assert!(changes.is_empty(), "outcomes are not slow for a second: {changes:?}");
    assert_eq!(platform.overload.in_flight(), 198, "two were decided");
}

/// Game answers at once, because it decided these bets long ago.
#[test]
fn early_answers_do_not_make_others_slow() {
    let mut platform = Platform::new();
    for number in 0..70 {
        platform.run(20, 1);
        let old = ids::command_id("player", "route", &format!("old {number}"));
        assert_eq!(platform.overload.admit(&old, platform.now), Ok(()));
        platform.now += ms(1);
        platform.overload.decided(&old, platform.now);
    }
    assert_eq!(platform.overload.quickest.get(), Some(rounded(ms(20))));
    assert_eq!(platform.overload.slowness.since(), None);
}

#[test]
fn outage_is_no_overload() {
    for rate_per_s in [20, 60] {
        let mut platform = Platform::new();
        platform.run(rate_per_s, 3);
        platform.free_at = platform.now + ms(10_000);
        let refused = platform.run(rate_per_s, 60).refused;
        assert!(refused.is_empty(), "{} at {rate_per_s} a second", refused.len());
    }
}

#[test]
fn refusing_in_vain_is_given_up() {
    let mut platform = Platform::new();
    platform.learn();
    // From now on every outcome is late, and the later the longer, but the platform decides them all.
    (platform.service, platform.travel) = (ms(1), ms(1_000));
    platform.run(200, 3);
    platform.travel = ms(2_000);
    let seen = platform.run(200, 12);
    let last = seen.refused.last().expect("the number of undecided bets grew");
    assert!(*last < ms(11_000), "refused after {last:?}");
    assert!(platform.run(200, 5).refused.is_empty());
}

#[test]
fn repeated_undecided_bet_is_not_refused() {
    let mut platform = Platform::new();
    platform.run(50, 3);
    platform.run(200, 5);
    let (begin, mut seen) = (platform.now, Seen::default());
    for _ in 0..1_000 {
        platform.bet(begin, &mut seen);
    }
    assert!(!seen.refused.is_empty(), "a new bet is refused");
    let (id, _) = platform.due.values().next().expect("an undecided bet").clone();
    let in_flight = platform.overload.in_flight();
    assert_eq!(platform.overload.admit(&id, platform.now), Ok(()));
    assert_eq!(platform.overload.in_flight(), in_flight, "it counts once");
}

#[test]
fn repetition_does_not_restart_the_time() {
    let mut overload = Overload::new(RULES);
    let id = ids::command_id("player", "route", "key");
    assert_eq!(overload.admit(&id, ms(1)), Ok(()));
    assert_eq!(overload.admit(&id, ms(90)), Ok(()));
    overload.admit_known(&id, ms(95));
    overload.decided(&id, ms(101));
    assert_eq!(overload.quickest.get(), Some(rounded(ms(100))));
}

#[test]
fn known_and_unpublished_bets_do_not_count() {
    let mut platform = Platform::new();
    let id = ids::command_id("player", "route", "key");
    assert_eq!(platform.overload.admit(&id, ms(1)), Ok(()));
    platform.overload.cancel(&id);
    assert_eq!(platform.overload.in_flight(), 0);
    assert_eq!(platform.overload.quickest.get(), None, "it was not decided");
    platform.overload.admit_known(&id, ms(2));
    platform.overload.admit_known(&id, ms(3));
    assert_eq!(platform.overload.in_flight(), 1, "the same bet");
    platform.overload.decided(&ids::command_id("player", "route", "other"), ms(4));
    assert_eq!(platform.overload.in_flight(), 1, "a bet of another instance");
    platform.overload.advance(ms(2_003));
    assert_eq!((platform.overload.in_flight(), platform.overload.undecided.len()), (0, 1));
    platform.overload.advance(ms(60_001));
    assert_eq!(platform.overload.undecided.len(), 1);
    platform.overload.advance(ms(60_002));
    assert_eq!(platform.overload.undecided.len(), 0, "its outcome is not expected any more");
}

/// Game answers it at once, because it has decided the bet before.
#[test]
fn answer_to_a_decided_bet_is_not_measured() {
    let mut overload = Overload::new(RULES);
    let [decided, elsewhere, early] = ["1", "2", "3"].map(|key| ids::command_id("player", "route", key));
    assert_eq!(overload.admit(&decided, ms(1)), Ok(()));
    overload.decided(&decided, ms(101));
    overload.admit_known(&decided, ms(200));
    assert_eq!(overload.in_flight(), 0, "it was decided here");
    overload.decided(&decided, ms(201));
    assert_eq!(overload.admit(&decided, ms(202)), Ok(()));
    overload.decided(&decided, ms(203));

    overload.admit_known(&elsewhere, ms(300));
    assert_eq!(overload.in_flight(), 1, "it may be undecided");
    overload.decided(&elsewhere, ms(301));
    assert_eq!(overload.admit(&early, ms(400)), Ok(()));
    overload.answered_early(&early, ms(401));
    assert_eq!(overload.admit(&early, ms(402)), Ok(()));
    assert_eq!((overload.in_flight(), overload.undecided.len()), (0, 0));
    assert_eq!(overload.quickest.get(), Some(rounded(ms(100))));
    assert_eq!(overload.outcomes.per_s(SECOND, ms(1_000)), 1.0);

    overload.advance(ms(60_400));
    assert_eq!(overload.decided.len(), 1);
    overload.advance(ms(60_401));
    assert_eq!((overload.decided.len(), overload.decided_in_order.len()), (0, 0), "it is forgotten");
}

#[test]
fn decided_bet_passes_in_an_overload() {
    let mut platform = Platform::new();
    platform.run(50, 3);
    platform.run(200, 5);
    let (begin, mut seen) = (platform.now, Seen::default());
    for _ in 0..1_000 {
        platform.bet(begin, &mut seen);
    }
    assert!(!seen.refused.is_empty(), "a new bet is refused");
    let first = ids::command_id("player", "route", "1");
    let in_flight = platform.overload.in_flight();
    assert_eq!(platform.overload.admit(&first, platform.now), Ok(()));
    assert_eq!(platform.overload.in_flight(), in_flight, "it is decided");
}

#[test]
fn unacknowledged_bets_do_not_lengthen_waits() {
    let mut overload = Overload::new(RULES);
    let bets: Vec<EventId> =
        (0..20).map(|bet| ids::command_id("player", "route", &bet.to_string())).collect();
    for id in &bets {
        assert_eq!(overload.admit(id, ms(1)), Ok(()));
    }
    // No rate is known, so it is one a second.
    assert_eq!(overload.refuse(ms(2)).retry_after_s, 20);
    for id in bets[..15].iter().chain(&bets[..1]) {
        overload.unacknowledged(id);
    }
    assert_eq!(overload.refuse(ms(3)).retry_after_s, 5);
    assert_eq!(overload.admit(&bets[0], ms(4)), Ok(()), "it is published again");
    assert_eq!(overload.refuse(ms(4)).retry_after_s, 6);
    overload.decided(&bets[1], ms(5));
    overload.cancel(&bets[2]);
    assert_eq!(overload.refuse(ms(6)).retry_after_s, 6, "neither was expected");
    overload.advance(ms(60_001));
    assert_eq!((overload.undecided.len(), overload.unacknowledged), (0, 0));
}
