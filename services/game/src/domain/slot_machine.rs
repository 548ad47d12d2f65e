//! Slot machine with three reel strips, one line, and the published pay table.
//!
//! A payout is a whole multiple of the stake, so no payout is ever rounded, and the theoretical return is an exact fraction
//! ([`super::rtp`]).

use super::reels::{PayTable, REELS, STOPS, Strip, Symbol};
use super::rtp::Statistics;

/// Name of this game for players and operators.
pub const GAME: &str = contracts::Game::Slots.as_str();
/// Version of strips and table. It changes with each of them, because a settled bet names the table that paid it.
pub const PAY_TABLE_VERSION: &str = "slots-1";

/// Source of stops: a random generator in production, a script in tests.
pub trait StopSource {
    /// Returns a stop in `0..stops`, each with the same probability.
    fn stop(&mut self, stops: usize) -> usize;
}

/// Result of one spin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spin {
    /// Symbols on the line, from the left.
    pub line: [Symbol; REELS],
    /// Multiple of the stake that the line pays.
    pub multiplier: u32,
}

/// Strips, pay table, and the statistics that follow from them.
#[derive(Clone, Debug)]
pub struct SlotMachine {
    strips: [Strip; REELS],
    table: PayTable,
    statistics: Statistics,
}

impl SlotMachine {
    /// Creates a machine and computes its exact return by enumerating every combination of stops.
    #[must_use]
    pub fn new(strips: [Strip; REELS], table: PayTable) -> Self {
        let statistics = Statistics::enumerate(&strips, &table);
        Self { strips, table, statistics }
    }

    /// Returns the machine that players play. In the long run it pays back 15721/16384 of all stakes (95.953 %).
    #[must_use]
    pub fn published() -> Self {
        Self::new(
            [FIRST, SECOND, THIRD],
            PayTable { three_of_a_kind: [1000, 100, 60, 25, 12, 20, 5], two_cherries: 5, one_cherry: 2 },
        )
    }

    /// Plays one spin.
    pub fn spin(&self, source: &mut impl StopSource) -> Spin {
        let line = self.strips.each_ref().map(|strip| {
            let stop = source.stop(STOPS);
            assert!(stop < STOPS, "the source returned stop {stop} of {STOPS}");
            strip[stop]
        });
        Spin { line, multiplier: self.table.multiplier(line) }
    }

    /// Pay table.
    #[must_use]
    pub fn table(&self) -> &PayTable {
        &self.table
    }

    /// Reel strips, from the left.
    #[must_use]
    pub fn strips(&self) -> &[Strip; REELS] {
        &self.strips
    }

    /// Exact return and variance.
    #[must_use]
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }
}

use Symbol::{Bar, Bell, Cherry, Lemon, Orange, Plum, Seven};

#[rustfmt::skip]
const FIRST: Strip = [
    Seven, Lemon, Plum, Lemon, Bar, Cherry, Orange, Bar,
    Bell, Cherry, Lemon, Plum, Lemon, Plum, Orange, Lemon,
    Cherry, Orange, Lemon, Orange, Cherry, Lemon, Orange, Lemon,
    Bell, Orange, Cherry, Plum, Lemon, Cherry, Bell, Plum,
];

#[rustfmt::skip]
const SECOND: Strip = [
    Cherry, Plum, Bell, Plum, Lemon, Orange, Lemon, Cherry,
    Bar, Lemon, Orange, Bell, Lemon, Seven, Orange, Lemon,
    Orange, Lemon, Bar, Cherry, Plum, Lemon, Orange, Plum,
    Lemon, Bell, Cherry, Bell, Plum, Orange, Cherry, Lemon,
];

#[rustfmt::skip]
const THIRD: Strip = [
    Lemon, Orange, Lemon, Cherry, Bar, Lemon, Orange, Bell,
    Lemon, Cherry, Seven, Plum, Bell, Lemon, Orange, Lemon,
    Orange, Plum, Lemon, Plum, Orange, Lemon, Orange, Cherry,
    Orange, Cherry, Lemon, Bar, Bell, Plum, Bell, Plum,
];
