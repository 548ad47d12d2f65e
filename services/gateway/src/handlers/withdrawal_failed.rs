//! `casino.payments.v1.WithdrawalFailed`: the money was not paid out.

use contracts::proto::payments::v1::WithdrawalFailed;

use crate::{domain::payment, state::Gateway};

pub(super) fn tell(gateway: &Gateway, event: &WithdrawalFailed) -> bool {
    gateway.waiters.answer(&event.payment_id, &payment::withdrawal_failed(event))
}
