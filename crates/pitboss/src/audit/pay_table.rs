//! Published pay table, as every player can read it.

use serde::Deserialize;

/// Payouts of a game.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PayTable {
    /// Name of the game.
    pub game: String,
    /// Version that bets name.
    pub version: String,
    /// Lines that pay, no two of which match the same reels.
    pub pays: Vec<Pay>,
}

/// Payout of one line.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Pay {
    /// Symbols from the left. `any` is any symbol, and `other` any but a cherry.
    pub line: Vec<String>,
    /// Payout as a multiple of the stake.
    pub multiplier: u32,
}

impl Pay {
    fn matches(&self, reels: &[String]) -> bool {
        let fits = |(wanted, shown): (&String, &String)| match wanted.as_str() {
            "any" => true,
            "other" => shown != "cherry",
            symbol => shown == symbol,
        };
        self.line.len() == reels.len() && self.line.iter().zip(reels).all(fits)
    }
}

impl PayTable {
    /// Returns the multiple of the stake that these reels pay, 0 for a loss. `None` for reels of another length than the lines.
    #[must_use]
    pub fn multiplier(&self, reels: &[String]) -> Option<u32> {
        self.pays.iter().find(|pay| pay.line.len() == reels.len())?;
        Some(self.pays.iter().find(|pay| pay.matches(reels)).map_or(0, |pay| pay.multiplier))
    }
}
