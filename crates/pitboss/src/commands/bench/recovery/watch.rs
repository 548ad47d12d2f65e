//! The first settled bet after a kill.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::load_generator::load_report::{Kind, Outcome};

/// A kill.
#[derive(Clone, Copy, Debug)]
struct Killed {
    /// Moment before the request.
    asked_at: Instant,
    /// Moment after it. No bet that is sent from now on reaches the killed process.
    done_at: Instant,
}

/// Waits for the first settled bet that was to be sent after a kill.
#[derive(Debug, Default)]
pub(super) struct Watch {
    killed: Cell<Option<Killed>>,
    settled_after: Cell<Option<Duration>>,
}

impl Watch {
    /// Notes a kill, which was requested at `asked_at` and has happened now.
    pub(super) fn killed(&self, asked_at: Instant) {
        self.killed.set(Some(Killed { asked_at, done_at: Instant::now() }));
    }

    /// Notes a bet that has ended at `now`.
    pub(super) fn ended(&self, outcome: &Outcome, now: Instant) {
        let Some(Killed { asked_at, done_at }) = self.killed.get() else { return };
        // Latency counts from the intended time of sending.
        let is_later = now.checked_sub(outcome.latency).is_some_and(|intended| intended >= done_at);
        if is_later && outcome.kind == Kind::Settled && self.settled_after.get().is_none() {
            self.settled_after.set(Some(now.saturating_duration_since(asked_at)));
        }
    }

    /// Time from the request of the kill to the first settled bet after it, if there was one.
    pub(super) fn settled_after(&self) -> Option<Duration> {
        self.settled_after.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(kind: Kind, latency_ms: u64) -> Outcome {
        Outcome { kind, latency: Duration::from_millis(latency_ms), trace_id: None }
    }

    #[test]
    fn first_settled_bet_after_the_kill_counts() {
        let watch = Watch::default();
        let asked_at = Instant::now();
        watch.ended(&outcome(Kind::Settled, 0), asked_at);
        assert_eq!(watch.settled_after(), None, "nothing was killed");
        watch.killed(asked_at);
        let at = |ms| Instant::now() + Duration::from_millis(ms);
        watch.ended(&outcome(Kind::Settled, 1_100), at(1_000));
        assert_eq!(watch.settled_after(), None, "it was sent before the kill");
        watch.ended(&outcome(Kind::NotInTime, 100), at(2_000));
        assert_eq!(watch.settled_after(), None, "it was not settled");
        watch.ended(&outcome(Kind::Settled, 500), at(6_000));
        let first = watch.settled_after().expect("a settled bet");
        assert!(first >= Duration::from_secs(6), "{first:?}");
        watch.ended(&outcome(Kind::Settled, 10), at(7_000));
        assert_eq!(watch.settled_after(), Some(first));
    }
}
