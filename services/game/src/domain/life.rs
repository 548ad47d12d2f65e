//! A bet's life: decided once, then ended by what payment says happened to the money.
//!
//! Keeps "every accepted bet ends in exactly one terminal event": an answer either moves a bet, repeats what is known, or
//! contradicts it, and only the first two publish. A void of a settled bet is the one second step: an operator's rollback
//! always lands. A void of what was rejected changes nothing: no money had moved.

/// Where a bet stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// The outcome is stored; payment has not answered yet.
    Decided,
    /// Stake and payout were applied.
    Settled,
    /// No money moved, by the rules of game or of payment.
    Rejected,
    /// Taken back.
    Voided,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Decided, Self::Settled, Self::Rejected, Self::Voided];

    /// The name in documents and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Decided => "decided",
            Self::Settled => "settled",
            Self::Rejected => "rejected",
            Self::Voided => "voided",
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Whether the bet has ended.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Decided)
    }

    /// The states from which a bet may move here.
    #[must_use]
    pub const fn reached_from(self) -> &'static [Self] {
        match self {
            Self::Decided => &[],
            Self::Settled | Self::Rejected => &[Self::Decided],
            Self::Voided => &[Self::Decided, Self::Settled],
        }
    }
}

/// What an answer means for a bet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It moves the bet.
    Move,
    /// It says what is known: publish the same event again.
    Repeat,
    /// It says of a bet without effect that it has none: nothing to store and nothing to tell.
    Nothing,
    /// It cannot be true together with what is stored: somebody has to look.
    Contradiction,
}

/// What it means that payment says `target` of a bet in `state`, which had been settled before or not.
#[must_use]
pub fn step(state: State, target: State, was_settled: bool) -> Step {
    if target.reached_from().contains(&state) {
        Step::Move
    } else if state == target || (state == State::Voided && target == State::Settled && was_settled) {
        Step::Repeat
    } else if !was_settled
        && matches!((state, target), (State::Rejected, State::Voided) | (State::Voided, State::Rejected))
    {
        Step::Nothing
    } else {
        Step::Contradiction
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_to_every_state_is_told_apart() {
        use State::{Decided, Rejected, Settled, Voided};
        for (state, target, was_settled, expected) in [
            (Decided, Settled, false, Step::Move),
            (Decided, Rejected, false, Step::Move),
            (Decided, Voided, false, Step::Move),
            (Settled, Settled, true, Step::Repeat),
            (Settled, Rejected, true, Step::Contradiction),
            (Settled, Voided, true, Step::Move),
            (Rejected, Settled, false, Step::Contradiction),
            (Rejected, Rejected, false, Step::Repeat),
            (Rejected, Voided, false, Step::Nothing),
            (Voided, Settled, false, Step::Contradiction),
            (Voided, Settled, true, Step::Repeat),
            (Voided, Rejected, false, Step::Nothing),
            (Voided, Rejected, true, Step::Contradiction),
            (Voided, Voided, false, Step::Repeat),
        ] {
            assert_eq!(
                step(state, target, was_settled),
                expected,
                "{state:?} → {target:?}, settled: {was_settled}"
            );
        }
    }

    #[test]
    fn names_round_trip() {
        for state in State::ALL {
            assert_eq!(State::parse(state.as_str()), Some(state));
        }
        assert_eq!(State::parse("open"), None);
    }
}
