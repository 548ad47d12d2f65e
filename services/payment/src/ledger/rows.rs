//! Collection `payment.ledger`: all decisions, kept forever.

use bson::{Document, doc};
use store::StoreError;
use store::mongo::{CausalTime, Collection, Index, Mongo};

use super::entry::row_id;
use super::{Entry, LedgerError};

/// Largest number of rows read for one command: itself, its wager, that wager's void, its payment, that payment's report.
const ROWS_FOUND_MAX: u32 = 8;

#[derive(Debug, Clone)]
pub(super) struct Rows {
    rows: Collection<Document>,
}

impl Rows {
    pub(super) fn new(mongo: &Mongo) -> Self {
        Self { rows: mongo.collection("ledger").grouped_by("keys") }
    }

    pub(super) async fn ensure_indexes(&self) -> Result<(), StoreError> {
        self.rows.ensure_index(Index::on(doc! { "command_id": 1 }).unique()).await?;
        // One index finds a decision by any of its keys. It also guarantees that a wager is applied and voided, and a payment
        // settled, at most once.
        self.rows.ensure_index(Index::on(doc! { "keys": 1 }).unique()).await
    }

    /// Returns the decisions under any of these keys, each with its player. It sees at least what was there at `after`, and is one
    /// command with the reads that others make at the same moment.
    pub(super) async fn find(
        &self,
        keys: Vec<String>,
        after: CausalTime,
    ) -> Result<Vec<(String, Entry)>, LedgerError> {
        let rows = self.rows.find_grouped(keys, after).await?.documents;
        rows.into_iter().map(owned).collect()
    }

    /// Returns the decision under any of these keys.
    pub(super) async fn by_any(&self, keys: &[String]) -> Result<Option<Entry>, LedgerError> {
        self.rows.find_one(under_any(keys)).await?.map(Entry::from_row).transpose()
    }

    /// Returns the decision about a command, with its player.
    pub(super) async fn by_command(&self, command_id: &str) -> Result<Option<(String, Entry)>, LedgerError> {
        self.rows.find_one(doc! { "command_id": command_id }).await?.map(owned).transpose()
    }

    /// Makes sure that the decision has its row. Returns the id of another player's row that has one of its keys, because that
    /// player was first. A row with the same id and content is accepted. Any other row means that the ledger has diverged.
    pub(super) async fn insert(&self, player_id: &str, entry: &Entry) -> Result<Option<String>, LedgerError> {
        let row = entry.to_row(player_id)?;
        match self.rows.insert_grouped(&row).await {
            Ok(()) => Ok(None),
            Err(error) if error.is_duplicate_key() => self.compare(player_id, entry).await,
            Err(error) => Err(error.into()),
        }
    }

    async fn compare(&self, player_id: &str, entry: &Entry) -> Result<Option<String>, LedgerError> {
        let id = row_id(player_id, entry.seq);
        let stored = self.rows.find_one(doc! { "_id": &id }).await?.map(Entry::from_row).transpose()?;
        if stored.as_ref() == Some(entry) {
            return Ok(None);
        }
        // Checked first. If this decision was reverted, the next one has its `seq`, and another row under this id is correct.
        let rows = self.rows.find(under_any(&entry.keys), doc! {}, ROWS_FOUND_MAX).await?;
        let holders = rows.into_iter().map(owned).collect::<Result<Vec<_>, _>>()?;
        if let Some((owner, holder)) = holders.iter().find(|(owner, _)| owner != player_id) {
            return Ok(Some(row_id(owner, holder.seq)));
        }
        match (stored, holders.is_empty()) {
            (Some(_), _) => Err(LedgerError::Diverged { row: id, what: "the row holds another decision" }),
            (None, false) => {
                Err(LedgerError::Diverged { row: id, what: "the command is decided under another row" })
            }
            // The conflicting row is not at a majority yet, so nothing is known about it.
            (None, true) => Err(LedgerError::Contended { attempts: 1 }),
        }
    }
}

fn under_any(keys: &[String]) -> Document {
    doc! { "keys": { "$in": keys.to_vec() } }
}

fn owned(row: Document) -> Result<(String, Entry), LedgerError> {
    let player_id = row.get_str("player_id").map_err(|e| LedgerError::Unreadable(e.to_string()))?.to_owned();
    Ok((player_id, Entry::from_row(row)?))
}
