//! `payment.ledger`: every decision, for ever.

use bson::{Document, doc};
use store::StoreError;
use store::mongo::{Collection, Index, Mongo, Session};

use super::entry::row_id;
use super::{Entry, LedgerError};

/// Most rows that one command can be about: itself, its wager, that wager's void, its payment.
const ROWS_FOUND_MAX: u32 = 8;

/// `payment.ledger`.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    rows: Collection<Document>,
}

impl Rows {
    pub(super) fn new(mongo: &Mongo) -> Self {
        Self { rows: mongo.collection("ledger") }
    }

    pub(super) async fn ensure_indexes(&self) -> Result<(), StoreError> {
        self.rows.ensure_index(Index::on(doc! { "command_id": 1 }).unique()).await?;
        // One index for all that a decision is found by, and the proof that a wager is applied and voided at most once.
        self.rows.ensure_index(Index::on(doc! { "keys": 1 }).unique()).await
    }

    /// The decisions under any of these keys.
    pub(super) async fn find(
        &self,
        session: &mut Session,
        keys: &[String],
    ) -> Result<Vec<Entry>, LedgerError> {
        let filter = doc! { "keys": { "$in": keys.to_vec() } };
        let rows = self.rows.find_in(session, filter, doc! {}, ROWS_FOUND_MAX).await?;
        rows.into_iter().map(Entry::from_row).collect()
    }

    /// Whose decision this is, and the decision.
    pub(super) async fn by_command(&self, command_id: &str) -> Result<Option<(String, Entry)>, LedgerError> {
        let Some(row) = self.rows.find_one(doc! { "command_id": command_id }).await? else { return Ok(None) };
        let player_id =
            row.get_str("player_id").map_err(|e| LedgerError::Unreadable(e.to_string()))?.to_owned();
        Ok(Some((player_id, Entry::from_row(row)?)))
    }

    /// Makes sure that the decision has its row. The same bytes under the same id: fine. Anything else that is in the way:
    /// the ledger has diverged.
    pub(super) async fn insert(&self, player_id: &str, entry: &Entry) -> Result<(), LedgerError> {
        let row = entry.to_row(player_id)?;
        match self.rows.insert_one(&row).await {
            Ok(()) => Ok(()),
            Err(error) if error.is_duplicate_key() => self.compare(player_id, entry).await,
            Err(error) => Err(error.into()),
        }
    }

    async fn compare(&self, player_id: &str, entry: &Entry) -> Result<(), LedgerError> {
        let id = row_id(player_id, entry.seq);
        let there = self.rows.find_one(doc! { "_id": &id }).await?.map(Entry::from_row).transpose()?;
        match there {
            Some(there) if there == *entry => Ok(()),
            Some(_) => Err(LedgerError::Diverged { row: id, what: "the row holds another decision" }),
            None => Err(LedgerError::Diverged { row: id, what: "the command is decided under another row" }),
        }
    }
}
