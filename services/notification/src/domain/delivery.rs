//! Delivery of one notification: its states, and the function that decides the step after an attempt.
//!
//! It guarantees that an effect with an unknown outcome is repeated a bounded number of times. If the server did not answer after
//! the hand-over of the e-mail, or the process died then, the attempt is counted and repeated at most
//! [`Limits::repeats_of_unknown_max`] times. An e-mail that the server puts off is retried with doubling pauses over hours and
//! then given up. A permanent refusal ends the delivery.

/// State of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Its player has not registered yet, as far as this service knows.
    Waiting,
    /// It will be sent at its due time.
    Due,
    /// A process is sending it, or died while sending it.
    Claimed,
    /// The mail server accepted it.
    Sent,
    /// The player wants no e-mail.
    Skipped,
    /// The mail server refused it permanently, or the e-mail cannot be built.
    Refused,
    /// Given up: put off too often, outcome unknown, or contact unreadable. An operator has to act.
    Parked,
}

impl State {
    /// All states.
    pub const ALL: [Self; 7] =
        [Self::Waiting, Self::Due, Self::Claimed, Self::Sent, Self::Skipped, Self::Refused, Self::Parked];

    /// Name in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Due => "due",
            Self::Claimed => "claimed",
            Self::Sent => "sent",
            Self::Skipped => "skipped",
            Self::Refused => "refused",
            Self::Parked => "parked",
        }
    }
}

/// Result of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The server accepted the e-mail.
    Taken,
    /// The player wants no e-mail.
    Unwanted,
    /// The player is unknown, or not known any more.
    NoContact,
    /// The server refused this e-mail permanently, or it cannot be built.
    Refused(String),
    /// A stored document cannot be read by this build. Another build can read it, or an operator can repair it.
    Unreadable(String),
    /// Certainly not accepted: the server put it off, or it was not handed over.
    PutOff(String),
    /// Handed over, and it is unknown whether the server accepted it.
    Unknown(String),
}

/// Counters of the attempts before the one that just ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Attempts with an unknown outcome.
    pub unknown: u32,
    /// Attempts that were put off.
    pub put_off: u32,
}

/// Limits of the attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Repetitions after an unknown outcome. Each may deliver the e-mail twice.
    pub repeats_of_unknown_max: u32,
    /// Attempts that may be put off before the e-mail is given up.
    pub put_off_max: u32,
    /// First pause in milliseconds. Each pause is twice as long as the one before.
    pub pause_ms_min: u64,
    /// Longest pause in milliseconds.
    pub pause_ms_max: u64,
}

/// Step that follows from an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// New state.
    pub state: State,
    /// Counters including this attempt.
    pub tally: Tally,
    /// Pause before the next attempt in milliseconds. Used only with [`State::Due`].
    pub pause_ms: u64,
    /// Reason why the e-mail was not sent, if it was not.
    pub why: Option<String>,
}

/// Returns the step that follows from the result of an attempt at a claimed notification.
#[must_use]
pub fn after(attempt: Attempt, tally: Tally, limits: &Limits) -> Step {
    let ended = |state, why| Step { state, tally, pause_ms: 0, why };
    let (tally, is_over, why) = match attempt {
        Attempt::Taken => return ended(State::Sent, None),
        Attempt::Unwanted => return ended(State::Skipped, Some("unwanted".to_owned())),
        Attempt::NoContact => return ended(State::Waiting, None),
        Attempt::Refused(why) => return ended(State::Refused, Some(why)),
        Attempt::Unreadable(why) => return ended(State::Parked, Some(why)),
        Attempt::PutOff(why) => {
            let tally = Tally { put_off: tally.put_off.saturating_add(1), ..tally };
            (tally, tally.put_off >= limits.put_off_max, why)
        }
        Attempt::Unknown(why) => {
            let tally = Tally { unknown: tally.unknown.saturating_add(1), ..tally };
            (tally, tally.unknown > limits.repeats_of_unknown_max, why)
        }
    };
    if is_over {
        return Step { state: State::Parked, tally, pause_ms: 0, why: Some(why) };
    }
    Step { state: State::Due, tally, pause_ms: pause_ms(tally, limits), why: Some(why) }
}

fn pause_ms(tally: Tally, limits: &Limits) -> u64 {
    let doublings = tally.unknown.saturating_add(tally.put_off).saturating_sub(1).min(40);
    limits.pause_ms_min.saturating_mul(1 << doublings).min(limits.pause_ms_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { repeats_of_unknown_max: 1, put_off_max: 4, pause_ms_min: 5_000, pause_ms_max: 12_000 };

    /// Returns the pauses between repeated attempts of one kind, and the final state.
    fn course(attempt: &Attempt) -> (Vec<u64>, State) {
        let mut tally = Tally::default();
        let mut pauses = Vec::new();
        for _ in 0..100 {
            let step = after(attempt.clone(), tally, &LIMITS);
            if step.state != State::Due {
                return (pauses, step.state);
            }
            tally = step.tally;
            pauses.push(step.pause_ms);
        }
        panic!("{attempt:?} is repeated for ever");
    }

    #[test]
    fn every_attempt_ends_after_a_bounded_number() {
        let why = || "code 451".to_owned();
        assert_eq!(course(&Attempt::Taken), (vec![], State::Sent));
        assert_eq!(course(&Attempt::Unwanted), (vec![], State::Skipped));
        assert_eq!(course(&Attempt::NoContact), (vec![], State::Waiting));
        assert_eq!(course(&Attempt::Refused(why())), (vec![], State::Refused));
        assert_eq!(course(&Attempt::Unreadable(why())), (vec![], State::Parked));
        assert_eq!(course(&Attempt::PutOff(why())), (vec![5_000, 10_000, 12_000], State::Parked));
        assert_eq!(course(&Attempt::Unknown(why())), (vec![5_000], State::Parked));
    }

    #[test]
    fn unknown_outcomes_are_counted_through_what_is_put_off_between_them() {
        let first = after(Attempt::Unknown("no answer".to_owned()), Tally::default(), &LIMITS);
        let between = after(Attempt::PutOff("code 451".to_owned()), first.tally, &LIMITS);
        let second = after(Attempt::Unknown("no answer".to_owned()), between.tally, &LIMITS);
        assert_eq!((between.state, second.state), (State::Due, State::Parked));
        assert_eq!(second.tally, Tally { unknown: 2, put_off: 1 });
    }

    #[test]
    fn no_two_states_have_one_name() {
        let names: std::collections::BTreeSet<_> = State::ALL.map(State::as_str).into_iter().collect();
        assert_eq!(names.len(), State::ALL.len());
    }
}
