//! `GET /internal/v1/games/slots/pay-table`: returns the payouts, the strips, and the exact return that follows from them.

use serde::Serialize;

use crate::domain::bet::Rules;
use crate::domain::reels::Symbol;
use crate::domain::rtp::Fraction;
use crate::domain::slot_machine::{GAME, PAY_TABLE_VERSION};

/// Published pay table.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PayTableView {
    game: &'static str,
    version: &'static str,
    stake_minor_min: i64,
    stake_minor_max: i64,
    /// Return to player, exact over all combinations of stops.
    rtp: FractionView,
    /// Share of spins that pay anything.
    hit_rate: FractionView,
    combinations: u64,
    /// Payouts as multiples of the stake.
    pays: Vec<Pay>,
    /// Reels from the left, stop by stop, so that a reader can verify the return.
    strips: Vec<Vec<&'static str>>,
}

#[derive(Clone, Debug, Serialize)]
struct FractionView {
    numerator: u64,
    denominator: u64,
    percent: String,
}

#[derive(Clone, Debug, Serialize)]
struct Pay {
    /// Symbols from the left. `any` is any symbol, `other` is any but a cherry.
    line: [&'static str; 3],
    multiplier: u32,
}

impl PayTableView {
    pub(crate) fn of(rules: &Rules) -> Self {
        let machine = rules.machine();
        let table = machine.table();
        let mut pays: Vec<Pay> = Symbol::ALL
            .into_iter()
            .map(|symbol| Pay { line: [symbol.as_str(); 3], multiplier: table.multiplier([symbol; 3]) })
            .collect();
        let cherry = Symbol::Cherry.as_str();
        pays.push(Pay { line: [cherry, cherry, "other"], multiplier: table.two_cherries });
        pays.push(Pay { line: [cherry, "other", "any"], multiplier: table.one_cherry });
        Self {
            game: GAME,
            version: PAY_TABLE_VERSION,
            stake_minor_min: rules.limits().minor_min,
            stake_minor_max: rules.limits().minor_max,
            rtp: machine.statistics().rtp().into(),
            hit_rate: machine.statistics().hit_rate().into(),
            combinations: machine.statistics().combinations,
            pays,
            strips: machine.strips().iter().map(|strip| strip.iter().map(|s| s.as_str()).collect()).collect(),
        }
    }
}

impl From<Fraction> for FractionView {
    fn from(fraction: Fraction) -> Self {
        Self { numerator: fraction.numerator, denominator: fraction.denominator, percent: fraction.percent() }
    }
}
