//! Examples of the messages of analytics.

use contracts::proto::analytics::v1::FactItem;
use proptest::prelude::*;

use super::{BET, Example, PLAYER, id, name};

impl Example for FactItem {
    fn sample() -> Self {
        Self { player_id: PLAYER.to_owned(), fact_id: BET.to_owned(), number: 1, count: 20 }
    }

    fn any() -> BoxedStrategy<Self> {
        (name(), id(), 1..=i32::MAX, 1..=i32::MAX)
            .prop_map(|(player_id, fact_id, number, count)| Self { player_id, fact_id, number, count })
            .boxed()
    }
}
