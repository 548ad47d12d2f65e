//! The regression of a release on purpose (docs/RELEASES.md). Only programs that are built with the feature `regression` have it.
//!
//! The defect: a payout is narrowed to eight bits. Small payouts fit, so the first bets pass. A record with a larger one panics
//! before any effect, and its consumer parks it after three attempts, as for any panic. The page of figures panics once the payouts
//! of its window are larger. No amount is changed, and no money depends on analytics.

/// Narrows a payout in minor units. An amount that a void reversed is negative and counts as none.
///
/// # Panics
/// For a payout of 256 minor units and more. That is the defect.
#[must_use]
pub fn narrowed(payout_minor: i64) -> u8 {
    u8::try_from(payout_minor.max(0)).expect("a payout has eight bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_payouts_hide_the_defect() {
        assert_eq!([i64::MIN, -1, 0, 255].map(narrowed), [0, 0, 0, 255]);
    }

    #[test]
    #[should_panic(expected = "a payout has eight bits")]
    fn larger_payout_panics() {
        let _never = narrowed(256);
    }
}
