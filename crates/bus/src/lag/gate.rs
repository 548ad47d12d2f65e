//! A gate that holds back repeated requests while the answering group lags. It reports once when it stays closed too long.

use std::time::{Duration, Instant};

/// Time after which a closed gate is reported. The lag of a working group does not last that long.
const CLOSED_MAX: Duration = Duration::from_secs(300);

/// Distinguishes a gate that is closed briefly from one that stays closed.
#[derive(Debug)]
pub struct Gate {
    closed_max: Duration,
    closed: Option<Closed>,
}

#[derive(Debug)]
struct Closed {
    since: Instant,
    is_reported: bool,
}

impl Default for Gate {
    fn default() -> Self {
        Self::reporting_after(CLOSED_MAX)
    }
}

impl Gate {
    /// Creates a gate that is reported after it was closed for `closed_max`.
    #[must_use]
    pub fn reporting_after(closed_max: Duration) -> Self {
        Self { closed_max, closed: None }
    }

    /// Registers whether the gate is closed now. Returns how long it has been closed once that reaches the limit, and then not
    /// again until it was open.
    pub fn note(&mut self, is_closed: bool) -> Option<Duration> {
        self.overdue(is_closed, Instant::now())
    }

    fn overdue(&mut self, is_closed: bool, now: Instant) -> Option<Duration> {
        if !is_closed {
            self.closed = None;
            return None;
        }
        let closed = self.closed.get_or_insert(Closed { since: now, is_reported: false });
        let held_back = now.duration_since(closed.since);
        let is_overdue = !closed.is_reported && held_back >= self.closed_max;
        closed.is_reported |= is_overdue;
        is_overdue.then_some(held_back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_closed_gate_is_reported_once_per_closing() {
        let (mut gate, began) = (Gate::default(), Instant::now());
        let mut overdue = |is_closed, second| {
            gate.overdue(is_closed, began + Duration::from_secs(second)).map(|held_back| held_back.as_secs())
        };
        assert_eq!([overdue(true, 0), overdue(true, 299), overdue(true, 300)], [None, None, Some(300)]);
        assert_eq!([overdue(true, 301), overdue(true, 9_000)], [None, None], "once");
        assert_eq!(
            [overdue(false, 9_001), overdue(true, 9_002), overdue(true, 9_301)],
            [None; 3],
            "it was open"
        );
        assert_eq!(overdue(true, 9_302), Some(300));
    }
}
