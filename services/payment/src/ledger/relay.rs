//! Publication of decisions, lowest `seq` first. Each gets its ledger row and an acknowledged event before the next starts.

use bson::DateTime;
use telemetry::metric::{self, Metric};
use telemetry::spans;
use tracing::{Instrument as _, Span};

use super::{AccountDoc, Entry, Ledger, LedgerError, Safeguard, Step};

/// Transaction name for the relay of a decision that was left in the tail.
const RELAY: &str = "payment.relay";

/// Origin of a relay, as a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A handler, for its own decision or for a lower one that was left behind.
    Handler,
    /// The sweeper, for a dead handler.
    Sweeper,
}

impl Origin {
    fn as_str(self) -> &'static str {
        match self {
            Self::Handler => "handler",
            Self::Sweeper => "sweeper",
        }
    }
}

impl Ledger {
    /// Relays every lower entry of the tail that this process has not seen acknowledged, and then `entry`.
    pub(super) async fn relay_through(&self, account: &AccountDoc, entry: &Entry) -> Result<(), LedgerError> {
        self.relay_below(account, entry.seq).await?;
        self.relay(&account.player_id, entry, Origin::Handler).await
    }

    /// Relays the decisions left in the tail below `seq`, normally none.
    ///
    /// It also runs before a decision. A decision that must be reverted is then still the latest one, and an account that
    /// contradicts the ledger does not change.
    pub(super) async fn relay_below(&self, account: &AccountDoc, seq: i64) -> Result<(), LedgerError> {
        if self.hooks.keeps(Safeguard::LowerFirst) {
            self.relay_left_behind(account, Origin::Handler, |earlier| earlier.seq < seq).await?;
        }
        Ok(())
    }

    /// Makes room in a full tail. It relays and trims everything in it, and the caller reads the account again.
    pub(super) async fn empty_tail(&self, account: &AccountDoc) -> Result<(), LedgerError> {
        self.relay_left_behind(account, Origin::Handler, |_| true).await?;
        self.trim_one(account).await
    }

    /// Sweeps one account. It relays the decisions made before `cutoff`, from the lowest `seq` on, and trims the tail.
    pub(super) async fn sweep_one(&self, account: &AccountDoc, cutoff: DateTime) -> Result<(), LedgerError> {
        self.relay_left_behind(account, Origin::Sweeper, |entry| entry.at < cutoff).await?;
        self.trim_one(account).await
    }

    /// Relays entries in order until the first that `wanted` refuses. Each relay is a separate transaction in the trace of its
    /// decision.
    async fn relay_left_behind(
        &self,
        account: &AccountDoc,
        origin: Origin,
        wanted: impl Fn(&Entry) -> bool,
    ) -> Result<(), LedgerError> {
        let mut tail: Vec<&Entry> = account.tail.iter().collect();
        tail.sort_unstable_by_key(|entry| entry.seq);
        for entry in tail.into_iter().take_while(|entry| wanted(entry)) {
            if self.seen.is_acknowledged(&account.player_id, entry.seq) {
                continue;
            }
            let span = spans::continued(RELAY, &entry.trace.context());
            self.relay(&account.player_id, entry, origin).instrument(span).await?;
        }
        Ok(())
    }

    /// Relays one entry. The caller must have relayed every lower one.
    pub(super) async fn relay(
        &self,
        player_id: &str,
        entry: &Entry,
        origin: Origin,
    ) -> Result<(), LedgerError> {
        if let Err(error) = self.rows.insert(player_id, entry).await {
            if let LedgerError::Taken { row } = &error {
                self.take_back(player_id, entry, row).await?;
            }
            return Err(error);
        }
        let trace = spans::span_context(&Span::current());
        if !self.hooks.keeps(Safeguard::AckBeforeTrim) {
            self.seen.acknowledge(player_id, entry.seq, trace.clone());
        }
        self.hooks.reached(Step::RowWritten, player_id)?;
        self.announce(player_id, entry).await?;
        self.hooks.reached(Step::EventPublished, player_id)?;
        metric::count(Metric::LedgerRelayed, 1, &[("origin", origin.as_str())]);
        if origin == Origin::Sweeper {
            metric::count(Metric::RelaySwept, 1, &[]);
        }
        self.seen.acknowledge(player_id, entry.seq, trace);
        Ok(())
    }

    /// Publishes the event, or puts the payment on the provider's list. A decision has one or the other. A payment that it
    /// settles leaves that list before the event is published.
    pub(super) async fn announce(&self, player_id: &str, entry: &Entry) -> Result<(), LedgerError> {
        if let Some(payment_id) = entry.settles() {
            self.payments.end(payment_id, entry.captured()).await?;
            self.hooks.reached(Step::IntentEnded, player_id)?;
        }
        match entry.to_record()? {
            Some(record) => self.outbox.publish(&record).await?,
            None => self.payments.ensure(player_id, entry).await?,
        }
        Ok(())
    }

    /// Trims the entries that this process has relayed from one account. With no entries it only corrects `oldest_tail_at`.
    async fn trim_one(&self, account: &AccountDoc) -> Result<(), LedgerError> {
        let seqs = self.seen.of(&account.player_id);
        self.accounts.trim(&[(account.player_id.clone(), seqs.clone())]).await?;
        self.seen.forget(&account.player_id, &seqs);
        self.hooks.reached(Step::Trimmed, &account.player_id)?;
        Ok(())
    }
}
