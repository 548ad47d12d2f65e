//! A bet's life: decided once, then ended by what payment says happened to the money.
//!
//! Keeps "every accepted bet ends in exactly one terminal event": an answer either moves a bet, repeats what is known, or
//! contradicts it, and only the first two publish. A void of a settled bet is the one second step: an operator's rollback
//! always lands. A void of what was rejected changes nothing: no money had moved. Neither does an answer that comes after the
//! void that took it back: everybody was told of a void of nothing, and that is what is left.

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

/// What game knows about whether the money of a bet ever moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Nobody has said so.
    Never,
    /// Only the void said so: the answer that was taken back has not come (it was parked).
    Unheard,
    /// Payment has said so, and everybody was told.
    Told,
}

/// What an answer means for a bet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It moves the bet.
    Move,
    /// It says what is known: publish the same event again.
    Repeat,
    /// It says of a bet without effect that it has none, or what was taken back already: nothing to store and nothing to tell.
    Nothing,
    /// It cannot be true together with what is stored: somebody has to look.
    Contradiction,
}

/// What it means that payment says `target` of a bet in `state`, whose money had moved or not.
#[must_use]
pub fn step(state: State, target: State, applied: Applied) -> Step {
    use State::{Rejected, Settled, Voided};
    if target.reached_from().contains(&state) {
        return Step::Move;
    }
    match (state, target, applied) {
        (known, said, _) if known == said => Step::Repeat,
        (Voided, Settled, Applied::Told) => Step::Repeat,
        (Voided, Settled, Applied::Unheard) => Step::Nothing,
        (Rejected, Voided, Applied::Never) | (Voided, Rejected, Applied::Never) => Step::Nothing,
        _ => Step::Contradiction,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_to_every_state_is_told_apart() {
        use Applied::{Never, Told, Unheard};
        use State::{Decided, Rejected, Settled, Voided};
        for (state, target, applied, expected) in [
            (Decided, Settled, Never, Step::Move),
            (Decided, Rejected, Never, Step::Move),
            (Decided, Voided, Never, Step::Move),
            (Settled, Settled, Told, Step::Repeat),
            (Settled, Rejected, Told, Step::Contradiction),
            (Settled, Voided, Told, Step::Move),
            (Rejected, Settled, Never, Step::Contradiction),
            (Rejected, Rejected, Never, Step::Repeat),
            (Rejected, Voided, Never, Step::Nothing),
            (Voided, Settled, Never, Step::Contradiction),
            (Voided, Settled, Unheard, Step::Nothing),
            (Voided, Settled, Told, Step::Repeat),
            (Voided, Rejected, Never, Step::Nothing),
            (Voided, Rejected, Unheard, Step::Contradiction),
            (Voided, Rejected, Told, Step::Contradiction),
            (Voided, Voided, Never, Step::Repeat),
            (Voided, Voided, Unheard, Step::Repeat),
        ] {
            assert_eq!(
                step(state, target, applied),
                expected,
                "{state:?} → {target:?}, applied: {applied:?}"
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
