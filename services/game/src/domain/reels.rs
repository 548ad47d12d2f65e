//! Reel strips, their symbols, and the payouts of a line.

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
