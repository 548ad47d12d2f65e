//! Examples of the messages of the ledger and about payments.

use contracts::proto::common::v1::Money;
use contracts::proto::payments::v1::{
    ApplyWager, CommandConflict, Deposit, DepositCompleted, DepositFailed, ProviderReported,
    RestrictionsApplied, VoidWager, WagerApplied, WagerRejected, WagerVoided, Withdraw, WithdrawalCompleted,
    WithdrawalFailed,
};
use contracts::{EventType, ProviderOutcome, RejectReason};
use proptest::prelude::*;

use super::{
    BET, Example, PAYMENT, PLAYER, any_amount, any_event_type, eur, id, name, not_negative, positive, reason,
    reversed, text,
};

const GAME: &str = "slots";
const REFERENCE: &str = "ch_1";

/// A wager's id, player, game and stake.
fn wager() -> impl Strategy<Value = (String, String, String, Option<Money>)> {
    (id(), name(), name(), positive())
}

/// A payment's id, player and amount.
fn payment() -> impl Strategy<Value = (String, String, Option<Money>)> {
    (id(), name(), positive())
}

impl Example for ApplyWager {
    fn sample() -> Self {
        Self {
            wager_id: BET.to_owned(),
            player_id: PLAYER.to_owned(),
            game: GAME.to_owned(),
            stake: eur(100),
            payout: eur(2_000),
        }
    }

    fn any() -> BoxedStrategy<Self> {
        (wager(), not_negative())
            .prop_map(|((wager_id, player_id, game, stake), payout)| Self {
                wager_id,
                player_id,
                game,
                stake,
                payout,
            })
            .boxed()
    }
}

impl Example for VoidWager {
    fn sample() -> Self {
        Self { wager_id: BET.to_owned(), player_id: PLAYER.to_owned(), reason: "stuck".to_owned() }
    }

    fn any() -> BoxedStrategy<Self> {
        (id(), name(), text())
            .prop_map(|(wager_id, player_id, reason)| Self { wager_id, player_id, reason })
            .boxed()
    }
}

impl Example for Deposit {
    fn sample() -> Self {
        Self { player_id: PLAYER.to_owned(), amount: eur(5_000) }
    }

    fn any() -> BoxedStrategy<Self> {
        (name(), positive()).prop_map(|(player_id, amount)| Self { player_id, amount }).boxed()
    }
}

impl Example for Withdraw {
    fn sample() -> Self {
        Self { player_id: PLAYER.to_owned(), amount: eur(1_500) }
    }

    fn any() -> BoxedStrategy<Self> {
        (name(), positive()).prop_map(|(player_id, amount)| Self { player_id, amount }).boxed()
    }
}

impl Example for ProviderReported {
    fn sample() -> Self {
        Self {
            payment_id: PAYMENT.to_owned(),
            player_id: PLAYER.to_owned(),
            outcome: ProviderOutcome::Captured.into(),
            provider_reference: REFERENCE.to_owned(),
            amount: eur(5_000),
        }
    }

    fn any() -> BoxedStrategy<Self> {
        (payment(), "[ -~]{0,20}")
            .prop_map(|((payment_id, player_id, amount), provider_reference)| Self {
                payment_id,
                player_id,
                outcome: ProviderOutcome::Declined.into(),
                provider_reference,
                amount,
            })
            .boxed()
    }
}

impl Example for WagerApplied {
    fn sample() -> Self {
        Self {
            wager_id: BET.to_owned(),
            player_id: PLAYER.to_owned(),
            game: GAME.to_owned(),
            stake: eur(100),
            payout: eur(2_000),
            balance_after: eur(6_900),
            seq: 2,
        }
    }

    fn any() -> BoxedStrategy<Self> {
        (wager(), not_negative(), any_amount(), 1..=i64::MAX)
            .prop_map(|((wager_id, player_id, game, stake), payout, balance_after, seq)| Self {
                wager_id,
                player_id,
                game,
                stake,
                payout,
                balance_after,
                seq,
            })
            .boxed()
    }
}

impl Example for WagerRejected {
    fn sample() -> Self {
        Self {
            wager_id: BET.to_owned(),
            player_id: PLAYER.to_owned(),
            game: GAME.to_owned(),
            stake: eur(100),
            reason: RejectReason::InsufficientFunds.into(),
            balance: eur(42),
        }
    }

    fn any() -> BoxedStrategy<Self> {
        (wager(), reason(), any_amount(), any::<bool>())
            .prop_map(|((wager_id, player_id, game, stake), reason, balance, held)| Self {
                wager_id,
                player_id,
                game,
                stake,
                reason,
                balance: balance.filter(|_| held),
            })
            .boxed()
    }
}

impl Example for WagerVoided {
    fn sample() -> Self {
        Self {
            wager_id: BET.to_owned(),
            player_id: PLAYER.to_owned(),
            balance_after: eur(5_000),
            reason: "stuck".to_owned(),
            reversed_stake: eur(100),
            reversed_payout: eur(2_000),
        }
    }

    fn any() -> BoxedStrategy<Self> {
        (id(), name(), any_amount(), text(), reversed())
            .prop_map(|(wager_id, player_id, balance_after, reason, (reversed_stake, reversed_payout))| {
                Self { wager_id, player_id, balance_after, reason, reversed_stake, reversed_payout }
            })
            .boxed()
    }
}

impl Example for DepositCompleted {
    fn sample() -> Self {
        Self {
            payment_id: PAYMENT.to_owned(),
            player_id: PLAYER.to_owned(),
            amount: eur(5_000),
            balance_after: eur(5_000),
            provider_reference: REFERENCE.to_owned(),
        }
    }

    fn any() -> BoxedStrategy<Self> {
        (payment(), any_amount())
            .prop_map(|((payment_id, player_id, amount), balance_after)| Self {
                payment_id,
                player_id,
                amount,
                balance_after,
                provider_reference: String::new(),
            })
            .boxed()
    }
}

impl Example for DepositFailed {
    fn sample() -> Self {
        Self {
            payment_id: PAYMENT.to_owned(),
            player_id: PLAYER.to_owned(),
            amount: eur(5_000),
            reason: RejectReason::ProviderDeclined.into(),
        }
    }

    fn any() -> BoxedStrategy<Self> {
        (payment(), reason())
            .prop_map(|((payment_id, player_id, amount), reason)| Self {
                payment_id,
                player_id,
                amount,
                reason,
            })
            .boxed()
    }
}

impl Example for WithdrawalCompleted {
    fn sample() -> Self {
        Self {
            payment_id: PAYMENT.to_owned(),
            player_id: PLAYER.to_owned(),
            amount: eur(1_500),
            balance_after: eur(3_500),
            provider_reference: REFERENCE.to_owned(),
        }
    }

    fn any() -> BoxedStrategy<Self> {
        (payment(), any_amount(), text())
            .prop_map(|((payment_id, player_id, amount), balance_after, provider_reference)| Self {
                payment_id,
                player_id,
                amount,
                balance_after,
                provider_reference,
            })
            .boxed()
    }
}

impl Example for WithdrawalFailed {
    fn sample() -> Self {
        Self {
            payment_id: PAYMENT.to_owned(),
            player_id: PLAYER.to_owned(),
            amount: eur(1_500),
            reason: RejectReason::InsufficientFunds.into(),
        }
    }

    fn any() -> BoxedStrategy<Self> {
        (payment(), reason())
            .prop_map(|((payment_id, player_id, amount), reason)| Self {
                payment_id,
                player_id,
                amount,
                reason,
            })
            .boxed()
    }
}

impl Example for RestrictionsApplied {
    fn sample() -> Self {
        Self { player_id: PLAYER.to_owned(), cause_id: BET.to_owned() }
    }

    fn any() -> BoxedStrategy<Self> {
        (name(), id()).prop_map(|(player_id, cause_id)| Self { player_id, cause_id }).boxed()
    }
}

impl Example for CommandConflict {
    fn sample() -> Self {
        Self {
            command_id: BET.to_owned(),
            command_type: EventType::ApplyWager.as_str().to_owned(),
            player_id: PLAYER.to_owned(),
        }
    }

    fn any() -> BoxedStrategy<Self> {
        (id(), name(), any_event_type())
            .prop_map(|(command_id, player_id, kind)| Self {
                command_id,
                command_type: kind.as_str().to_owned(),
                player_id,
            })
            .boxed()
    }
}
