//! Handler of `BetSettled`: stores a notification about a big win, which waits if its player is not known yet.

use std::sync::Arc;

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome};
use contracts::proto::bets::v1::BetSettled;
use contracts::required_money;

use super::Context;
use crate::domain::win;
use crate::notifications::Notice;

/// Handles `BetSettled`.
pub(super) struct OnBetSettled(pub(super) Arc<Context>);

#[async_trait]
impl Handle<BetSettled> for OnBetSettled {
    async fn handle(&self, bet: &BetSettled, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        let stake = required_money("stake", bet.stake.as_ref())?;
        let payout = required_money("payout", bet.payout.as_ref())?;
        if !win::is_big(stake, payout) {
            return Ok(Outcome::Applied);
        }
        let notice = Notice {
            event_id: delivery.event.id.as_str().to_owned(),
            subject: win::subject(payout),
            text: win::text(&bet.game, stake, payout),
            at: store::time::to_bson(delivery.event.time),
        };
        let is_new = self.0.add(notice, &bet.player_id).await?;
        Ok(if is_new { Outcome::Applied } else { Outcome::Duplicate })
    }
}
