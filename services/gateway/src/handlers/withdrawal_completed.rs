//! `casino.payments.v1.WithdrawalCompleted`: the money was paid out.

use contracts::proto::payments::v1::WithdrawalCompleted;

use crate::{domain::payment, state::Gateway};

pub(super) fn tell(gateway: &Gateway, event: &WithdrawalCompleted) -> bool {
    gateway.waiters.answer(&event.payment_id, &payment::withdrawal_completed(event))
}
