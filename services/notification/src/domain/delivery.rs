//! Life cycle of one notification: its states, and the function that decides the step after each event.
//!
//! It guarantees that an effect with an unknown outcome is repeated a bounded number of times. If the server did not answer after
//! the hand-over of the e-mail, or the process died then, the attempt is counted and repeated at most
//! [`Limits::repeats_of_unknown_max`] times. An e-mail that the server puts off is retried with doubling pauses over hours and
//! then given up. A permanent refusal ends the delivery.

use serde::{Deserialize, Serialize};

/// State of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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

    /// Returns the state of a new notification.
    #[must_use]
    pub const fn initial(is_player_known: bool) -> Self {
        if is_player_known { Self::Due } else { Self::Waiting }
    }

    /// Returns true if the delivery has ended. Only an operator can restart it.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Sent | Self::Skipped | Self::Refused | Self::Parked)
    }
}

/// Event that moves a notification to another state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Its player is known now.
    Registered,
    /// An older build had claimed it and ended. Such claims never expire.
    Adopted,
    /// A process claims it at its due time, which for a claim of another process is its expiry.
    Claimed,
    /// An attempt under a claim ended. The tally counts the earlier attempts.
    Attempted(Attempt, Tally, &'a Limits),
    /// An operator retries it.
    Retried,
}

/// Result of one attempt at a claimed notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The server accepted the e-mail.
    Accepted,
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
    /// The holder of the claim died. If `handed_over` is false, it had certainly not handed the e-mail over.
    HolderDied {
        /// True if the e-mail may have been handed over.
        handed_over: bool,
    },
    /// Nothing was tried, because the store did not return the contact.
    StoreFailed,
    /// Nothing was tried, because the process shut down.
    Interrupted,
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

/// Change that follows from an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// New state.
    pub state: State,
    /// New counters. `None` keeps the stored ones.
    pub tally: Option<Tally>,
    /// Change of the number of attempts. Negative if nothing was tried under the claim.
    pub attempts: i32,
    /// Pause before the next attempt in milliseconds. Used only with [`State::Due`].
    pub pause_ms: u64,
    /// Reason why the e-mail was not sent, if it was not.
    pub why: Option<String>,
}

impl Step {
    const fn to(state: State) -> Self {
        Self { state, tally: None, attempts: 0, pause_ms: 0, why: None }
    }
}

/// Returns the step that follows from an event, or `None` if the event has no effect in this state.
#[must_use]
pub fn next(state: State, event: Event<'_>) -> Option<Step> {
    use State::{Claimed, Due, Parked, Waiting};
    Some(match (state, event) {
        (Waiting, Event::Registered) => Step::to(Due),
        (Claimed, Event::Adopted) => Step { tally: Some(Tally { unknown: 1, put_off: 0 }), ..Step::to(Due) },
        (Due | Claimed, Event::Claimed) => Step { attempts: 1, ..Step::to(Claimed) },
        (Claimed, Event::Attempted(attempt, tally, limits)) => after(attempt, tally, limits),
        (Parked, Event::Retried) => Step { tally: Some(Tally::default()), ..Step::to(Due) },
        _ => return None,
    })
}

/// Returns the states in which an event has an effect, with its steps. For a write that does not read the state first.
#[must_use]
pub fn steps(event: &Event<'_>) -> Vec<(State, Step)> {
    State::ALL.into_iter().filter_map(|state| Some((state, next(state, event.clone())?))).collect()
}

fn after(attempt: Attempt, tally: Tally, limits: &Limits) -> Step {
    let ended = |state, why| Step { tally: Some(tally), why, ..Step::to(state) };
    let not_tried = |pause_ms| Step { attempts: -1, pause_ms, ..ended(State::Due, None) };
    let (tally, is_over, why) = match attempt {
        Attempt::Accepted => return ended(State::Sent, None),
        Attempt::Unwanted => return ended(State::Skipped, Some("unwanted".to_owned())),
        Attempt::NoContact => return ended(State::Waiting, None),
        Attempt::Refused(why) => return ended(State::Refused, Some(why)),
        Attempt::Unreadable(why) => return ended(State::Parked, Some(why)),
        Attempt::StoreFailed => return not_tried(limits.pause_ms_min),
        Attempt::Interrupted => return not_tried(0),
        Attempt::HolderDied { handed_over: true } => {
            return after(Attempt::Unknown("the process died after the hand-over".to_owned()), tally, limits);
        }
        Attempt::HolderDied { handed_over: false } => {
            return after(Attempt::PutOff("the process died before the hand-over".to_owned()), tally, limits);
        }
        Attempt::PutOff(why) => {
            let tally = Tally { put_off: tally.put_off.saturating_add(1), ..tally };
            (tally, tally.put_off >= limits.put_off_max, why)
        }
        Attempt::Unknown(why) => {
            let tally = Tally { unknown: tally.unknown.saturating_add(1), ..tally };
            (tally, tally.unknown > limits.repeats_of_unknown_max, why)
        }
    };
    let (state, pause_ms) = if is_over { (State::Parked, 0) } else { (State::Due, pause_ms(tally, limits)) };
    Step { state, tally: Some(tally), attempts: 0, pause_ms, why: Some(why) }
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

    fn after_claim(attempt: Attempt, tally: Tally) -> Step {
        next(State::Claimed, Event::Attempted(attempt, tally, &LIMITS)).unwrap()
    }

    /// Returns the pauses between repeated attempts of one kind, and the final state.
    fn course(attempt: &Attempt) -> (Vec<u64>, State) {
        let mut tally = Tally::default();
        let mut pauses = Vec::new();
        for _ in 0..100 {
            let step = after_claim(attempt.clone(), tally);
            if step.state != State::Due {
                return (pauses, step.state);
            }
            tally = step.tally.unwrap();
            pauses.push(step.pause_ms);
        }
        panic!("{attempt:?} is repeated without end");
    }

    #[test]
    fn attempts_end_after_a_bounded_number() {
        let why = || "code 451".to_owned();
        assert_eq!(course(&Attempt::Accepted), (vec![], State::Sent));
        assert_eq!(course(&Attempt::Unwanted), (vec![], State::Skipped));
        assert_eq!(course(&Attempt::NoContact), (vec![], State::Waiting));
        assert_eq!(course(&Attempt::Refused(why())), (vec![], State::Refused));
        assert_eq!(course(&Attempt::Unreadable(why())), (vec![], State::Parked));
        assert_eq!(course(&Attempt::PutOff(why())), (vec![5_000, 10_000, 12_000], State::Parked));
        assert_eq!(course(&Attempt::Unknown(why())), (vec![5_000], State::Parked));
    }

    #[test]
    fn unknown_outcomes_are_counted_across_put_offs() {
        let first = after_claim(Attempt::Unknown("no answer".to_owned()), Tally::default());
        let between = after_claim(Attempt::PutOff("code 451".to_owned()), first.tally.unwrap());
        let second = after_claim(Attempt::Unknown("no answer".to_owned()), between.tally.unwrap());
        assert_eq!((between.state, second.state), (State::Due, State::Parked));
        assert_eq!(second.tally, Some(Tally { unknown: 2, put_off: 1 }));
    }

    #[test]
    fn events_have_an_effect_only_in_their_states() {
        use State::{Claimed, Due, Parked, Waiting};
        let moves = |event| -> Vec<_> {
            steps(&event).into_iter().map(|(from, step)| (from, step.state, step.attempts)).collect()
        };
        assert_eq!(moves(Event::Registered), [(Waiting, Due, 0)]);
        assert_eq!(moves(Event::Adopted), [(Claimed, Due, 0)]);
        assert_eq!(moves(Event::Claimed), [(Due, Claimed, 1), (Claimed, Claimed, 1)]);
        assert_eq!(moves(Event::Retried), [(Parked, Due, 0)]);
        let attempted = |attempt| Event::Attempted(attempt, Tally::default(), &LIMITS);
        assert_eq!(moves(attempted(Attempt::Interrupted)), [(Claimed, Due, -1)]);
    }

    #[test]
    fn names_are_unique_and_equal_the_stored_ones() {
        let names = State::ALL.map(State::as_str);
        assert_eq!(serde_json::to_value(State::ALL).unwrap(), serde_json::json!(names));
        assert_eq!(std::collections::BTreeSet::from(names).len(), names.len());
    }
}
