//! `casino.payments.v1.RestrictionsApplied`: the ledger enforces a limit or a self-exclusion from now on.

use contracts::proto::payments::v1::RestrictionsApplied;

use crate::{restrictions, state::Gateway};

pub(super) fn tell(gateway: &Gateway, event: &RestrictionsApplied) -> bool {
    // Remembered first: the request may only now be learning which event it waits for.
    gateway.recent_restrictions.remember(&event.cause_id);
    gateway.waiters.answer(&event.cause_id, &restrictions::applied())
}
