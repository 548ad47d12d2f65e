//! [`Game`]: the closed list of games, so that a name that a client typed never becomes a dimension.
//!
//! A field `game` in a message is whatever its sender typed (its alphabet is checked, no more). Whoever counts, labels,
//! groups or names by it goes through [`Game`] or [`Game::label`] first.

use std::fmt;
use std::str::FromStr;

/// A game that players can play.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Game {
    /// Three reels, one line.
    Slots,
}

impl Game {
    /// Every game there is.
    pub const ALL: &'static [Self] = &[Self::Slots];

    /// What [`Self::label`] answers for a name that is no game of ours. No game may have this name.
    pub const UNKNOWN: &'static str = "unknown";

    /// The name on the wire, in documents and in labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Slots => "slots",
        }
    }

    /// The name to count under: that of the game, or [`Self::UNKNOWN`] for all others together.
    pub fn label(name: &str) -> &'static str {
        name.parse::<Self>().map_or(Self::UNKNOWN, Self::as_str)
    }
}

impl fmt::Display for Game {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text is the name of none of our games. It is not repeated: it may come from a stranger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown game")]
pub struct UnknownGame;

impl FromStr for Game {
    type Err = UnknownGame;

    /// Only the exact name: `Slots` is another game than `slots`, and none of ours.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|game| game.as_str() == text).ok_or(UnknownGame)
    }
}
