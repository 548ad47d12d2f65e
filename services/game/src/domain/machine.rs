//! Slot machine with three reel strips, one line, and the published pay table.
//!
//! A payout is a whole multiple of the stake, so no payout is ever rounded, and the theoretical return is an exact fraction
//! ([`super::theory`]).

use super::theory::Theory;

/// Name of this game for players and operators.
pub const GAME: &str = contracts::Game::Slots.as_str();
/// Version of strips and table. It changes with each of them, because a settled bet names the table that paid it.
pub const PAY_TABLE_VERSION: &str = "slots-1";
/// Number of reels.
pub const REELS: usize = 3;
/// Number of stops on each reel. A power of two, so a uniform stop needs no rejection sampling.
pub const STOPS: usize = 32;

/// Symbol on a reel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Symbol {
    /// Rarest symbol.
    Seven,
    /// A bar.
    Bar,
    /// A bell.
    Bell,
    /// A plum.
    Plum,
    /// An orange.
    Orange,
    /// Cherry. Pays from the left even alone.
    Cherry,
    /// Most common symbol.
    Lemon,
}

impl Symbol {
    /// All symbols, in the order of the pay table.
    pub const ALL: [Self; 7] =
        [Self::Seven, Self::Bar, Self::Bell, Self::Plum, Self::Orange, Self::Cherry, Self::Lemon];

    /// Name in events and documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Seven => "seven",
            Self::Bar => "bar",
            Self::Bell => "bell",
            Self::Plum => "plum",
            Self::Orange => "orange",
            Self::Cherry => "cherry",
            Self::Lemon => "lemon",
        }
    }
}

/// One reel, stop by stop.
pub type Strip = [Symbol; STOPS];

/// Payouts as whole multiples of the stake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayTable {
    /// Three of a kind, in the order of [`Symbol::ALL`].
    pub three_of_a_kind: [u32; Symbol::ALL.len()],
    /// A cherry on the first two reels and not on the third.
    pub two_cherries: u32,
    /// A cherry on the first reel and not on the second.
    pub one_cherry: u32,
}

impl PayTable {
    /// Returns the multiple of the stake that this line pays, or 0 for a loss.
    #[must_use]
    pub fn multiplier(&self, line: [Symbol; REELS]) -> u32 {
        match line {
            [first, second, third] if first == second && second == third => Symbol::ALL
                .into_iter()
                .zip(self.three_of_a_kind)
                .find(|(s, _)| *s == first)
                .map_or(0, |(_, pays)| pays),
            [Symbol::Cherry, Symbol::Cherry, _] => self.two_cherries,
            [Symbol::Cherry, ..] => self.one_cherry,
            _ => 0,
        }
    }
}

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

/// Strips, pay table, and the theory that follows from them.
#[derive(Clone, Debug)]
pub struct Machine {
    strips: [Strip; REELS],
    table: PayTable,
    theory: Theory,
}

impl Machine {
    /// Creates a machine and computes its exact return by enumerating every combination of stops.
    #[must_use]
    pub fn new(strips: [Strip; REELS], table: PayTable) -> Self {
        let theory = Theory::enumerate(&strips, &table);
        Self { strips, table, theory }
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
            assert!(stop < STOPS, "a source answered stop {stop} of {STOPS}");
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
    pub fn theory(&self) -> &Theory {
        &self.theory
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
