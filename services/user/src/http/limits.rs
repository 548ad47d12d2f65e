//! `PUT /internal/v1/players/{player_id}/limits`: replaces all limits.

use chassis::problem::Problem;
use money::{Currency, Money};
use serde::Deserialize;

use super::change::ChangeBody;
use crate::domain::Change;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    max_stake_minor: Option<i64>,
    daily_loss_minor: Option<i64>,
    currency: Currency,
}

impl ChangeBody for Body {
    fn into_change(self) -> Result<Change, Problem> {
        let limit = |minor: Option<i64>| minor.map(|minor| Money::new(minor, self.currency));
        Ok(Change::Limits {
            max_stake: limit(self.max_stake_minor),
            daily_loss: limit(self.daily_loss_minor),
        })
    }
}
