//! [`Game`]: the closed list of games, so that a name from a client never becomes a metric dimension.
//!
//! A field `game` in a message holds the client's text (only its alphabet is checked). Code that counts, labels, groups
//! or names by it must use [`Game`] or [`Game::label`] first.

use std::fmt;
use std::str::FromStr;

/// A game that players can play.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Game {
    /// Three reels, one line.
    Slots,
}

impl Game {
    /// All games.
    pub const ALL: &'static [Self] = &[Self::Slots];

    /// The label for an unknown name, returned by [`Self::label`]. No game may have this name.
    pub const UNKNOWN: &'static str = "unknown";

    /// The name on the wire, in documents and in labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Slots => "slots",
        }
    }

    /// The label for a game's name in metrics. All unknown names share [`Self::UNKNOWN`].
    pub fn label(name: &str) -> &'static str {
        name.parse::<Self>().map_or(Self::UNKNOWN, Self::as_str)
    }
}

impl fmt::Display for Game {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text is not the name of a game. The error omits the text, because it may come from an untrusted client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown game")]
pub struct UnknownGame;

impl FromStr for Game {
    type Err = UnknownGame;

    /// Accepts only the exact name: `Slots` is not `slots`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|game| game.as_str() == text).ok_or(UnknownGame)
    }
}
