//! Reads and writes account documents.

use bson::{Bson, DateTime, Document, doc};
use money::Currency;
use store::StoreError;
use store::mongo::describe::Change;
use store::mongo::{CausalTime, Collection, Index, Mongo};

use super::documents::{Before, decided_fields};
use super::{AccountDoc, Entry, LedgerError};
use crate::domain::AccountState;

/// Collection `payment.accounts`.
#[derive(Debug, Clone)]
pub(super) struct Accounts {
    documents: Collection<AccountDoc>,
    mongo: Mongo,
}

/// An account, and the point in the store's history at which it was read or written.
#[derive(Debug, Clone)]
pub(super) struct ReadAccount {
    pub(super) document: AccountDoc,
    pub(super) at: CausalTime,
}

/// Decision to write, provided that the account is unchanged since it was read.
#[derive(Debug)]
pub(super) struct Write<'a> {
    pub(super) read: &'a AccountDoc,
    pub(super) after: &'a AccountState,
    pub(super) entry: &'a Entry,
    /// Entries of its tail that this process has relayed and seen acknowledged, by `seq`.
    pub(super) trims: &'a [i64],
    /// False only in a test twin that is broken on purpose.
    pub(super) compare_version: bool,
}

impl Accounts {
    pub(super) fn new(mongo: &Mongo) -> Self {
        Self { documents: mongo.collection("accounts"), mongo: mongo.clone() }
    }

    pub(super) async fn ensure_indexes(&self) -> Result<(), StoreError> {
        self.documents.ensure_index(Index::on(doc! { "oldest_tail_at": 1 })).await
    }

    pub(super) async fn find(&self, player_id: &str) -> Result<Option<AccountDoc>, StoreError> {
        self.documents.find_one(doc! { "_id": player_id }).await
    }

    /// Returns the account, read in one command with those that others read at the same moment. Creates it when it is missing,
    /// because a command may overtake its player's registration.
    pub(super) async fn read(&self, player_id: &str) -> Result<ReadAccount, LedgerError> {
        let mut time = CausalTime::default();
        for is_created in [false, true] {
            if is_created {
                self.open(player_id, None).await?;
            }
            let mut read = self.documents.find_grouped(vec![player_id.to_owned()], time).await?;
            time = read.time;
            if let Some(document) = read.documents.pop() {
                return Ok(ReadAccount { document, at: time });
            }
        }
        Err(LedgerError::Contended { attempts: 1 })
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

    /// Writes the decision by compare-and-set. Returns the account as it is then, or `None` when another decision was first.
    ///
    /// It is a pipeline, because one update refuses `$pull` and `$push` on the same field. It filters the stored tail and not the
    /// tail that was read, so entries that another process has trimmed stay trimmed. Only such entries may be in the returned tail
    /// and no longer in the stored one.
    pub(super) async fn write(&self, write: &Write<'_>) -> Result<Option<ReadAccount>, LedgerError> {
        let mut filter = doc! { "_id": &write.read.player_id };
        if write.compare_version {
            filter.insert("version", write.read.version);
        }
        let version = write.read.version.saturating_add(1);
        let unreadable = |e: bson::error::Error| LedgerError::Unreadable(e.to_string());
        let entry = bson::serialize_to_document(write.entry).map_err(unreadable)?;
        let before = bson::serialize_to_document(&Before::next(write.read)).map_err(unreadable)?;
        let mut fields = decided_fields(version, write.after);
        let document = write.read.decided(fields.clone(), write.entry, write.trims).map_err(unreadable)?;
        fields.insert("before", before);
        let mut set = literal(fields);
        set.insert("tail", doc! { "$concatArrays": [tail_without(write.trims), [{ "$literal": entry }]] });
        let mut session = self.mongo.causal_session().await?;
        let matched = self.documents.update_one_in(&mut session, filter, pipeline(set)).await?;
        Ok((matched == 1).then(|| ReadAccount { document, at: session.time() }))
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

#[cfg(test)]
mod tests {
    use contracts::{EventId, EventType};
    use money::Money;
    use telemetry::propagation;

    use super::*;
    use crate::domain::{self, Command, LimitSet, Wager};
    use crate::ledger::entry::About;

    /// Decides a command on an account that was read. It trims the earlier decisions.
    async fn decide(
        accounts: &Accounts,
        read: &AccountDoc,
        id: &str,
        command: &Command,
    ) -> Option<ReadAccount> {
        let command_id: EventId = id.parse().unwrap();
        let decision = domain::decide(&read.state(), command, 1_000_000).unwrap();
        let about = About {
            command_id: &command_id,
            command_type: EventType::ApplyWager,
            request_hash: "hash".to_owned(),
            keys: vec![format!("c:{id}")],
            voids: None,
            at_ms: 1_000_000,
        };
        let entry = Entry::new(read.next_seq, about, &decision, propagation::capture());
        let trims: Vec<i64> = read.tail.iter().map(|entry| entry.seq).collect();
        let write =
            Write { read, after: &decision.account, entry: &entry, trims: &trims, compare_version: true };
        accounts.write(&write).await.unwrap()
    }

    /// What a decision returns must be what a read would return, or the next decision is based on something else.
    #[tokio::test]
    async fn written_account_is_the_stored_one() {
        let mongo = Mongo::connect(&testkit::long_timeouts::mongo("pay")).await.unwrap();
        let accounts = Accounts::new(&mongo);
        accounts.open("p", Some(Currency::Eur)).await.unwrap();
        let money = doc! { "$set": { "balances.EUR": 100_i64 } };
        accounts.documents.update_one(doc! { "_id": "p" }, money).await.unwrap();
        let eur = |minor| Money::new(minor, Currency::Eur);
        let limits = |max_stake, cause: &str| Command::SetLimits {
            cause_id: cause.parse().unwrap(),
            limits: LimitSet { max_stake, daily_loss: Some(eur(5_000)) },
            loosen_after_ms: 86_400_000,
        };
        let wager = |stake, payout| {
            Command::ApplyWager(Wager {
                wager_id: "w".parse().unwrap(),
                game: "slots".to_owned(),
                stake: eur(stake),
                payout: eur(payout),
            })
        };
        let commands = [
            ("set", limits(Some(eur(50)), "set")),
            ("looser", limits(Some(eur(60)), "looser")),
            ("won", wager(10, 500)),
            ("lost", wager(20, 0)),
            ("too-much", wager(51, 0)),
            ("out", Command::SelfExclude { cause_id: "out".parse().unwrap(), until_ms: 2_000_000 }),
        ];
        let mut known = accounts.read("p").await.unwrap();
        for (id, command) in &commands {
            let before = known.document;
            known = decide(&accounts, &before, id, command).await.expect("nobody else decides");
            let stored = accounts.find("p").await.unwrap().unwrap();
            assert_eq!(known.document, stored, "{id}");
            assert!(
                decide(&accounts, &before, "stale", command).await.is_none(),
                "{id}: based on an old one"
            );
            assert_eq!(accounts.find("p").await.unwrap(), Some(stored), "{id}: and nothing was written");
        }
        mongo.drop_database().await.unwrap();
    }
}
