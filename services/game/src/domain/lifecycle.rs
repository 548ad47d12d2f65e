//! Lifecycle of a bet: it is decided once and then ended by payment's answer.
//!
//! It guarantees that every accepted bet ends in exactly one terminal event. An answer moves the bet, repeats the known state,
//! has no effect, or contradicts the stored state. Only the first two publish. A settled bet can still be voided, because an
//! operator's rollback always applies. A void of a rejected bet changes nothing, because no money moved. An answer that arrives
//! after the void that reversed it changes nothing either: the published void had nothing to reverse, and that stays true.

/// State of a bet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// The outcome is stored, and payment has not answered yet.
    Decided,
    /// Payment applied stake and payout.
    Settled,
    /// No money moved, because game refused the bet or payment rejected the wager.
    Rejected,
    /// The wager was reversed, or forbidden before payment applied it.
    Voided,
}

impl State {
    /// All states.
    pub const ALL: [Self; 4] = [Self::Decided, Self::Settled, Self::Rejected, Self::Voided];

    /// Name in documents and HTTP responses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Decided => "decided",
            Self::Settled => "settled",
            Self::Rejected => "rejected",
            Self::Voided => "voided",
        }
    }

    /// Returns the state with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Returns true if the bet has ended.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Decided)
    }

    /// States from which a bet may move to this state.
    #[must_use]
    pub const fn reached_from(self) -> &'static [Self] {
        match self {
            Self::Decided => &[],
            Self::Settled | Self::Rejected => &[Self::Decided],
            Self::Voided => &[Self::Decided, Self::Settled],
        }
    }
}

/// Source from which game knows that the money of a bet moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// No event has reported it.
    Never,
    /// Only the void reported it. The answer that it reverses was parked and has not been handled.
    ImpliedByVoid,
    /// Payment reported it, and game published `BetSettled`.
    Published,
}

/// Effect of an answer on a bet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The answer moves the bet to its next state.
    Move,
    /// The answer repeats what is stored. The same event is published again.
    Repeat,
    /// Nothing to store or publish: no money moved by either state, or the stored void already reversed the answer.
    Ignore,
    /// The answer contradicts the stored state. An operator has to investigate.
    Contradiction,
}

/// Returns the effect of payment's answer `target` on a bet in `state`, depending on its settlement.
#[must_use]
pub fn step(state: State, target: State, settlement: Settlement) -> Step {
    use State::{Rejected, Settled, Voided};
    if target.reached_from().contains(&state) {
        return Step::Move;
    }
    match (state, target, settlement) {
        (known, answered, _) if known == answered => Step::Repeat,
        (Voided, Settled, Settlement::Published) => Step::Repeat,
        (Voided, Settled, Settlement::ImpliedByVoid) => Step::Ignore,
        (Rejected, Voided, Settlement::Never) | (Voided, Rejected, Settlement::Never) => Step::Ignore,
        _ => Step::Contradiction,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_has_its_step() {
        use Settlement::{ImpliedByVoid, Never, Published};
        use State::{Decided, Rejected, Settled, Voided};
        for (state, target, settlement, expected) in [
            (Decided, Settled, Never, Step::Move),
            (Decided, Rejected, Never, Step::Move),
            (Decided, Voided, Never, Step::Move),
            (Settled, Settled, Published, Step::Repeat),
            (Settled, Rejected, Published, Step::Contradiction),
            (Settled, Voided, Published, Step::Move),
            (Rejected, Settled, Never, Step::Contradiction),
            (Rejected, Rejected, Never, Step::Repeat),
            (Rejected, Voided, Never, Step::Ignore),
            (Voided, Settled, Never, Step::Contradiction),
            (Voided, Settled, ImpliedByVoid, Step::Ignore),
            (Voided, Settled, Published, Step::Repeat),
            (Voided, Rejected, Never, Step::Ignore),
            (Voided, Rejected, ImpliedByVoid, Step::Contradiction),
            (Voided, Rejected, Published, Step::Contradiction),
            (Voided, Voided, Never, Step::Repeat),
            (Voided, Voided, ImpliedByVoid, Step::Repeat),
        ] {
            assert_eq!(
                step(state, target, settlement),
                expected,
                "{state:?} → {target:?}, settlement: {settlement:?}"
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
