//! Telling what was decided: ledger row, publish, acknowledgement, only then the next; the lowest `seq` first.

use bson::DateTime;
use telemetry::metric::{self, Metric};
use telemetry::spans;
use tracing::{Instrument as _, Span};

use super::{AccountDoc, Entry, Ledger, LedgerError, Safeguard, Step};

/// The name of a transaction that relays what somebody else decided.
const RELAY: &str = "payment.relay";

/// Who relays, in metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A handler, for its own decision or for one that was left below it.
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
    /// Relays `entry`, and before it every lower entry of the tail that this process has not itself seen acknowledged.
    pub(super) async fn relay_through(&self, account: &AccountDoc, entry: &Entry) -> Result<(), LedgerError> {
        self.relay_below(account, entry.seq).await?;
        self.relay(&account.player_id, entry, Origin::Handler).await
    }

    /// Relays what was left in the tail below `seq`; in peace nothing.
    ///
    /// Before a decision, too: one that has to be taken back must still be the latest, and an account that contradicts the
    /// ledger must not move.
    pub(super) async fn relay_below(&self, account: &AccountDoc, seq: i64) -> Result<(), LedgerError> {
        if self.hooks.keeps(Safeguard::LowerFirst) {
            self.relay_left_behind(account, Origin::Handler, |earlier| earlier.seq < seq).await?;
        }
        Ok(())
    }

    /// Makes room in a full tail: everything in it is relayed and trimmed, then the caller reads again.
    pub(super) async fn empty_tail(&self, account: &AccountDoc) -> Result<(), LedgerError> {
        self.relay_left_behind(account, Origin::Handler, |_| true).await?;
        self.trim_one(account).await
    }

    /// What the sweeper does for one account: everything decided before `cutoff`, from the lowest `seq` on.
    pub(super) async fn sweep_one(&self, account: &AccountDoc, cutoff: DateTime) -> Result<(), LedgerError> {
        self.relay_left_behind(account, Origin::Sweeper, |entry| entry.at < cutoff).await?;
        self.trim_one(account).await
    }

    /// Relays entries in order until the first that `wanted` refuses, each in a transaction of its own, in the trace in
    /// which it was decided.
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

    /// Relays one entry; every lower one must have been relayed.
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

    /// Publishes the event, or puts the payment on the provider's list: a decision has one or the other. What it settles is off
    /// that list before anybody hears of it.
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

    /// Takes out of one account's tail what this process saw through; an empty list only mends `oldest_tail_at`.
    async fn trim_one(&self, account: &AccountDoc) -> Result<(), LedgerError> {
        let seqs = self.seen.of(&account.player_id);
        self.accounts.trim(&[(account.player_id.clone(), seqs.clone())]).await?;
        self.seen.forget(&account.player_id, &seqs);
        self.hooks.reached(Step::Trimmed, &account.player_id)?;
        Ok(())
    }
}
