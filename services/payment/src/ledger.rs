//! Ledger of all decisions: one compare-and-set per decision, then ledger row, event and acknowledgement, in this order only.
//!
//! This protocol is model-checked. Change the models in `models/` first. Its steps:
//!
//! 1. [`Ledger::execute`] reads the account, or takes the one that this process wrote last (docs/adr/0018). Unless the account's tail
//!    holds the answer, it then reads the ledger at a time that is causally after that. It writes the decision by compare-and-set on
//!    the version that it read.
//! 2. [`relay`] handles each decision of that account that this process has not seen acknowledged, lowest `seq` first. It writes
//!    the ledger row, publishes the event and waits for the acknowledgement before it takes the next one.
//! 3. A process trims the tail of decisions that it has relayed, with its next write to the account or in bulk ([`trim`]).
//! 4. [`sweeper`] does 2 and 3 for decisions that a dead process left behind.
//! 5. Two players' decisions can take one key at the same moment. The ledger accepts one, and the other is reverted
//!    ([`revert`], docs/adr/0008).
//! 6. A report settles a payment only if it agrees with the provider's recorded answer, or before any request to the provider.
//!    The payment leaves the provider's list before its outcome is published.
//!
//! A redelivered command finds its decision in the tail or in the ledger, and the answer has the same bytes.

mod accounts;
mod documents;
mod entry;
mod error;
mod execute;
mod hooks;
mod in_flight;
mod kept;
mod known;
mod outbox;
mod relay;
mod request;
mod revert;
mod rows;
mod seen;
pub mod sweeper;
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
use in_flight::InFlight;
use kept::Kept;
use rows::Rows;
use seen::Seen;

/// Largest number of decisions in a tail. A command that finds it full relays and trims it first.
pub const TAIL_ENTRIES_MAX: usize = 128;

/// Ledger of one process. Cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    mongo: Mongo,
    accounts: Accounts,
    rows: Rows,
    outbox: Arc<dyn Outbox>,
    payments: Arc<dyn Payments>,
    seen: Arc<Seen>,
    kept: Arc<Kept>,
    in_flight: InFlight,
    hooks: Arc<dyn Hooks>,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("seen", &self.seen.len()).finish_non_exhaustive()
    }
}

impl Ledger {
    /// Creates a ledger on this database. `outbox` publishes events, and `payments` keeps the list of payments for the provider.
    #[must_use]
    pub fn new(mongo: Mongo, outbox: Arc<dyn Outbox>, payments: Arc<dyn Payments>) -> Self {
        Self {
            accounts: Accounts::new(&mongo),
            rows: Rows::new(&mongo),
            mongo,
            outbox,
            payments,
            seen: Arc::default(),
            kept: Arc::default(),
            in_flight: InFlight::default(),
            hooks: Arc::new(NoHooks),
        }
    }

    /// Sets hooks that observe each step and, in tests, break it.
    #[must_use]
    pub fn with_hooks(mut self, hooks: Arc<dyn Hooks>) -> Self {
        self.hooks = hooks;
        self
    }

    /// Creates the indexes. Called once at start.
    pub async fn ensure_indexes(&self) -> Result<(), StoreError> {
        self.accounts.ensure_indexes().await?;
        self.rows.ensure_indexes().await
    }

    /// Returns an account, or `None` when nothing ever happened to it.
    pub async fn account(&self, player_id: &str) -> Result<Option<AccountDoc>, LedgerError> {
        Ok(self.accounts.find(player_id).await.inspect_err(|error| self.mongo.report_once(error))?)
    }

    /// Returns the recorded decision about a command, with its player. The lookup uses the command's id alone.
    pub async fn decision(&self, command_id: &str) -> Result<Option<(String, Entry)>, LedgerError> {
        self.rows.by_command(command_id).await
    }

    /// Returns the decision that settled a payment, whether the provider or an operator reported it. `None` while it is open.
    pub async fn settlement(&self, payment_id: &EventId) -> Result<Option<Entry>, LedgerError> {
        self.rows.by_any(&known::settlement_keys(payment_id)).await
    }

    /// Makes sure that an account exists and holds `currency`. Returns true when something changed. It publishes nothing, so it
    /// is not a decision.
    pub async fn open(&self, player_id: &str, currency: money::Currency) -> Result<bool, LedgerError> {
        let is_changed = self.accounts.open(player_id, Some(currency)).await?;
        // Its version is too old now.
        drop(self.kept.take(player_id));
        Ok(is_changed)
    }
}
