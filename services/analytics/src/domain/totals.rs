//! Sums of a bucket. Merging is associative and commutative, so the result does not depend on the order of summing.

use serde::Serialize;

use super::fact::Kind;

/// Sums over the facts of a bucket. The names of the fields are those in documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Number of facts in the sums.
    pub facts: i64,
    /// Settled bets minus those voided afterwards. Negative if a bucket holds the void and not the bet.
    pub bets: i64,
    /// Stakes of these bets, in minor units.
    pub stake_minor: i64,
    /// Payouts of these bets, in minor units.
    pub payout_minor: i64,
    /// Rejected bets.
    pub rejected: i64,
    /// Voided bets, with or without applied amounts.
    pub voided: i64,
    /// Completed deposits and withdrawals.
    pub payments_completed: i64,
    /// Failed deposits and withdrawals.
    pub payments_failed: i64,
    /// Sum of deposits, in minor units.
    pub deposited_minor: i64,
    /// Sum of withdrawals, in minor units.
    pub withdrawn_minor: i64,
    /// New players.
    pub registered: i64,
}

impl Totals {
    /// Returns the totals of `count` facts of one kind.
    #[must_use]
    pub fn of(kind: Kind, count: i64, in_minor: i64, out_minor: i64) -> Self {
        let nothing = Self { facts: count, ..Self::default() };
        match kind {
            Kind::BetSettled => {
                Self { bets: count, stake_minor: in_minor, payout_minor: out_minor, ..nothing }
            }
            Kind::BetRejected => Self { rejected: count, ..nothing },
            Kind::BetVoided => Self { voided: count, ..nothing },
            Kind::BetReversed => Self {
                voided: count,
                bets: count.saturating_neg(),
                stake_minor: in_minor,
                payout_minor: out_minor,
                ..nothing
            },
            Kind::DepositCompleted => {
                Self { payments_completed: count, deposited_minor: in_minor, ..nothing }
            }
            Kind::WithdrawalCompleted => {
                Self { payments_completed: count, withdrawn_minor: out_minor, ..nothing }
            }
            Kind::DepositFailed | Kind::WithdrawalFailed => Self { payments_failed: count, ..nothing },
            Kind::PlayerRegistered => Self { registered: count, ..nothing },
        }
    }

    /// Adds two totals. A sum out of range saturates, because a report must not stop the platform.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        Self {
            facts: self.facts.saturating_add(other.facts),
            bets: self.bets.saturating_add(other.bets),
            stake_minor: self.stake_minor.saturating_add(other.stake_minor),
            payout_minor: self.payout_minor.saturating_add(other.payout_minor),
            rejected: self.rejected.saturating_add(other.rejected),
            voided: self.voided.saturating_add(other.voided),
            payments_completed: self.payments_completed.saturating_add(other.payments_completed),
            payments_failed: self.payments_failed.saturating_add(other.payments_failed),
            deposited_minor: self.deposited_minor.saturating_add(other.deposited_minor),
            withdrawn_minor: self.withdrawn_minor.saturating_add(other.withdrawn_minor),
            registered: self.registered.saturating_add(other.registered),
        }
    }

    /// Returns the return to player in millionths of the stakes, or `None` without stakes.
    #[must_use]
    pub fn rtp_ppm(&self) -> Option<i64> {
        ratio_ppm(self.payout_minor, self.stake_minor)
    }

    /// Returns the share of completed payments in millionths, or `None` without payments.
    #[must_use]
    pub fn payment_success_ppm(&self) -> Option<i64> {
        ratio_ppm(self.payments_completed, self.payments_completed.saturating_add(self.payments_failed))
    }
}

fn ratio_ppm(part: i64, whole: i64) -> Option<i64> {
    if whole <= 0 {
        return None;
    }
    i64::try_from(i128::from(part) * 1_000_000 / i128::from(whole)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_need_a_denominator() {
        let totals = Totals::of(Kind::BetSettled, 3, 300, 288);
        assert_eq!(totals.rtp_ppm(), Some(960_000));
        assert_eq!(totals.payment_success_ppm(), None);
        assert_eq!(Totals::default().rtp_ppm(), None);
        let payments =
            Totals::of(Kind::DepositCompleted, 3, 9, 0).merge(Totals::of(Kind::WithdrawalFailed, 1, 0, 0));
        assert_eq!(payments.payment_success_ppm(), Some(750_000));
        let most = Totals::of(Kind::BetSettled, 1, i64::MAX, i64::MAX);
        assert_eq!(most.merge(most).rtp_ppm(), Some(1_000_000), "saturated, not wrapped");
    }

    #[test]
    fn reversed_bet_leaves_only_void_count() {
        let bet = Totals::of(Kind::BetSettled, 1, 100, 200);
        let void = Totals::of(Kind::BetReversed, 1, -100, -200);
        assert_eq!(bet.merge(void), Totals { facts: 2, voided: 1, ..Totals::default() });
        assert_eq!(void.rtp_ppm(), None, "a bucket with the void and not the bet has no return");
    }
}
