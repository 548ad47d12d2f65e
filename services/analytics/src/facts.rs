//! Store of facts, rollups and marks. Every query is bounded by an index.
//!
//! The store makes the sums, and marks are read one by one. So a damaged document, or one that another build wrote, is left out
//! of a sum and stops nothing.

mod player;

use contracts::Game;
use store::StoreError;
use store::bson::{Bson, DateTime, Document, doc};
use store::mongo::{Collection, Index, Mongo};

use crate::document::{DirtyMark, FactDocument, RollupDocument};
use crate::domain::bucket::{Bucket, Level};
use crate::domain::fact::{Kind, NO_GAME};
use crate::domain::totals::Totals;

/// Maximum number of game and currency pairs in one summary, with room for those of newer builds.
const GROUPS_MAX: u32 = 1_000;
/// Summed fields of a rollup, except `facts`, which old rollups do not have.
const SUMMED: [&str; 10] = [
    "bets",
    "stake_minor",
    "payout_minor",
    "rejected",
    "voided",
    "payments_completed",
    "payments_failed",
    "deposited_minor",
    "withdrawn_minor",
    "registered",
];
/// Maximum number of marks that one pass takes over.
const MARKS_MAX: u32 = 1_000;

/// Access to the collections of the database `analytics`.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    facts: Collection<FactDocument>,
    ids: Collection<player::FactId>,
    amounts: Collection<player::Amounts>,
    rollups: Collection<RollupDocument>,
    dirty: Collection<DirtyMark>,
    mongo: Mongo,
}

/// Error: the summary has more pairs of game and currency than a response may hold. Nothing is left out silently.
#[derive(Debug, thiserror::Error)]
#[error("the summary has more than {GROUPS_MAX} pairs of game and currency")]
pub(crate) struct TooManyGroups;

impl Facts {
    /// Opens the collections and creates their indexes.
    pub(crate) async fn open(mongo: &Mongo) -> Result<Self, StoreError> {
        let opened = Self {
            facts: mongo.collection("facts"),
            ids: mongo.collection("facts"),
            amounts: mongo.collection("facts"),
            rollups: mongo.collection("rollups"),
            dirty: mongo.collection("dirty"),
            mongo: mongo.clone(),
        };
        opened.facts.ensure_index(Index::on(doc! { "slot_s": 1, "game": 1, "currency": 1 })).await?;
        opened.facts.ensure_index(Index::on(doc! { "player_id": 1, "at": 1 })).await?;
        opened
            .rollups
            .ensure_index(Index::on(doc! { "level": 1, "start_s": 1, "game": 1, "currency": 1 }))
            .await?;
        opened.dirty.ensure_index(Index::on(doc! { "marked_at": 1 })).await?;
        Ok(opened)
    }

    /// Returns the store's time, because another process may compare the marks.
    pub(crate) fn now(&self) -> DateTime {
        self.mongo.now()
    }

    /// Asks the store for its time, so that [`Facts::now`] is right even if this process's clock is wrong.
    pub(crate) async fn sync_time(&self) -> Result<(), StoreError> {
        self.mongo.ping().await
    }

    /// Adds a fact. Returns false if it was already stored.
    pub(crate) async fn add(&self, fact: &FactDocument) -> Result<bool, StoreError> {
        match self.facts.insert_grouped(fact).await {
            Ok(()) => Ok(true),
            Err(error) if error.is_duplicate_key() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Marks a bucket that will have to be recomputed. Adding the same mark twice has no further effect.
    pub(crate) async fn mark(&self, mark: &DirtyMark) -> Result<(), StoreError> {
        match self.dirty.insert_grouped(mark).await {
            Err(error) if !error.is_duplicate_key() => Err(error),
            _ => Ok(()),
        }
    }

    /// Deletes marks after their buckets were recomputed.
    pub(crate) async fn unmark(&self, ids: Vec<&str>) -> Result<(), StoreError> {
        if ids.is_empty() {
            return Ok(());
        }
        self.dirty.delete_many(doc! { "_id": { "$in": ids } }).await.map(drop)
    }

    /// Returns marks older than `before`, whose process is dead. Marks that cannot be read are left out, and the store reports
    /// them once.
    pub(crate) async fn abandoned(&self, before: DateTime) -> Result<Vec<DirtyMark>, StoreError> {
        let filter = doc! { "marked_at": { "$lt": before } };
        self.dirty.find_readable(filter, doc! { "marked_at": 1 }, MARKS_MAX).await
    }

    /// Returns the totals of a bucket of ten seconds, summed from its facts.
    pub(crate) async fn sum_facts(&self, bucket: &Bucket) -> Result<Totals, StoreError> {
        let pipeline = vec![
            doc! { "$match": { "slot_s": bucket.start_s, "game": &bucket.game, "currency": &bucket.currency } },
            doc! { "$group": {
                "_id": "$kind",
                "count": { "$sum": 1_i64 },
                "in_minor": { "$sum": "$in_minor" },
                "out_minor": { "$sum": "$out_minor" },
            } },
        ];
        let limit = u32::try_from(Kind::ALL.len()).unwrap_or(u32::MAX);
        let groups = self.facts.aggregate(pipeline, limit).await?;
        Ok(groups.iter().filter_map(totals_of_group).fold(Totals::default(), Totals::merge))
    }

    /// Returns the totals of a bucket, summed from its finer rollups.
    pub(crate) async fn sum_rollups(
        &self,
        finer: Level,
        level: Level,
        bucket: &Bucket,
    ) -> Result<Totals, StoreError> {
        // Selected by id, because the cost of a range over `start_s` grows with the number of rollups of that level.
        let ids: Vec<String> = bucket.parts(level, finer).map(|part| part.id(finer)).collect();
        let pipeline =
            vec![doc! { "$match": { "_id": { "$in": ids } } }, doc! { "$group": summed(Bson::Null) }];
        let groups = self.rollups.aggregate(pipeline, 1).await?;
        Ok(groups.first().map(totals_of_rollups).unwrap_or_default())
    }

    /// Stores the totals of a bucket. Returns false if the stored totals were summed from more facts.
    ///
    /// Facts are never deleted, so of two sums the one of more facts is newer. A process that was paused between its sum and this
    /// call, or a write that the store applies late, therefore reverts nothing.
    pub(crate) async fn put(&self, rollup: &RollupDocument) -> Result<bool, StoreError> {
        let not_newer = doc! { "_id": &rollup.id, "$or": [
            // Written before the number was stored.
            { "facts": { "$exists": false } },
            { "facts": { "$lte": rollup.totals.facts } },
        ] };
        match self.rollups.replace_one(not_newer.clone(), rollup, true).await {
            // A newer rollup exists, or another process inserted one at this moment, which may be older.
            Err(error) if error.is_duplicate_key() => {
                Ok(self.rollups.replace_one(not_newer, rollup, false).await? > 0)
            }
            result => result.map(|_| true),
        }
    }

    /// Returns the totals of a level's rollups with `from_s` <= start < `to_s`, per game and currency. Unknown game names, which
    /// old rollups have from clients, are summed as [`Game::UNKNOWN`].
    ///
    /// # Errors
    /// When the store fails. More groups than a response may hold are [`TooManyGroups`] in the value.
    pub(crate) async fn totals_between(
        &self,
        level: Level,
        from_s: i64,
        to_s: i64,
    ) -> Result<Result<Vec<(String, String, Totals)>, TooManyGroups>, StoreError> {
        let known: Vec<&str> =
            Game::ALL.iter().map(|game| game.as_str()).chain([NO_GAME, Game::UNKNOWN]).collect();
        let label = doc! { "$cond": [{ "$in": ["$game", known] }, "$game", Game::UNKNOWN] };
        let pipeline = vec![
            doc! { "$match": { "level": level.as_str(), "start_s": { "$gte": from_s, "$lt": to_s } } },
            doc! { "$group": summed(doc! { "game": label, "currency": "$currency" }) },
            doc! { "$sort": { "_id": 1 } },
        ];
        let groups = self.rollups.aggregate(pipeline, GROUPS_MAX.saturating_add(1)).await?;
        if groups.len() > GROUPS_MAX as usize {
            return Ok(Err(TooManyGroups));
        }
        Ok(Ok(groups.iter().filter_map(named_totals).collect()))
    }
}

/// Builds a `$group` stage that sums rollups by `key`.
fn summed(key: impl Into<Bson>) -> Document {
    // Old rollups have no number of facts, but each of their facts was counted in exactly one of these fields. Unlike `$add`,
    // `$sum` ignores values that are not numbers.
    let of_old = ["$bets", "$rejected", "$voided", "$payments_completed", "$payments_failed", "$registered"];
    let facts = doc! { "$ifNull": ["$facts", { "$sum": of_old.to_vec() }] };
    let mut group = doc! { "_id": key.into(), "facts": { "$sum": facts } };
    group.extend(SUMMED.map(|field| (field.to_owned(), Bson::from(doc! { "$sum": format!("${field}") }))));
    group
}

fn totals_of_rollups(group: &Document) -> Totals {
    Totals {
        facts: integer(group, "facts"),
        bets: integer(group, "bets"),
        stake_minor: integer(group, "stake_minor"),
        payout_minor: integer(group, "payout_minor"),
        rejected: integer(group, "rejected"),
        voided: integer(group, "voided"),
        payments_completed: integer(group, "payments_completed"),
        payments_failed: integer(group, "payments_failed"),
        deposited_minor: integer(group, "deposited_minor"),
        withdrawn_minor: integer(group, "withdrawn_minor"),
        registered: integer(group, "registered"),
    }
}

/// Returns `None` for a rollup whose game or currency is not text.
fn named_totals(group: &Document) -> Option<(String, String, Totals)> {
    let key = group.get_document("_id").ok()?;
    let (game, currency) = (key.get_str("game").ok()?, key.get_str("currency").ok()?);
    Some((game.to_owned(), currency.to_owned(), totals_of_rollups(group)))
}

fn totals_of_group(group: &Document) -> Option<Totals> {
    let kind = Kind::parse(group.get_str("_id").ok()?)?;
    Some(Totals::of(kind, integer(group, "count"), integer(group, "in_minor"), integer(group, "out_minor")))
}

/// Reads a sum as the server returns it: 32 or 64 bits depending on its size, and a float if it exceeds 64 bits.
fn integer(group: &Document, field: &str) -> i64 {
    match group.get(field) {
        Some(Bson::Int32(n)) => i64::from(*n),
        Some(Bson::Int64(n)) => *n,
        Some(Bson::Double(n)) if *n > 0.0 => i64::MAX,
        Some(Bson::Double(n)) if *n < 0.0 => i64::MIN,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sum_beyond_64_bits_saturates() {
        let group = doc! {
            "small": 7_i32, "large": i64::MAX, "above": 1.0e19_f64, "below": -1.0e19_f64, "text": "many",
        };
        let fields = ["small", "large", "above", "below", "text", "absent"];
        let sums = fields.map(|field| integer(&group, field));
        assert_eq!(sums, [7, i64::MAX, i64::MAX, i64::MIN, 0, 0]);
    }

    #[test]
    fn rollups_sum_every_total() {
        let numbered = summed(Bson::Null).into_iter().zip(1_i64..);
        let group: Document = numbered.map(|((field, _), sum)| (field, Bson::from(sum))).collect();
        let totals = serde_json::to_value(totals_of_rollups(&group)).unwrap();
        for (field, total) in totals.as_object().unwrap() {
            assert_eq!(total.as_i64(), group.get_i64(field).ok(), "{field}");
        }
    }
}
