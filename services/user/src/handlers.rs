//! Consumes the events that end a bet or a payment, in the group `user`, and records each in the history.

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome, Router};
use contracts::proto::bets::v1::{BetRejected, BetSettled, BetVoided};
use contracts::proto::payments::v1::{
    DepositCompleted, DepositFailed, WithdrawalCompleted, WithdrawalFailed,
};
use contracts::{Contract, FieldError};

use crate::domain::Entry;
use crate::history::{History, Recorded};

/// Routes the handled types. All others complete without a handler.
pub(crate) fn router(history: &History) -> Router {
    let history = || history.clone();
    Router::new()
        .on::<BetSettled>(Record { history: history(), to_entry: Entry::settled })
        .on::<BetRejected>(Record { history: history(), to_entry: Entry::rejected })
        .on::<BetVoided>(Record { history: history(), to_entry: Entry::voided })
        .on::<DepositCompleted>(Record { history: history(), to_entry: Entry::deposit_completed })
        .on::<DepositFailed>(Record { history: history(), to_entry: Entry::deposit_failed })
        .on::<WithdrawalCompleted>(Record { history: history(), to_entry: Entry::withdrawal_completed })
        .on::<WithdrawalFailed>(Record { history: history(), to_entry: Entry::withdrawal_failed })
}

/// Records each event as the entry that `to_entry` builds from it.
struct Record<M> {
    history: History,
    to_entry: fn(&M) -> Result<Entry, FieldError>,
}

#[async_trait]
impl<M: Contract> Handle<M> for Record<M> {
    async fn handle(&self, message: &M, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        match self.history.record(&delivery.event, (self.to_entry)(message)?).await? {
            Recorded::New => Ok(Outcome::Applied),
            Recorded::Known => Ok(Outcome::Duplicate),
        }
    }
}
