//! Big wins, and what the e-mail about one says.

use money::Money;

/// A payout of at least this many stakes is a big win.
pub const BIG_WIN_STAKES: u32 = 20;

/// Returns true if a payout is a big win. A payout in another currency than its stake is not.
#[must_use]
pub fn is_big(stake: Money, payout: Money) -> bool {
    let threshold = stake.checked_mul(BIG_WIN_STAKES);
    stake.is_positive()
        && threshold.is_ok_and(|threshold| {
            threshold.currency() == payout.currency() && payout.minor() >= threshold.minor()
        })
}

/// Returns the subject of the e-mail about a big win.
#[must_use]
pub fn subject(payout: Money) -> String {
    format!("You won {payout}")
}

/// Returns the text of the e-mail about a big win.
#[must_use]
pub fn text(game: &str, stake: Money, payout: Money) -> String {
    format!("your {game} bet of {stake} has just won {payout}.\nIt is on your balance already.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use money::Currency::{Eur, Usd};

    #[test]
    fn win_is_big_from_twenty_stakes() {
        let stake = Money::new(150, Eur);
        assert!(is_big(stake, Money::new(3_000, Eur)));
        assert!(!is_big(stake, Money::new(2_999, Eur)));
        assert!(!is_big(stake, Money::new(3_000, Usd)), "no common measure");
        assert!(!is_big(Money::zero(Eur), Money::new(1, Eur)), "no stake");
        assert!(!is_big(Money::new(i64::MAX, Eur), Money::new(i64::MAX, Eur)), "does not overflow");
    }
}
