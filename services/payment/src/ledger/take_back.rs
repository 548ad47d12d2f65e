//! Two players' decisions under one key. Every account is decided by itself, so two commands with one id, or about one wager,
//! may both win their compare-and-set when they run at the same moment. The ledger's unique index lets one row in. The other
//! decision is taken back, and its command then finds the row that was first.

use super::{Entry, Ledger, LedgerError};

impl Ledger {
    /// Takes back `entry`, whose row cannot be written because `row`, another player's, holds one of its keys.
    ///
    /// Rows are never deleted, so nobody will ever write this one, and what has no row is told to nobody: the account's tail is
    /// the only place that knows of the decision. It leaves it in one compare-and-set. A process that dies before leaves
    /// the same clash to the next relay; one that dies after leaves an account to which the command has not come.
    ///
    /// Only the latest decision can go. Its `seq` is used again, which is safe because nobody has seen it acknowledged, and
    /// because whoever read the account with it loses by the version. Decisions on top of it have counted its money: such an
    /// account is left as it is, nothing of it is told, and somebody has to look.
    pub(super) async fn take_back(
        &self,
        player_id: &str,
        entry: &Entry,
        row: &str,
    ) -> Result<(), LedgerError> {
        let Some(account) = self.accounts.find(player_id).await? else { return Ok(()) };
        if !account.tail.contains(entry) {
            return Ok(()); // somebody else has taken it back
        }
        let Some(before) = account.state_before(entry.seq) else {
            return Err(LedgerError::Diverged {
                row: row.to_owned(),
                what: "it holds a key of another player's decision, and later ones stand on that",
            });
        };
        // A lost compare-and-set is no matter: the caller reads again and comes back here.
        if self.accounts.take_back(&account, &before).await? {
            tracing::warn!(
                player.id = player_id,
                event.id = entry.command_id,
                ledger.row = row,
                "a decision was taken back: another player's was first under the same key",
            );
        }
        Ok(())
    }
}
