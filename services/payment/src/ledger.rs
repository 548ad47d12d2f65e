//! The ledger: one compare-and-set per decision, then ledger row, event, acknowledgement, in this order only.
//!
//! This protocol is model-checked (`models/`); change it there first. Step by step:
//!
//! 1. [`Ledger::execute`] reads the account, then (unless the account's tail answers) the ledger, in one causally
//!    consistent session, then writes the decision by compare-and-set on the version that it read.
//! 2. [`relay`] takes every decision of that account which this process has not itself seen acknowledged, lowest `seq`
//!    first: ledger row, publish, acknowledgement, only then the next.
//! 3. What this process saw through is trimmed from the tail: with its next write to the account, or in bulk ([`trim`]).
//! 4. [`sweeper`] does 2 and 3 for decisions that a dead process left behind.
//! 5. Two players' decisions under one key, made at the same moment: the ledger takes one, the other is taken back
//!    ([`take_back`], docs/adr/0008).
//! 6. A report settles a payment only on the provider's recorded word, or before anybody asks it; the payment is off the
//!    provider's list before its end is told.
//!
//! A command that comes again finds its decision, in the tail or in the ledger, and is answered with the same bytes.

mod accounts;
mod documents;
mod entry;
mod error;
mod execute;
mod hooks;
mod in_hand;
mod lookup;
mod outbox;
mod relay;
mod request;
mod rows;
mod seen;
pub mod sweeper;
mod take_back;
pub mod trim;

use std::sync::Arc;

use contracts::EventId;
use store::StoreError;
use store::mongo::Mongo;

pub use documents::AccountDoc;
pub use entry::{Entry, StoredEvent, StoredKind, StoredPayment, StoredPosting};
pub use error::LedgerError;
pub use execute::{Incoming, Verdict};
pub use hooks::{Hooks, Killed, NoHooks, Safeguard, Step};
pub use outbox::{Admission, Outbox, Payments, Refusal};
pub use request::Request;

use accounts::Accounts;
use in_hand::InHand;
use rows::Rows;
use seen::Seen;

/// Most decisions in a tail; full, the lane waits for the relay.
pub const TAIL_ENTRIES_MAX: usize = 128;

/// What a process needs to keep accounts; cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    mongo: Mongo,
    accounts: Accounts,
    rows: Rows,
    outbox: Arc<dyn Outbox>,
    payments: Arc<dyn Payments>,
    seen: Arc<Seen>,
    in_hand: InHand,
    hooks: Arc<dyn Hooks>,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("seen", &self.seen.len()).finish_non_exhaustive()
    }
}

impl Ledger {
    /// A ledger over this database. `outbox` publishes, `payments` keeps what the provider has to be asked.
    #[must_use]
    pub fn new(mongo: Mongo, outbox: Arc<dyn Outbox>, payments: Arc<dyn Payments>) -> Self {
        Self {
            accounts: Accounts::new(&mongo),
            rows: Rows::new(&mongo),
            mongo,
            outbox,
            payments,
            seen: Arc::default(),
            in_hand: InHand::default(),
            hooks: Arc::new(NoHooks),
        }
    }

    /// With something that watches (and, in tests, breaks) each step.
    #[must_use]
    pub fn with_hooks(mut self, hooks: Arc<dyn Hooks>) -> Self {
        self.hooks = hooks;
        self
    }

    /// Creates the indexes; once at start.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub async fn ensure_indexes(&self) -> Result<(), StoreError> {
        self.accounts.ensure_indexes().await?;
        self.rows.ensure_indexes().await
    }

    /// What a player holds; `None` when nothing ever happened to that account.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn account(&self, player_id: &str) -> Result<Option<AccountDoc>, LedgerError> {
        Ok(self.accounts.find(player_id).await.inspect_err(|error| self.mongo.report_once(error))?)
    }

    /// The recorded decision about a command, looked up by the command's id alone.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn decision(&self, command_id: &str) -> Result<Option<(String, Entry)>, LedgerError> {
        self.rows.by_command(command_id).await
    }

    /// The decision that settled a payment, whoever reported its end; `None` while there is none.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn settlement(&self, payment_id: &EventId) -> Result<Option<Entry>, LedgerError> {
        self.rows.by_any(&lookup::settlement_keys(payment_id)).await
    }

    /// Makes sure that an account exists and holds `currency`. Says nothing to anybody, so it is no decision.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn open(&self, player_id: &str, currency: money::Currency) -> Result<bool, LedgerError> {
        self.accounts.open(player_id, Some(currency)).await
    }
}
