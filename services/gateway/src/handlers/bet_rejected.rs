//! `casino.bets.v1.BetRejected`: the bet was rejected, which is a result and not an error.

use contracts::proto::bets::v1::BetRejected;

use crate::{domain::bet, state::Gateway};

pub(super) fn tell(gateway: &Gateway, event: &BetRejected) -> bool {
    gateway.waiters.answer(&event.bet_id, &bet::rejected(event))
}
