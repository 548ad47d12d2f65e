//! Examples of the messages about players.

use contracts::KycStatus;
use contracts::proto::players::v1::{
    KycStatusChanged, LimitsChanged, PlayerRegistered, PreferencesChanged, SelfExclusionStarted,
};
use proptest::prelude::*;

use super::{Example, PLAYER, eur, name, positive};

impl Example for PlayerRegistered {
    fn sample() -> Self {
        Self {
            player_id: PLAYER.to_owned(),
            email: "ada@example.org".into(),
            display_name: "Ada".into(),
            currency: "EUR".into(),
        }
    }

    fn any() -> BoxedStrategy<Self> {
        let currency = proptest::sample::select(vec!["EUR", "USD", "GBP", "SEK"]).prop_map(str::to_owned);
        (name(), "[a-z]{1,20}@[a-z.]{1,20}", "[^\\p{Cc}]{1,16}", currency)
            .prop_map(|(player_id, email, display_name, currency)| Self {
                player_id,
                email,
                display_name,
                currency,
            })
            .boxed()
    }
}

impl Example for LimitsChanged {
    fn sample() -> Self {
        Self { player_id: PLAYER.to_owned(), max_stake: eur(500), daily_loss: eur(10_000) }
    }

    fn any() -> BoxedStrategy<Self> {
        (name(), proptest::option::of(positive()), positive())
            .prop_map(|(player_id, max_stake, daily_loss)| Self {
                player_id,
                max_stake: max_stake.flatten(),
                daily_loss,
            })
            .boxed()
    }
}

impl Example for SelfExclusionStarted {
    fn sample() -> Self {
        Self { player_id: PLAYER.to_owned(), until_epoch_ms: 1_798_761_600_000 }
    }

    fn any() -> BoxedStrategy<Self> {
        (name(), 1..=i64::MAX)
            .prop_map(|(player_id, until_epoch_ms)| Self { player_id, until_epoch_ms })
            .boxed()
    }
}

impl Example for KycStatusChanged {
    fn sample() -> Self {
        Self { player_id: PLAYER.to_owned(), status: KycStatus::Verified.into() }
    }

    fn any() -> BoxedStrategy<Self> {
        let statuses = vec![KycStatus::Pending, KycStatus::Verified, KycStatus::Rejected];
        (name(), proptest::sample::select(statuses))
            .prop_map(|(player_id, status)| Self { player_id, status: status.into() })
            .boxed()
    }
}

impl Example for PreferencesChanged {
    fn sample() -> Self {
        Self { player_id: PLAYER.to_owned(), email_enabled: true }
    }

    fn any() -> BoxedStrategy<Self> {
        (name(), any::<bool>())
            .prop_map(|(player_id, email_enabled)| Self { player_id, email_enabled })
            .boxed()
    }
}
