//! The runs of a monitor in one environment, by the ids of their check-ins.

use super::{IN_PROGRESS, schedule::Schedule};

/// Largest number of runs that go on, and of ended ones, that are remembered. The oldest is forgotten first.
const RUNS_MAX: usize = 100;

/// Id of the newest run, whatever its own is.
const NEWEST: &str = "";

/// Runs that are remembered.
#[derive(Debug, Default)]
pub(super) struct Runs {
    /// Ids of those that have not ended, with their last check-ins, in their order.
    going: Vec<(String, f64)>,
    /// Ids of those that have ended, in the order of their ends.
    ended: Vec<String>,
    /// Number of the newest ones that ended alike.
    in_a_row: u64,
    /// Those failed.
    has_failed: bool,
    /// So many failed in a row that the monitor is failing, and it has not recovered yet.
    is_failing: bool,
}

/// What a check-in is to the runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// It begins a run, or is all that there is of one.
    First,
    /// It belongs to a run that has begun.
    Further,
    /// Its run has ended. As in Sentry, it changes nothing.
    Refused,
}

/// Returns the id of a run as it is compared. It is empty for the newest run, which is meant by an id of zeros and by none.
pub(super) fn run_id(check_in_id: &str) -> String {
    let id = check_in_id.replace('-', "").to_ascii_lowercase();
    if id.bytes().all(|digit| digit == b'0') { NEWEST.to_owned() } else { id }
}

impl Runs {
    /// Returns true if a run has this id.
    pub(super) fn has(&self, id: &str) -> bool {
        id != NEWEST && (self.position(id).is_some() || self.has_ended(id))
    }

    /// Adds a check-in with the id of its run. One that is `ok` also ends the runs that took longer than they may.
    pub(super) fn add(&mut self, id: &str, status: &str, at: f64, schedule: &Schedule) -> Part {
        if self.has_ended(id) {
            return Part::Refused;
        }
        let position = if id == NEWEST { self.going.len().checked_sub(1) } else { self.position(id) };
        let (id, part) = match position {
            // The newest run keeps its id.
            Some(position) => (self.going.remove(position).0, Part::Further),
            None => (id.to_owned(), Part::First),
        };
        if status == IN_PROGRESS {
            push(&mut self.going, (id, at));
            return part;
        }
        self.count_end(status == "error", schedule);
        if status == "ok" {
            self.going.retain(|(_, since)| !schedule.is_late(*since, at));
        }
        if id != NEWEST {
            push(&mut self.ended, id);
        }
        part
    }

    /// Returns true if a run has taken longer than it may.
    pub(super) fn is_any_late(&self, now: f64, schedule: &Schedule) -> bool {
        self.going.iter().any(|(_, since)| schedule.is_late(*since, now))
    }

    /// Returns true if so many runs failed in a row as the settings say, and not so many were good since.
    pub(super) fn is_failing(&self) -> bool {
        self.is_failing
    }

    fn count_end(&mut self, has_failed: bool, schedule: &Schedule) {
        self.in_a_row = if has_failed == self.has_failed { self.in_a_row.saturating_add(1) } else { 1 };
        self.has_failed = has_failed;
        let enough = if has_failed { schedule.failures_min } else { schedule.recoveries_min };
        if self.in_a_row >= enough {
            self.is_failing = has_failed;
        }
    }

    fn position(&self, id: &str) -> Option<usize> {
        self.going.iter().position(|(run, _)| run == id)
    }

    fn has_ended(&self, id: &str) -> bool {
        self.ended.iter().any(|run| run == id)
    }
}

/// Adds a run, and forgets the oldest one if there are too many.
fn push<T>(runs: &mut Vec<T>, run: T) {
    if runs.len() >= RUNS_MAX {
        drop(runs.remove(0));
    }
    runs.push(run);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_that_ended_takes_no_further_check_in() {
        let (mut runs, schedule) = (Runs::default(), Schedule::default());
        let mut add = |id: &str, status: &str| runs.add(id, status, 1_000.0, &schedule);
        assert_eq!([add("a", "ok"), add("a", IN_PROGRESS)], [Part::First, Part::Refused], "out of order");
        assert_eq!([add("b", "error"), add("b", "ok")], [Part::First, Part::Refused], "it stays an error");
        assert_eq!([add("c", IN_PROGRESS), add("c", IN_PROGRESS)], [Part::First, Part::Further]);
        assert_eq!([add("c", "ok"), add("c", "ok")], [Part::Further, Part::Refused]);
        assert!(!runs.is_any_late(1e9, &schedule), "nothing goes on");
        assert!(runs.has("a") && runs.has("c") && !runs.has("d") && !runs.has(NEWEST));
    }

    #[test]
    fn newest_run_keeps_its_id() {
        let (mut runs, schedule) = (Runs::default(), Schedule::default());
        let mut add = |id: &str, status: &str| runs.add(&run_id(id), status, 1_000.0, &schedule);
        let zeros = "00000000-0000-0000-0000-000000000000";
        assert_eq!([add("", "ok"), add(zeros, "ok")], [Part::First; 2], "each is a run of its own");
        assert_eq!([add("A-1", IN_PROGRESS), add(zeros, IN_PROGRESS)], [Part::First, Part::Further]);
        assert_eq!([add("a1", "ok"), add("a-1", "error")], [Part::Further, Part::Refused]);
    }

    #[test]
    fn monitor_fails_and_recovers_by_its_thresholds() {
        let schedule = Schedule { failures_min: 2, recoveries_min: 3, ..Schedule::default() };
        let mut runs = Runs::default();
        let is_failing = |status: &str| {
            runs.add(NEWEST, status, 1_000.0, &schedule);
            runs.is_failing()
        };
        let ends = ["error", "ok", "error", IN_PROGRESS, "error", "ok", "ok", "error", "ok", "ok", "ok"];
        let expected = [false, false, false, false, true, true, true, true, true, true, false];
        assert_eq!(ends.map(is_failing), expected);
        let mut once = Runs::default();
        once.add("a", "error", 1_000.0, &Schedule::default());
        assert!(once.is_failing(), "one failure is enough without settings");
        once.add("a", "ok", 1_000.0, &Schedule::default());
        assert!(once.is_failing(), "a refused check-in is no recovery");
    }

    #[test]
    fn runs_are_bounded() {
        let (mut runs, schedule) = (Runs::default(), Schedule::default());
        for run in 0..2 * RUNS_MAX {
            for (name, status) in [("going", IN_PROGRESS), ("ended", "error")] {
                assert_eq!(runs.add(&format!("{name}{run}"), status, 1_000.0, &schedule), Part::First);
            }
        }
        assert_eq!((runs.going.len(), runs.ended.len()), (RUNS_MAX, RUNS_MAX));
        assert!(!runs.has("ended0") && runs.has("ended199"));
    }
}
