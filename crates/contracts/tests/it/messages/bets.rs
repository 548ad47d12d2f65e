//! Examples of the messages about bets.

use contracts::RejectReason;
use contracts::proto::bets::v1::{BetConflict, BetRejected, BetSettled, BetVoided, PlaceBet};
use proptest::prelude::*;

use super::{
    BET, Example, PLAYER, any_amount, eur, id, name, not_negative, positive, reason, reversed, text,
};

const GAME: &str = "slots";

impl Example for PlaceBet {
    fn sample() -> Self {
        Self { player_id: PLAYER.to_owned(), game: GAME.to_owned(), stake: eur(100) }
    }

    fn any() -> BoxedStrategy<Self> {
        (name(), name(), positive())
            .prop_map(|(player_id, game, stake)| Self { player_id, game, stake })
            .boxed()
    }
}

impl Example for BetSettled {
    fn sample() -> Self {
        Self {
            bet_id: BET.to_owned(),
            player_id: PLAYER.to_owned(),
            game: GAME.to_owned(),
            stake: eur(100),
            payout: eur(2_000),
            balance_after: eur(6_900),
            reels: vec!["cherry".into(), "cherry".into(), "cherry".into()],
            pay_table_version: "slots-1".into(),
            bet_seq: 1,
        }
    }

    fn any() -> BoxedStrategy<Self> {
        let bet = (id(), name(), name(), positive(), not_negative(), any_amount());
        let reels = proptest::collection::vec("[a-z]{1,32}", 0..=16);
        (bet, reels, any::<i64>())
            .prop_map(|((bet_id, player_id, game, stake, payout, balance_after), reels, bet_seq)| Self {
                bet_id,
                player_id,
                game,
                stake,
                payout,
                balance_after,
                reels,
                pay_table_version: String::new(),
                bet_seq,
            })
            .boxed()
    }
}

impl Example for BetRejected {
    fn sample() -> Self {
        Self {
            bet_id: BET.to_owned(),
            player_id: PLAYER.to_owned(),
            game: GAME.to_owned(),
            stake: eur(100),
            reason: RejectReason::InsufficientFunds.into(),
        }
    }

    fn any() -> BoxedStrategy<Self> {
        (id(), name(), name(), positive(), reason())
            .prop_map(|(bet_id, player_id, game, stake, reason)| Self {
                bet_id,
                player_id,
                game,
                stake,
                reason,
            })
            .boxed()
    }
}

impl Example for BetVoided {
    fn sample() -> Self {
        Self {
            bet_id: BET.to_owned(),
            player_id: PLAYER.to_owned(),
            game: GAME.to_owned(),
            stake: eur(100),
            reason: "asked for by the player".to_owned(),
            reversed_stake: eur(100),
            reversed_payout: eur(2_000),
        }
    }

    fn any() -> BoxedStrategy<Self> {
        (id(), name(), name(), positive(), text(), reversed())
            .prop_map(|(bet_id, player_id, game, stake, reason, (reversed_stake, reversed_payout))| Self {
                bet_id,
                player_id,
                game,
                stake,
                reason,
                reversed_stake,
                reversed_payout,
            })
            .boxed()
    }
}

impl Example for BetConflict {
    fn sample() -> Self {
        Self { bet_id: BET.to_owned(), player_id: PLAYER.to_owned() }
    }

    fn any() -> BoxedStrategy<Self> {
        (id(), name()).prop_map(|(bet_id, player_id)| Self { bet_id, player_id }).boxed()
    }
}
