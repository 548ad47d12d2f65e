//! The rules, without I/O and without a clock: what a player may change, and what becomes of an entry of the history.

pub mod attempts;
pub mod change;
pub mod history;
pub mod standing;

pub use change::{Change, Refusal};
pub use history::{Entry, Kind, Outcome};
pub use standing::Standing;
