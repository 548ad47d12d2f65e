//! Handler of `WagerVoided`: an operator reversed a wager, or forbade it before payment applied it. The reversed amounts are
//! stored. They are published if the bet had been published as settled.

use std::sync::Arc;

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome};
use contracts::proto::payments::v1::WagerVoided;

use super::context::Game;
use crate::bets::Ending;

/// Handles `WagerVoided`.
pub(super) struct OnWagerVoided(pub(super) Arc<Game>);

#[async_trait]
impl Handle<WagerVoided> for OnWagerVoided {
    async fn handle(&self, voided: &WagerVoided, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        let reversed = voided.reversed_stake.as_ref().zip(voided.reversed_payout.as_ref());
        let ending = Ending::Voided {
            reason: voided.reason.clone(),
            // An older build of payment reported no amounts. The balance says that there were some.
            is_applied: reversed.is_some() || voided.balance_after.is_some(),
            reversed: reversed.map(|(stake, payout)| (stake.minor, payout.minor)),
            at: store::time::to_bson(delivery.event.time),
        };
        self.0.end(&voided.wager_id, &voided.player_id, ending).await
    }
}
