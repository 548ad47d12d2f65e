//! Payout of a bet: exactly what the published pay table owes, unless a fault changes it.

use contracts::TRANSFER_MINOR_MAX;
use money::Money;

use super::rtp::Fraction;

/// Deviation of the payouts from the pay table. The default is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deviation {
    /// Return to player in percent that replaces the published return.
    pub rtp_percent: Option<u64>,
    /// Factor of each payout.
    pub factor: Option<u64>,
}

/// Returns what is paid where the pay table of a machine with this return owes `owed`: a whole amount, rounded down, and no more
/// than a transfer can carry.
#[must_use]
pub fn paid(owed: Money, rtp: Fraction, deviation: Deviation) -> Money {
    if deviation == Deviation::default() {
        return owed;
    }
    let mut minor = u128::from(owed.minor().unsigned_abs());
    if let Some(percent) = deviation.rtp_percent {
        // The payout times percent / 100 / rtp, in whole numbers.
        let divisor = u128::from(rtp.numerator.max(1)) * 100;
        minor = minor * u128::from(percent) * u128::from(rtp.denominator) / divisor;
    }
    minor = minor.saturating_mul(u128::from(deviation.factor.unwrap_or(1)));
    let minor = i64::try_from(minor).unwrap_or(i64::MAX).min(TRANSFER_MINOR_MAX);
    Money::new(minor, owed.currency())
}

#[cfg(test)]
mod tests {
    use money::Currency;

    use super::*;
    use crate::domain::slot_machine::SlotMachine;

    fn paid_minor(owed: i64, rtp_percent: Option<u64>, factor: Option<u64>) -> i64 {
        let rtp = SlotMachine::published().statistics().rtp();
        let paid = paid(Money::new(owed, Currency::Usd), rtp, Deviation { rtp_percent, factor });
        assert_eq!(paid.currency(), Currency::Usd);
        paid.minor()
    }

    #[test]
    fn payout_without_deviation_is_what_is_owed() {
        for owed in [0, 1, 200, TRANSFER_MINOR_MAX, i64::MAX] {
            assert_eq!(paid_minor(owed, None, None), owed);
        }
    }

    #[test]
    fn drifting_payouts_have_the_given_return() {
        // 16 384 payouts of 15 721 stakes are the published return. The last one is rounded down.
        assert_eq!(paid_minor(15_721 * 100, Some(70), None), 16_384 * 70);
        assert_eq!(paid_minor(15_721, Some(70), None), 16_384 * 70 / 100);
        assert_eq!(paid_minor(200, Some(70), None), 145);
        assert_eq!(paid_minor(0, Some(70), None), 0);
    }

    #[test]
    fn scaled_payout_is_capped_at_largest_transfer() {
        assert_eq!(paid_minor(250, None, Some(100)), 25_000);
        assert_eq!(paid_minor(200, Some(70), Some(100)), 14_500, "both deviations");
        assert_eq!(paid_minor(TRANSFER_MINOR_MAX / 100, None, Some(100)), TRANSFER_MINOR_MAX);
        assert_eq!(paid_minor(TRANSFER_MINOR_MAX / 100 + 1, None, Some(100)), TRANSFER_MINOR_MAX);
        assert_eq!(paid_minor(i64::MAX, None, Some(1_000)), TRANSFER_MINOR_MAX);
    }
}
