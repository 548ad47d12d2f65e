//! Handler of `BetSettled`: stores a notification about a big win, which waits if its player is not known yet.

use std::sync::Arc;

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome};
use contracts::Message;
use contracts::proto::common::v1::Money as WireMoney;
use money::Money;
use store::bson::DateTime;

use super::Desk;
use crate::domain::win;
use crate::error::NotificationError;
use crate::notifications::Win;

/// Handles `BetSettled`.
pub(crate) struct OnBetSettled(pub(crate) Arc<Desk>);

#[async_trait]
impl Handle for OnBetSettled {
    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        let Message::BetSettled(bet) = &delivery.event.message else {
            return Err(NotificationError::WrongType(delivery.event.message.event_type().as_str()).into());
        };
        let (stake, payout) = (money(bet.stake.as_ref(), "stake")?, money(bet.payout.as_ref(), "payout")?);
        if !win::is_big(stake, payout) {
            return Ok(Outcome::Applied);
        }
        let event_id = delivery.event.id.as_str();
        let at = DateTime::from_system_time(delivery.event.time.into());
        let win = Win { event_id: event_id.to_owned(), game: bet.game.clone(), stake, payout, at };
        let is_new = self.0.add(win, &bet.player_id).await.map_err(NotificationError::from)?;
        Ok(if is_new { Outcome::Applied } else { Outcome::Duplicate })
    }
}

fn money(amount: Option<&WireMoney>, field: &'static str) -> Result<Money, NotificationError> {
    amount.and_then(|amount| Money::try_from(amount).ok()).ok_or(NotificationError::Incomplete { field })
}
