//! Reads and writes account documents.

use bson::{Bson, DateTime, Document, doc};
use money::Currency;
use store::StoreError;
use store::mongo::describe::Change;
use store::mongo::{Collection, Index, Mongo, Session};

use super::documents::{Before, decided_fields};
use super::{AccountDoc, Entry, LedgerError};
use crate::domain::AccountState;

/// Collection `payment.accounts`.
#[derive(Debug, Clone)]
pub(super) struct Accounts {
    documents: Collection<AccountDoc>,
}

/// Decision to write, provided that the account is unchanged since it was read.
#[derive(Debug)]
pub(super) struct Write<'a> {
    pub(super) read: &'a AccountDoc,
    pub(super) after: &'a AccountState,
    pub(super) entry: &'a Entry,
    /// Entries that this process has relayed and seen acknowledged, by `seq`.
    pub(super) trims: &'a [i64],
    /// False only in a test twin that is broken on purpose.
    pub(super) compare_version: bool,
}

impl Accounts {
    pub(super) fn new(mongo: &Mongo) -> Self {
        Self { documents: mongo.collection("accounts") }
    }

    pub(super) async fn ensure_indexes(&self) -> Result<(), StoreError> {
        self.documents.ensure_index(Index::on(doc! { "oldest_tail_at": 1 })).await
    }

    pub(super) async fn find(&self, player_id: &str) -> Result<Option<AccountDoc>, StoreError> {
        self.documents.find_one(doc! { "_id": player_id }).await
    }

    /// Returns the account. Creates it when it is missing, because a command may overtake its player's registration.
    pub(super) async fn read(
        &self,
        session: &mut Session,
        player_id: &str,
    ) -> Result<AccountDoc, LedgerError> {
        if let Some(account) = self.documents.find_one_in(session, doc! { "_id": player_id }).await? {
            return Ok(account);
        }
        self.open(player_id, None).await?;
        let created = self.documents.find_one_in(session, doc! { "_id": player_id }).await?;
        created.ok_or(LedgerError::Contended { attempts: 1 })
    }

    /// Makes sure that the account exists and holds `currency`. Returns true when something changed.
    pub(super) async fn open(
        &self,
        player_id: &str,
        currency: Option<Currency>,
    ) -> Result<bool, LedgerError> {
        match self.documents.insert_one(&AccountDoc::new(player_id, currency)).await {
            Ok(()) => return Ok(true),
            Err(error) if error.is_duplicate_key() => {}
            Err(error) => return Err(error.into()),
        }
        let Some(currency) = currency else { return Ok(false) };
        let field = format!("balances.{}", currency.code());
        let filter = doc! { "_id": player_id, field.as_str(): { "$exists": false } };
        // A decision in progress writes all balances, without this currency. The new version makes its compare-and-set fail.
        let change = doc! { "$set": { field.as_str(): 0_i64 }, "$inc": { "version": 1_i64 } };
        Ok(self.documents.update_one(filter, change).await? == 1)
    }

    /// Writes the decision by compare-and-set. Returns false when another decision was first.
    ///
    /// It is a pipeline, because one update refuses `$pull` and `$push` on the same field. It filters the stored tail and not the
    /// tail that was read, so entries that another process has trimmed stay trimmed.
    pub(super) async fn write(&self, write: &Write<'_>) -> Result<bool, LedgerError> {
        let mut filter = doc! { "_id": &write.read.player_id };
        if write.compare_version {
            filter.insert("version", write.read.version);
        }
        let version = write.read.version.saturating_add(1);
        let unreadable = |e: bson::error::Error| LedgerError::Unreadable(e.to_string());
        let entry = bson::serialize_to_document(write.entry).map_err(unreadable)?;
        let before = bson::serialize_to_document(&Before::next(write.read)).map_err(unreadable)?;
        let mut fields = decided_fields(version, write.after);
        fields.insert("before", before);
        let mut set = literal(fields);
        set.insert("tail", doc! { "$concatArrays": [tail_without(write.trims), [{ "$literal": entry }]] });
        Ok(self.documents.update_one(filter, pipeline(set)).await? == 1)
    }

    /// Restores the state before the latest decision and removes the decision, if the account is unchanged since it was read.
    pub(super) async fn revert(&self, read: &AccountDoc, before: &AccountState) -> Result<bool, StoreError> {
        let filter = doc! { "_id": &read.player_id, "version": read.version };
        let mut fields = decided_fields(read.version.saturating_add(1), before);
        fields.insert("before", Bson::Null);
        let mut set = literal(fields);
        set.insert("tail", tail_without(&[before.next_seq]));
        Ok(self.documents.update_one(filter, pipeline(set)).await? == 1)
    }

    /// Removes entries by `seq` from many accounts in one command. The versions stay the same.
    pub(super) async fn trim(&self, trims: &[(String, Vec<i64>)]) -> Result<(), StoreError> {
        let updates = trims.iter().map(|(player_id, seqs)| {
            (doc! { "_id": player_id }, pipeline(doc! { "tail": tail_without(seqs) }))
        });
        self.documents.update_bulk(updates.collect()).await.map(drop)
    }

    /// Returns accounts whose tail has a decision made before `cutoff`, oldest first, without those in `excluded`.
    pub(super) async fn with_tail_before(
        &self,
        cutoff: DateTime,
        excluded: &[String],
        limit: u32,
    ) -> Result<Vec<AccountDoc>, StoreError> {
        let mut filter = doc! { "oldest_tail_at": { "$lt": cutoff } };
        if !excluded.is_empty() {
            filter.insert("_id", doc! { "$nin": excluded.to_vec() });
        }
        self.documents.find_readable(filter, doc! { "oldest_tail_at": 1 }, limit).await
    }
}

/// Sets fields, one of which is the tail, and then `oldest_tail_at` from the new tail.
///
/// It maps over the array instead of reading `$tail.at`, because not every server follows a path into the documents of an array.
/// A null would hide the account from the sweeper.
fn pipeline(set: Document) -> Change {
    let oldest = doc! { "$min": { "$map": { "input": "$tail", "in": "$$this.at" } } };
    Change::Pipeline(vec![doc! { "$set": set }, doc! { "$set": { "oldest_tail_at": oldest } }])
}

fn literal(fields: Document) -> Document {
    fields.into_iter().map(|(name, value)| (name, Bson::Document(doc! { "$literal": value }))).collect()
}

fn tail_without(seqs: &[i64]) -> Document {
    doc! { "$filter": { "input": "$tail", "cond": { "$not": [{ "$in": ["$$this.seq", seqs.to_vec()] }] } } }
}
