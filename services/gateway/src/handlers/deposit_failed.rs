//! `casino.payments.v1.DepositFailed`: the deposit was not credited and never will be.

use contracts::proto::payments::v1::DepositFailed;

use crate::{domain::payment, state::Gateway};

pub(super) fn tell(gateway: &Gateway, event: &DepositFailed) -> bool {
    gateway.waiters.answer(&event.payment_id, &payment::deposit_failed(event))
}
