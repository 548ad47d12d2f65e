//! `casino.bets.v1.BetConflict`: another bet used the same key, on another instance or before a restart of this one.

use contracts::proto::bets::v1::BetConflict;

use crate::{domain::answer::Answer, state::Gateway};

pub(super) fn tell(gateway: &Gateway, event: &BetConflict) -> bool {
    gateway.waiters.answer(&event.bet_id, &Answer::Conflict)
}
