//! `casino.payments.v1.RestrictionsApplied`: the ledger enforces a limit or a self-exclusion from now on.

use contracts::proto::payments::v1::RestrictionsApplied;

use crate::{restrictions, state::Gateway};

pub(super) fn tell(gateway: &Gateway, event: &RestrictionsApplied) -> bool {
    // Recorded before the answer, because the request may take its seat only now. It checks this record afterwards.
    gateway.recent_restrictions.remember(&event.cause_id);
    gateway.waiters.answer(&event.cause_id, &restrictions::applied())
}
