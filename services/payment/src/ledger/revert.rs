//! Reversal of one of two players' decisions under one key. Every account decides alone, so two commands with one id, or about
//! one wager, may both succeed in their compare-and-set at the same moment. The ledger's unique index accepts one row. The other
//! decision is reverted, and its command then finds the accepted row.

use super::{Entry, Ledger, LedgerError};

impl Ledger {
    /// Reverts `entry`. Its row cannot be written, because `row`, which is another player's, has one of its keys.
    ///
    /// Rows are never deleted, so this one can never be written, and nothing is published without a row. Only the account's tail
    /// knows of the decision, and one compare-and-set removes it. If the process dies before that, the next relay finds the same
    /// clash. If it dies afterwards, the account looks as if the command had never arrived.
    ///
    /// Only the latest decision can be reverted. Its `seq` is used again, which is safe: no process has seen it acknowledged, and
    /// one that read the account with it fails its compare-and-set. Later decisions depend on its money. An account with such
    /// decisions is left unchanged, nothing of it is published, and an operator must act.
    pub(super) async fn revert(&self, player_id: &str, entry: &Entry, row: &str) -> Result<(), LedgerError> {
        let Some(account) = self.accounts.find(player_id).await? else { return Ok(()) };
        if !account.tail.contains(entry) {
            return Ok(()); // another process has reverted it
        }
        let Some(before) = account.state_before(entry.seq) else {
            return Err(LedgerError::Diverged {
                row: row.to_owned(),
                what: "it has a key of another player's decision, and later decisions depend on that one",
            });
        };
        // It has the decision.
        drop(self.kept.take(player_id));
        // A failed compare-and-set is harmless, because the caller reads again and comes back here.
        if self.accounts.revert(&account, &before).await? {
            tracing::warn!(
                player.id = player_id,
                event.id = entry.command_id,
                ledger.row = row,
                "decision reverted: another player's decision was first under the same key",
            );
        }
        Ok(())
    }
}
