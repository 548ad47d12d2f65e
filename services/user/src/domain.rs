//! Rules without I/O and without a clock: changes of a player's standing, entries of the history, and limits of attempts.

pub mod attempts;
pub mod change;
pub mod history;
pub mod standing;

pub use change::{Change, Refusal};
pub use history::{Entry, Kind, Outcome};
pub use standing::Standing;
