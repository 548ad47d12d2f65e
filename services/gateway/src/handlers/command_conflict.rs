//! `casino.payments.v1.CommandConflict`: another payment used the same key.

use contracts::proto::payments::v1::CommandConflict;

use crate::{domain::answer::Answer, state::Gateway};

pub(super) fn tell(gateway: &Gateway, event: &CommandConflict) -> bool {
    gateway.waiters.answer(&event.command_id, &Answer::Conflict)
}
