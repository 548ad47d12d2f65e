//! Admission of bets, as a state machine with its time injected. It decides from what it measures whether the platform is
//! overloaded, and refuses new bets while it is.
//!
//! It knows each bet from its admission to its outcome, so it measures how many are undecided, how fast outcomes come, and how
//! long each took. The platform is overloaded when three things come together: outcomes are slow (most take longer than a multiple
//! of the quickest), many bets are undecided, and their number grows. A fault that only delays outcomes makes no number grow, and
//! one that stops them leaves nothing to measure, so both refuse nothing.
//!
//! From then on, only as many bets may be in flight as are decided, at the measured rate, within that multiple (Little's law). The
//! rate is remembered, so that the next overload is recognised at once.

mod measures;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

use contracts::EventId;

use measures::{HALF_SECOND, Quickest, Rate, SECOND, Slowness, bucket_of};

/// Smallest limit of bets in flight. The platform handles some at the same time, however short a bet takes.
const LIMIT_MIN: usize = 8;
/// Smallest growth of the number of undecided bets that counts. For a first overload the number also has to double, because the
/// number of bets whose outcomes are only late goes up and down by chance.
const GROWTH_MIN: usize = 8;
/// Time without a refusal after which the overload is over.
const QUIET: Duration = Duration::from_secs(1);
/// Part of the time that a request waits, as a divisor. An outcome that takes longer than this part is slow in any case.
const TARGET_SHARE: u32 = 4;
/// Weight of the newest rate in the remembered one. It is measured each tenth of a second.
const WEIGHT: f64 = 1.0 / 8.0;
/// Time for which the rate is remembered.
const REMEMBERED: Duration = Duration::from_secs(600);
/// Time for which the rate of outcomes may stay below half of that at the beginning of the overload. After it, refusing is given up,
/// because it does not help.
const STARVED_MAX: Duration = Duration::from_secs(5);
/// Time for which nothing is refused then.
const HOLD: Duration = Duration::from_secs(10);
/// Time after which an outcome is not expected any more. A decided bet is known for as long after its outcome.
const EXPECTED: Duration = Duration::from_secs(60);
/// Largest number of bets in each of the three lists.
const LISTED_MAX: usize = 65_536;
/// Time over which arrivals are counted. A younger overload says nothing about them, because the bets that began it may all be in
/// the bucket that is not complete.
const ARRIVALS_WINDOW: Duration = Duration::from_millis(500);
/// Longest time that a refused client is asked to wait, in seconds.
pub(crate) const RETRY_AFTER_MAX_S: u64 = 30;

/// Settings of the admission.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Number of bets in flight below which a first overload is never assumed.
    pub(crate) in_flight_min: usize,
    /// Time to an outcome that is slow, as a multiple of the time of the quickest tenth.
    pub(crate) slow_ratio: u32,
    /// Time for which outcomes have to be slow before a first overload is assumed.
    pub(crate) after: Duration,
    /// Time that a request waits for its outcome. An older bet does not count as in flight.
    pub(crate) wait: Duration,
}

/// A bet is refused. Nothing was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Time in which the measured rate decides all bets whose outcomes are expected, in seconds.
    pub(crate) retry_after_s: u64,
}

/// A change that operators want to know.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Change {
    /// Bets are refused from now on.
    Began {
        /// Bets that may be in flight.
        limit: usize,
        /// Measured rate of outcomes.
        rate_per_s: f64,
    },
    /// No bet is refused any more.
    Ended {
        /// Bets that were refused.
        refused: u64,
        /// Duration of the overload.
        lasted: Duration,
    },
}

/// The admission's state.
#[derive(Debug)]
pub(crate) struct Overload {
    rules: Rules,
    undecided: HashMap<EventId, Undecided>,
    /// Admitted bets in order, until they are older than the wait. Decided ones stay in the list until then.
    young: VecDeque<(Duration, EventId)>,
    /// Older ones.
    old: VecDeque<(Duration, EventId)>,
    decided: HashSet<EventId>,
    /// The same ids in the order of their outcomes.
    decided_in_order: VecDeque<(Duration, EventId)>,
    in_flight: usize,
    /// Undecided bets that the broker has not acknowledged in time.
    unacknowledged: usize,
    arrivals: Rate,
    outcomes: Rate,
    quickest: Quickest,
    slowness: Slowness,
    /// Smallest number of undecided bets since outcomes became slow.
    undecided_min: usize,
    remembered: Option<Remembered>,
    episode: Option<Episode>,
    held_until: Duration,
    bucket: u64,
    /// Changes that were not taken yet. One call makes at most two.
    changes: VecDeque<Change>,
}

#[derive(Debug)]
struct Undecided {
    since: Duration,
    is_young: bool,
    is_measured: bool,
    is_unacknowledged: bool,
}

/// Rate at which the platform decides when it cannot decide more.
#[derive(Clone, Copy, Debug)]
struct Remembered {
    per_s: f64,
    at: Duration,
}

/// An overload.
#[derive(Debug)]
struct Episode {
    since: Duration,
    /// Rate of outcomes when it began.
    began_per_s: f64,
    last_refused: Duration,
    refused: u64,
    starved_since: Option<Duration>,
}

impl Overload {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            undecided: HashMap::new(),
            young: VecDeque::new(),
            old: VecDeque::new(),
            decided: HashSet::new(),
            decided_in_order: VecDeque::new(),
            in_flight: 0,
            unacknowledged: 0,
            arrivals: Rate::default(),
            outcomes: Rate::default(),
            quickest: Quickest::default(),
            slowness: Slowness::default(),
            undecided_min: 0,
            remembered: None,
            episode: None,
            held_until: Duration::ZERO,
            bucket: 0,
            changes: VecDeque::new(),
        }
    }

    /// Admits a new bet, or refuses it. A bet that is undecided, or was decided in the last minute, is not new, so a repetition of
    /// its request is never refused.
    pub(crate) fn admit(&mut self, id: &EventId, now: Duration) -> Result<(), Refusal> {
        self.advance(now);
        if self.is_repeated(id) {
            return Ok(());
        }
        self.arrivals.add(now);
        if self.is_refused(now) {
            return Err(self.refuse(now));
        }
        self.track(id, true, now);
        Ok(())
    }

    /// Admits a bet that was accepted before, whose client repeats its request. It is never refused. It may be decided already, and
    /// then its answer comes too soon, so a bet that is not known here is not measured.
    pub(crate) fn admit_known(&mut self, id: &EventId, now: Duration) {
        self.advance(now);
        if !self.is_repeated(id) {
            self.track(id, false, now);
        }
    }

    /// Counts the outcome of a bet. Bets that were not admitted here, and further outcomes of the same bet, are ignored.
    pub(crate) fn decided(&mut self, id: &EventId, now: Duration) {
        let Some(known) = self.untrack(id) else { return };
        self.keep_decided(id, now);
        if known.is_measured {
            self.sample(now.saturating_sub(known.since), now);
        }
        let undecided = self.undecided.len();
        let are_slow = self.slowness.since().is_some();
        self.undecided_min = if are_slow { self.undecided_min.min(undecided) } else { undecided };
        self.advance(now);
    }

    /// Counts no outcome for a bet whose answer says nothing about the platform.
    pub(crate) fn answered_early(&mut self, id: &EventId, now: Duration) {
        if self.untrack(id).is_some() {
            self.keep_decided(id, now);
        }
    }

    /// Forgets a bet that was not published.
    pub(crate) fn cancel(&mut self, id: &EventId) {
        self.untrack(id);
    }

    /// Expects no outcome of a bet that the broker has not acknowledged in time. If it was published after all, its outcome counts.
    pub(crate) fn unacknowledged(&mut self, id: &EventId) {
        if let Some(known) = self.undecided.get_mut(id).filter(|known| !known.is_unacknowledged) {
            known.is_unacknowledged = true;
            self.unacknowledged = self.unacknowledged.saturating_add(1);
        }
    }

    /// Lets time pass without a bet.
    pub(crate) fn advance(&mut self, now: Duration) {
        self.age(now);
        if bucket_of(now) > self.bucket {
            self.bucket = bucket_of(now);
            self.measure(now);
        }
        self.end_if_over(now);
    }

    /// Number of undecided bets that are younger than the wait.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Number of bets that may be in flight. `None` while any number may.
    pub(crate) fn limit(&self) -> Option<usize> {
        self.episode.as_ref()?;
        self.target().map(|target| self.limit_for(target))
    }

    /// Takes the oldest change that was not taken yet.
    pub(crate) fn take_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    fn sample(&mut self, took: Duration, now: Duration) {
        let is_slow = self.target().is_some_and(|target| took > target);
        self.outcomes.add(now);
        self.slowness.add(is_slow, now);
        // The times of an overload say nothing about the platform without one, so they only lower it.
        let may_rise = self.episode.is_none();
        self.quickest.add(took, may_rise, now);
    }

    fn is_refused(&mut self, now: Duration) -> bool {
        let Some(target) = self.target() else { return false };
        if self.episode.is_none() {
            if !self.begins(target, now) {
                return false;
            }
            self.begin(target, now);
        }
        self.in_flight >= self.limit_for(target)
    }

    /// Returns true if the platform is overloaded from now on.
    fn begins(&mut self, target: Duration, now: Duration) -> bool {
        if now < self.held_until {
            self.undecided_min = self.undecided.len();
            return false;
        }
        let Some(slow_since) = self.slowness.since() else { return false };
        let growth = self.undecided.len().saturating_sub(self.undecided_min);
        let rate_per_s = self.outcomes.per_s(SECOND, now);
        // Without outcomes the platform has failed. It is not overloaded as far as anyone can tell.
        if growth < GROWTH_MIN || rate_per_s <= 0.0 {
            return false;
        }
        if self.known_per_s(now).is_some() {
            return self.in_flight > self.limit_for(target);
        }
        growth >= self.undecided_min
            && now.saturating_sub(slow_since) >= self.rules.after
            && self.in_flight >= self.rules.in_flight_min
            && self.in_flight > limit(rate_per_s, target)
    }

    /// The remembered rate, if at least as many bets arrive.
    fn known_per_s(&mut self, now: Duration) -> Option<f64> {
        let arrivals_per_s = self.arrivals.per_s(HALF_SECOND, now);
        let known = self.remembered.filter(|known| now.saturating_sub(known.at) < REMEMBERED)?;
        (arrivals_per_s >= known.per_s).then_some(known.per_s)
    }

    fn begin(&mut self, target: Duration, now: Duration) {
        let rate_per_s = self.outcomes.per_s(SECOND, now);
        // While ever more bets arrive, the measured rate is still too low.
        let per_s = self.known_per_s(now).map_or(rate_per_s, |known_per_s| known_per_s.max(rate_per_s));
        self.remembered = Some(Remembered { per_s, at: now });
        self.episode = Some(Episode {
            since: now,
            began_per_s: rate_per_s,
            last_refused: now,
            refused: 0,
            starved_since: None,
        });
        self.quickest.begin(now);
        self.changes.push_back(Change::Began { limit: self.limit_for(target), rate_per_s: per_s });
    }

    fn refuse(&mut self, now: Duration) -> Refusal {
        if let Some(episode) = &mut self.episode {
            episode.refused = episode.refused.saturating_add(1);
            episode.last_refused = now;
        }
        let per_s = self.remembered.map_or(1.0, |known| known.per_s.max(1.0));
        let expected = self.undecided.len().saturating_sub(self.unacknowledged);
        let drained_s = (expected as f64 / per_s).ceil();
        Refusal { retry_after_s: (drained_s as u64).clamp(1, RETRY_AFTER_MAX_S) }
    }

    /// Measures the rate while bets are refused, because only then the platform decides as many as it can.
    fn measure(&mut self, now: Duration) {
        let Some(episode) = &mut self.episode else { return };
        let rate_per_s = self.outcomes.per_s(SECOND, now);
        if rate_per_s >= episode.began_per_s / 2.0 {
            episode.starved_since = None;
        } else {
            episode.starved_since.get_or_insert(now);
        }
        let began_before = now.saturating_sub(episode.since) >= QUIET;
        let refused_now = now.saturating_sub(episode.last_refused) < QUIET / 5;
        if let Some(known) = &mut self.remembered
            && began_before
            && refused_now
            && rate_per_s > 0.0
        {
            known.per_s += (rate_per_s - known.per_s) * WEIGHT;
            known.at = now;
        }
    }

    fn end_if_over(&mut self, now: Duration) {
        let Some(episode) = &self.episode else { return };
        let is_starved = episode.starved_since.is_some_and(|since| now.saturating_sub(since) >= STARVED_MAX);
        let is_quiet = now.saturating_sub(episode.last_refused) >= QUIET;
        let enough_per_s = self.remembered.map_or(0.0, |known| known.per_s / 2.0);
        let are_counted = now.saturating_sub(episode.since) >= ARRIVALS_WINDOW;
        let few_arrive = are_counted && self.arrivals.per_s(HALF_SECOND, now) < enough_per_s;
        if !(is_starved || is_quiet || few_arrive) {
            return;
        }
        let lasted = now.saturating_sub(episode.since);
        self.changes.push_back(Change::Ended { refused: episode.refused, lasted });
        self.episode = None;
        self.quickest.begin(now);
        // Only bets that come from now on are the growth of a next overload.
        self.undecided_min = self.undecided.len();
        if is_starved {
            self.remembered = None;
            self.held_until = now.saturating_add(HOLD);
        }
    }

    /// Time to an outcome up to which it is not slow.
    fn target(&self) -> Option<Duration> {
        let target = self.quickest.get()?.saturating_mul(self.rules.slow_ratio);
        Some(target.min(self.rules.wait / TARGET_SHARE))
    }

    fn limit_for(&self, target: Duration) -> usize {
        self.remembered.map_or(LIMIT_MIN, |known| limit(known.per_s, target))
    }

    /// Returns true for a bet that is known here. Its time does not begin again, because the outcome of the first request would
    /// seem to come at once. It is published again, so its outcome is expected.
    fn is_repeated(&mut self, id: &EventId) -> bool {
        let Some(known) = self.undecided.get_mut(id) else { return self.decided.contains(id) };
        if std::mem::take(&mut known.is_unacknowledged) {
            self.unacknowledged = self.unacknowledged.saturating_sub(1);
        }
        true
    }

    /// Begins to wait for the outcome of a bet that is not known here.
    fn track(&mut self, id: &EventId, is_measured: bool, now: Duration) {
        let bet = Undecided { since: now, is_young: true, is_measured, is_unacknowledged: false };
        self.undecided.insert(id.clone(), bet);
        self.young.push_back((now, id.clone()));
        self.in_flight = self.in_flight.saturating_add(1);
    }

    /// Removes an undecided bet.
    fn untrack(&mut self, id: &EventId) -> Option<Undecided> {
        let removed = self.undecided.remove(id)?;
        if removed.is_young {
            self.in_flight = self.in_flight.saturating_sub(1);
        }
        if removed.is_unacknowledged {
            self.unacknowledged = self.unacknowledged.saturating_sub(1);
        }
        Some(removed)
    }

    /// Knows a decided bet for some time, so that the answer to a repetition of its request is not measured.
    fn keep_decided(&mut self, id: &EventId, now: Duration) {
        if self.decided.insert(id.clone()) {
            self.decided_in_order.push_back((now, id.clone()));
        }
    }

    /// Moves bets to the list of the old ones, and removes those whose outcome is not expected any more or came long ago.
    fn age(&mut self, now: Duration) {
        while is_due(&self.young, self.rules.wait, now) {
            let Some((since, id)) = self.young.pop_front() else { break };
            let known = self.undecided.get_mut(&id).filter(|known| known.since == since && known.is_young);
            if let Some(known) = known {
                known.is_young = false;
                self.in_flight = self.in_flight.saturating_sub(1);
                self.old.push_back((since, id));
            }
        }
        while is_due(&self.old, EXPECTED, now) {
            let Some((since, id)) = self.old.pop_front() else { break };
            if self.undecided.get(&id).is_some_and(|known| known.since == since) {
                self.untrack(&id);
            }
        }
        while is_due(&self.decided_in_order, EXPECTED, now) {
            let Some((_, id)) = self.decided_in_order.pop_front() else { break };
            self.decided.remove(&id);
        }
    }
}

/// Returns true if the first bet of the list has this age, or if the list is too long.
fn is_due(list: &VecDeque<(Duration, EventId)>, age: Duration, now: Duration) -> bool {
    let first = list.front();
    list.len() > LISTED_MAX || first.is_some_and(|(since, _)| now.saturating_sub(*since) >= age)
}

/// Number of bets that this rate decides within this time.
fn limit(per_s: f64, target: Duration) -> usize {
    ((per_s * target.as_secs_f64()).ceil() as usize).max(LIMIT_MIN)
}

#[cfg(test)]
mod tests;
