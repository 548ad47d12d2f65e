//! Handler of `BetSettled`: stores a notification about a big win, which waits if its player is not known yet.

use std::sync::Arc;

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome};
use contracts::proto::bets::v1::BetSettled;
use contracts::required_money;
use store::bson::DateTime;

use super::Context;
use crate::domain::win;
use crate::notifications::Win;

/// Handles `BetSettled`.
pub(crate) struct OnBetSettled(pub(crate) Arc<Context>);

#[async_trait]
impl Handle<BetSettled> for OnBetSettled {
    async fn handle(&self, bet: &BetSettled, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        let stake = required_money("stake", bet.stake.as_ref())?;
        let payout = required_money("payout", bet.payout.as_ref())?;
        if !win::is_big(stake, payout) {
            return Ok(Outcome::Applied);
        }
        let event_id = delivery.event.id.as_str();
        let at = DateTime::from_system_time(delivery.event.time.into());
        let win = Win { event_id: event_id.to_owned(), game: bet.game.clone(), stake, payout, at };
        let is_new = self.0.add(win, &bet.player_id).await?;
        Ok(if is_new { Outcome::Applied } else { Outcome::Duplicate })
    }
}
