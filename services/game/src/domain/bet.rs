//! The rules of a bet: `decide(rules, command, source) -> decision`.
//!
//! A business "no" is a decision like any other; nothing is drawn for it.

use money::{Currency, Money};

use super::machine::{GAME, Machine, Spin, StopSource};

/// What may be staked, in minor units of whatever currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StakeLimits {
    /// The smallest stake.
    pub minor_min: i64,
    /// The largest stake; with the largest multiplier it has to fit 64 bits with room to spare.
    pub minor_max: i64,
}

/// What a decision depends on besides the command.
#[derive(Clone, Debug)]
pub struct Rules {
    machine: Machine,
    limits: StakeLimits,
}

/// A bet as it was asked for, not yet judged: the currency may be one that nobody holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask<'a> {
    /// Which game.
    pub game: &'a str,
    /// The stake in minor units.
    pub stake_minor: i64,
    /// The stake's currency code.
    pub currency: &'a str,
}

/// Why game says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// No such game.
    UnknownGame,
    /// No such currency.
    CurrencyNotSupported,
    /// Nothing, less than nothing, too little or too much.
    InvalidStake,
}

/// What game decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The bet was played: payment is asked to apply stake and payout together.
    Played {
        /// What the player pays.
        stake: Money,
        /// What the player gets; zero for a loss.
        payout: Money,
        /// What the reels showed.
        spin: Spin,
    },
    /// No bet.
    Refused(Refusal),
}

impl Rules {
    /// Rules for one machine.
    #[must_use]
    pub fn new(machine: Machine, limits: StakeLimits) -> Self {
        Self { machine, limits }
    }

    /// The machine that is played.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// What may be staked.
    #[must_use]
    pub fn limits(&self) -> StakeLimits {
        self.limits
    }

    /// Judges a bet and, where it is allowed, plays it.
    pub fn decide(&self, ask: Ask<'_>, source: &mut impl StopSource) -> Decision {
        let stake = match self.judge(ask) {
            Ok(stake) => stake,
            Err(refusal) => return Decision::Refused(refusal),
        };
        let spin = self.machine.spin(source);
        match stake.checked_mul(spin.multiplier) {
            Ok(payout) => Decision::Played { stake, payout, spin },
            // Only limits far beyond any sane configuration lead here; a payout that cannot be counted is not played.
            Err(_) => Decision::Refused(Refusal::InvalidStake),
        }
    }

    fn judge(&self, ask: Ask<'_>) -> Result<Money, Refusal> {
        if ask.game != GAME {
            return Err(Refusal::UnknownGame);
        }
        let currency: Currency = ask.currency.parse().map_err(|_| Refusal::CurrencyNotSupported)?;
        let stake = Money::new(ask.stake_minor, currency);
        let within = (self.limits.minor_min..=self.limits.minor_max).contains(&ask.stake_minor);
        if stake.is_positive() && within { Ok(stake) } else { Err(Refusal::InvalidStake) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stops from a list; panics when more are drawn than a spin needs.
    struct Script(Vec<usize>);

    impl StopSource for Script {
        fn stop(&mut self, _stops: usize) -> usize {
            self.0.pop().expect("no more stops than the test foresaw")
        }
    }

    fn rules() -> Rules {
        Rules::new(Machine::published(), StakeLimits { minor_min: 10, minor_max: 1_000 })
    }

    #[test]
    fn what_is_not_allowed_is_refused_without_a_draw() {
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
            let decision = rules().decide(Ask { game, stake_minor, currency }, &mut Script(vec![]));
            assert_eq!(decision, Decision::Refused(refusal), "{game} {stake_minor} {currency}");
        }
    }

    #[test]
    fn every_combination_of_stops_pays_what_the_table_says_to_the_cent() {
        let rules = rules();
        let mut paid = 0_i64;
        for stops in 0..32_usize.pow(3) {
            let mut script = Script(vec![stops % 32, stops / 32 % 32, stops / 1024]);
            let decision = rules.decide(Ask { game: "slots", stake_minor: 10, currency: "GBP" }, &mut script);
            let Decision::Played { stake, payout, spin } = decision else { panic!("refused: {decision:?}") };
            assert_eq!((stake.minor(), stake.currency()), (10, Currency::Gbp));
            assert_eq!(payout, stake.checked_mul(spin.multiplier).unwrap());
            paid += payout.minor();
        }
        assert_eq!(paid, 10 * i64::try_from(rules.machine().theory().sum).unwrap());
    }
}
