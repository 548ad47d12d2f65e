//! Publication of decisions, lowest `seq` first. Each gets its ledger row and an acknowledged event before the next starts.

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

/// Result of a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum Relayed {
    /// Every entry has its row, and its event was acknowledged.
    Acknowledged,
    /// Another player's row has a key of an entry. The entry was reverted, so the account has changed.
    Reverted,
}

impl Ledger {
    /// Relays the decisions left in the tail below `seq`, normally none.
    ///
    /// It also runs before a decision. A decision that must be reverted is then still the latest one, and an account that
    /// contradicts the ledger does not change.
    pub(super) async fn relay_below(&self, account: &AccountDoc, seq: i64) -> Result<Relayed, LedgerError> {
        if !self.hooks.keeps(Safeguard::LowerFirst) {
            return Ok(Relayed::Acknowledged);
        }
        self.relay_tail(account, Origin::Handler, |earlier| earlier.seq < seq).await
    }

    /// Relays entries of the tail and then trims all entries that this process has relayed. Without any it only corrects
    /// `oldest_tail_at`. After a reversal the caller, or the next sweep, continues with the changed account.
    pub(super) async fn relay_and_trim(
        &self,
        account: &AccountDoc,
        origin: Origin,
        selected: impl Fn(&Entry) -> bool,
    ) -> Result<(), LedgerError> {
        if self.relay_tail(account, origin, selected).await? == Relayed::Reverted {
            return Ok(());
        }
        let seqs = self.seen.of(&account.player_id);
        self.accounts.trim(&[(account.player_id.clone(), seqs.clone())]).await?;
        self.seen.mark_trimmed(&account.player_id, &seqs);
        self.hooks.reached(Step::Trimmed, &account.player_id)?;
        Ok(())
    }

    /// Relays entries in order while `selected` is true. Each relay is a separate transaction in the trace of its decision.
    async fn relay_tail(
        &self,
        account: &AccountDoc,
        origin: Origin,
        selected: impl Fn(&Entry) -> bool,
    ) -> Result<Relayed, LedgerError> {
        let mut tail: Vec<&Entry> = account.tail.iter().collect();
        tail.sort_unstable_by_key(|entry| entry.seq);
        for entry in tail.into_iter().take_while(|entry| selected(entry)) {
            if self.seen.is_acknowledged(&account.player_id, entry.seq) {
                continue;
            }
            let span = spans::continued(RELAY, &entry.trace.context());
            if self.relay(&account.player_id, entry, origin).instrument(span).await? == Relayed::Reverted {
                return Ok(Relayed::Reverted);
            }
        }
        Ok(Relayed::Acknowledged)
    }

    /// Relays one entry. The caller must have relayed every lower one.
    pub(super) async fn relay(
        &self,
        player_id: &str,
        entry: &Entry,
        origin: Origin,
    ) -> Result<Relayed, LedgerError> {
        if let Some(row) = self.rows.insert(player_id, entry).await? {
            self.revert(player_id, entry, &row).await?;
            return Ok(Relayed::Reverted);
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
        Ok(Relayed::Acknowledged)
    }

    /// Publishes the event, or puts the payment on the provider's list. A decision has one or the other. A payment that it
    /// settles leaves that list before the event is published.
    pub(super) async fn announce(&self, player_id: &str, entry: &Entry) -> Result<(), LedgerError> {
        if let Some(payment_id) = entry.settles() {
            self.payments.mark_settled(payment_id, entry.captured()).await?;
            self.hooks.reached(Step::IntentEnded, player_id)?;
        }
        match entry.to_record()? {
            Some(record) => self.outbox.publish(&record).await?,
            None => self.payments.ensure(player_id, entry).await?,
        }
        Ok(())
    }
}
