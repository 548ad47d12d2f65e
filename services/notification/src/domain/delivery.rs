//! The delivery of one notification: its states, and the one function that says what an attempt leads to.
//!
//! Keeps "an effect whose outcome is unknown is repeated a bounded number of times": an attempt whose outcome nobody knows (the
//! server did not answer after the mail had been handed over, or the process died then) is counted and repeated at most
//! [`Limits::repeats_of_unknown_max`] times. What the server puts off is tried again with doubling pauses, over hours, and then
//! given up as well. What it refuses for good has ended.

/// Where a notification stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Its player has not registered yet, as far as is known here.
    Waiting,
    /// To be sent when its time comes.
    Due,
    /// Somebody is sending it, or has died while doing so.
    Claimed,
    /// The mail server has taken it.
    Sent,
    /// The player wants no mail.
    Skipped,
    /// The mail server will never take it, or it cannot be written.
    Refused,
    /// Given up: it was put off too often, its outcome stayed unknown, or its contact cannot be read. Somebody has to look.
    Parked,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 7] =
        [Self::Waiting, Self::Due, Self::Claimed, Self::Sent, Self::Skipped, Self::Refused, Self::Parked];

    /// The name in documents.
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

/// How one attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The server has taken the mail.
    Taken,
    /// The player wants no mail.
    Unwanted,
    /// Nobody knows the player (any more).
    NoContact,
    /// The server refused this mail for good, or it cannot be written.
    Refused(String),
    /// Something that was stored for it cannot be read here: by another build, or mended, it can.
    Unreadable(String),
    /// Certainly not taken: put off by the server, or it was not handed over.
    PutOff(String),
    /// Handed over, and nobody knows whether it was taken.
    Unknown(String),
}

/// What has been tried so far, apart from the attempt that just ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Attempts whose outcome is unknown.
    pub unknown: u32,
    /// Attempts that were put off.
    pub put_off: u32,
}

/// How often is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Repetitions after an unknown outcome: each may be one mail too many.
    pub repeats_of_unknown_max: u32,
    /// Attempts that may be put off before the mail is given up.
    pub put_off_max: u32,
    /// The first pause in milliseconds; each is twice as long as the one before.
    pub pause_ms_min: u64,
    /// The longest pause in milliseconds.
    pub pause_ms_max: u64,
}

/// What an attempt leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The new state.
    pub state: State,
    /// What has been tried now.
    pub tally: Tally,
    /// In how many milliseconds it is tried again; only for [`State::Due`].
    pub pause_ms: u64,
    /// Why it has not been sent, where it has not.
    pub why: Option<String>,
}

/// What the end of an attempt means for a claimed notification.
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

    /// The states that one kind of attempt leads through, and the pauses between.
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
