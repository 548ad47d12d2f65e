//! `casino.payments.v1.DepositCompleted`: the deposit was credited.

use contracts::proto::payments::v1::DepositCompleted;

use crate::{domain::payment, state::Gateway};

pub(super) fn tell(gateway: &Gateway, event: &DepositCompleted) -> bool {
    gateway.waiters.answer(&event.payment_id, &payment::deposit_completed(event))
}
