//! `casino.bets.v1.BetVoided`: an operator voided the bet.

use contracts::proto::bets::v1::BetVoided;

use crate::{domain::bet, state::Gateway};

pub(super) fn tell(gateway: &Gateway, event: &BetVoided) -> bool {
    gateway.waiters.answer(&event.bet_id, &bet::voided(event))
}
