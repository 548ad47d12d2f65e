//! `casino.bets.v1.BetSettled`: the bet was played.

use contracts::proto::bets::v1::BetSettled;

use crate::{domain::bet, state::Gateway};

pub(super) fn tell(gateway: &Gateway, event: &BetSettled) -> bool {
    gateway.waiters.answer(&event.bet_id, &bet::settled(event))
}
