//! Decisions of an account as a pure function: `decide(state, command) -> decision`.
//!
//! The code uses no clock, no I/O and no async. It guarantees for every state and every command:
//! - The postings of a decision sum to zero. The new balance is the old one plus the player's postings (I1).
//! - No balance is below zero (I6).
//! - A rejection moves nothing (I5).
//! - Limits and exclusions never reject a settlement or a rollback (I11).

mod account;
mod command;
mod decision;
mod payment;
mod restrictions;
mod void;
mod wager;

pub use account::{AccountState, LaterLimit, Limit, LimitSet, Limits, LossDay};
pub use command::{Command, PaymentKind, PendingPayment, ProviderReport, Wager, WagerVoid};
pub use decision::{DecideError, Decision, Outcome};
pub use payment::PROVIDER;

/// Decides one command. `at_ms` is the time of the decision, in milliseconds since the epoch.
///
/// # Errors
/// For a command that no correct sender produces, and for a self-exclusion that has ended already. See [`DecideError`].
pub fn decide(account: &AccountState, command: &Command, at_ms: i64) -> Result<Decision, DecideError> {
    let mut decision = match command {
        Command::ApplyWager(wager) => wager::decide(account, wager, at_ms),
        Command::VoidWager(void) => void::decide(account, void),
        Command::RequestPayment { payment_id, payment } => {
            payment::request(account, payment_id, *payment, at_ms)
        }
        Command::SettlePayment(report) => payment::settle(account, report),
        Command::SetLimits { cause_id, limits, loosen_after_ms } => {
            let from_ms = at_ms.saturating_add(*loosen_after_ms);
            Ok(restrictions::set_limits(account, cause_id, *limits, at_ms, from_ms))
        }
        Command::SelfExclude { cause_id, until_ms } => {
            restrictions::self_exclude(account, cause_id, *until_ms, at_ms)
        }
    }?;
    decision.account.next_seq = account.next_seq.checked_add(1).ok_or(DecideError::Overflow)?;
    assert!(decision.account.balances.values().all(|minor| *minor >= 0), "no negative balance");
    assert!(!decision.is_rejection() || decision.postings.is_empty(), "a rejection moves nothing");
    Ok(decision)
}
