//! Handler of `WagerApplied`: settles the bet with the applied amounts. One update and one publish.
//!
//! The event's amounts are used even where they differ from the request, because payment has moved that money.

use std::sync::Arc;

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome};
use contracts::proto::payments::v1::WagerApplied;
use contracts::required_money;

use super::context::Game;
use crate::bets::Ending;

/// Handles `WagerApplied`.
pub(super) struct OnWagerApplied(pub(super) Arc<Game>);

#[async_trait]
impl Handle<WagerApplied> for OnWagerApplied {
    async fn handle(&self, applied: &WagerApplied, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        let ending = Ending::Settled {
            stake_minor: required_money("stake", applied.stake.as_ref())?.minor(),
            payout_minor: required_money("payout", applied.payout.as_ref())?.minor(),
            balance_minor: required_money("balanceAfter", applied.balance_after.as_ref())?.minor(),
            at: store::time::to_bson(delivery.event.time),
        };
        self.0.end(&applied.wager_id, &applied.player_id, ending).await
    }
}
