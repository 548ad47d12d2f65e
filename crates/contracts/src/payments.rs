//! What other parts may rely on about the deposits and withdrawals that payment has accepted.

/// Longest time in milliseconds from a request to the end of its deposit or withdrawal, or to its parking.
///
/// Payment refuses settings with which its attempts and reports could take longer. It is no bound while the provider cannot be
/// reached, while payment does not run, or while more payments wait than it has slots.
pub const OPEN_MS_MAX: i64 = 3_600_000;
