//! Rules of a bet: `decide(rules, command, source) -> decision`.
//!
//! A business refusal is a decision like any other. No stop is drawn for it.

use money::{Currency, Money};

use super::slot_machine::{GAME, SlotMachine, Spin, StopSource};

/// Range of allowed stakes, in minor units of any currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StakeLimits {
    /// Smallest stake.
    pub minor_min: i64,
    /// Largest stake. Its product with the largest multiplier has to fit into 64 bits with room to spare.
    pub minor_max: i64,
}

impl StakeLimits {
    /// Creates limits that hold for every currency.
    #[must_use]
    pub const fn new(minor_min: i64, minor_max: i64) -> Self {
        Self { minor_min, minor_max }
    }
}

/// Inputs of a decision besides the command.
#[derive(Clone, Debug)]
pub struct Rules {
    machine: SlotMachine,
    limits: StakeLimits,
}

/// A bet as requested, before the rules are applied. The currency may be unsupported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BetRequest<'a> {
    /// Name of the game.
    pub game: &'a str,
    /// Stake in minor units.
    pub stake_minor: i64,
    /// Currency code of the stake.
    pub currency: &'a str,
}

/// Reason why game refuses a bet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The game does not exist.
    UnknownGame,
    /// The currency is not supported.
    CurrencyNotSupported,
    /// The stake is not positive or is outside the limits.
    InvalidStake,
}

/// Decision on a bet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The bet was played. Payment has to apply stake and payout together.
    Played {
        /// Amount that the player pays.
        stake: Money,
        /// Amount that the player gets. Zero for a loss.
        payout: Money,
        /// Symbols and multiplier of the spin.
        spin: Spin,
    },
    /// The bet was refused.
    Refused(Refusal),
}

impl Rules {
    /// Creates the rules for one machine.
    #[must_use]
    pub fn new(machine: SlotMachine, limits: StakeLimits) -> Self {
        Self { machine, limits }
    }

    /// Machine that is played.
    #[must_use]
    pub fn machine(&self) -> &SlotMachine {
        &self.machine
    }

    /// Allowed stakes.
    #[must_use]
    pub fn limits(&self) -> StakeLimits {
        self.limits
    }

    /// Checks a bet and plays it if it is allowed.
    pub fn decide(&self, request: BetRequest<'_>, source: &mut impl StopSource) -> Decision {
        let stake = match self.check(request) {
            Ok(stake) => stake,
            Err(refusal) => return Decision::Refused(refusal),
        };
        let spin = self.machine.spin(source);
        match stake.checked_mul(spin.multiplier) {
            Ok(payout) => Decision::Played { stake, payout, spin },
            // Reached only with limits far above any valid configuration. A payout that overflows is not played.
            Err(_) => Decision::Refused(Refusal::InvalidStake),
        }
    }

    fn check(&self, request: BetRequest<'_>) -> Result<Money, Refusal> {
        if request.game != GAME {
            return Err(Refusal::UnknownGame);
        }
        let currency: Currency = request.currency.parse().map_err(|_| Refusal::CurrencyNotSupported)?;
        let stake = Money::new(request.stake_minor, currency);
        let within = (self.limits.minor_min..=self.limits.minor_max).contains(&request.stake_minor);
        if stake.is_positive() && within { Ok(stake) } else { Err(Refusal::InvalidStake) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the listed stops. Panics when a spin draws more of them.
    struct Script(Vec<usize>);

    impl StopSource for Script {
        fn stop(&mut self, _stops: usize) -> usize {
            self.0.pop().expect("the test lists every stop that is drawn")
        }
    }

    fn rules() -> Rules {
        Rules::new(SlotMachine::published(), StakeLimits::new(10, 1_000))
    }

    #[test]
    fn invalid_bet_is_refused_without_a_draw() {
        let cases = [
            (("roulette", 100, "EUR"), Refusal::UnknownGame),
            (("", 100, "EUR"), Refusal::UnknownGame),
            (("slots", 100, "XXX"), Refusal::CurrencyNotSupported),
            (("slots", 100, "eur"), Refusal::CurrencyNotSupported),
            (("slots", 0, "EUR"), Refusal::InvalidStake),
            (("slots", -100, "EUR"), Refusal::InvalidStake),
            (("slots", 9, "EUR"), Refusal::InvalidStake),
            (("slots", 1_001, "EUR"), Refusal::InvalidStake),
            (("slots", i64::MIN, "EUR"), Refusal::InvalidStake),
            (("slots", i64::MAX, "EUR"), Refusal::InvalidStake),
        ];
        for ((game, stake_minor, currency), refusal) in cases {
            let decision = rules().decide(BetRequest { game, stake_minor, currency }, &mut Script(vec![]));
            assert_eq!(decision, Decision::Refused(refusal), "{game} {stake_minor} {currency}");
        }
    }

    #[test]
    fn every_combination_pays_exactly_by_the_table() {
        let rules = rules();
        let mut paid = 0_i64;
        for stops in 0..32_usize.pow(3) {
            let mut script = Script(vec![stops % 32, stops / 32 % 32, stops / 1024]);
            let decision =
                rules.decide(BetRequest { game: "slots", stake_minor: 10, currency: "GBP" }, &mut script);
            let Decision::Played { stake, payout, spin } = decision else { panic!("refused: {decision:?}") };
            assert_eq!((stake.minor(), stake.currency()), (10, Currency::Gbp));
            assert_eq!(payout, stake.checked_mul(spin.multiplier).unwrap());
            paid += payout.minor();
        }
        assert_eq!(paid, 10 * i64::try_from(rules.machine().statistics().sum).unwrap());
    }
}
