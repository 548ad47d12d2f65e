//! `casino.bets.v1.BetConflict`: the same key came with another bet, on another instance or in another life of this one.

use contracts::proto::bets::v1::BetConflict;

use crate::{domain::answer::Answer, state::Gateway};

pub(super) fn tell(gateway: &Gateway, event: &BetConflict) -> bool {
    gateway.waiters.answer(&event.bet_id, &Answer::Conflict)
}
