//! The store of facts, rollups and marks; every access is bounded by an index over (bucket, game, currency).

use store::StoreError;
use store::bson::{Bson, DateTime, Document, doc};
use store::mongo::{Collection, Index, Mongo};

use crate::document::{DirtyMark, FactDocument, RollupDocument};
use crate::domain::bucket::{Bucket, Level};
use crate::domain::fact::Kind;
use crate::domain::totals::Totals;

/// A bucket's finer rollups: an hour has sixty minutes.
const PARTS_MAX: u32 = 64;
/// Marks that one look takes over.
const MARKS_MAX: u32 = 1_000;

/// `analytics.*`.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    facts: Collection<FactDocument>,
    rollups: Collection<RollupDocument>,
    dirty: Collection<DirtyMark>,
}

impl Facts {
    /// The collections with their indexes.
    pub(crate) async fn open(mongo: &Mongo) -> Result<Self, StoreError> {
        let opened = Self {
            facts: mongo.collection("facts"),
            rollups: mongo.collection("rollups"),
            dirty: mongo.collection("dirty"),
        };
        opened.facts.ensure_index(Index::on(doc! { "slot_s": 1, "game": 1, "currency": 1 })).await?;
        opened
            .rollups
            .ensure_index(Index::on(doc! { "level": 1, "start_s": 1, "game": 1, "currency": 1 }))
            .await?;
        opened.dirty.ensure_index(Index::on(doc! { "marked_at": 1 })).await?;
        Ok(opened)
    }

    /// Adds a fact; false when it was known.
    pub(crate) async fn add(&self, fact: &FactDocument) -> Result<bool, StoreError> {
        match self.facts.insert_one(fact).await {
            Ok(()) => Ok(true),
            Err(error) if error.is_duplicate_key() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Says that a bucket will have to be recomputed. The same mark twice is one mark.
    pub(crate) async fn mark(&self, mark: &DirtyMark) -> Result<(), StoreError> {
        match self.dirty.insert_one(mark).await {
            Err(error) if !error.is_duplicate_key() => Err(error),
            _ => Ok(()),
        }
    }

    /// Takes marks back, after their buckets were recomputed.
    pub(crate) async fn unmark(&self, ids: &[String]) -> Result<(), StoreError> {
        if ids.is_empty() {
            return Ok(());
        }
        self.dirty.delete_many(doc! { "_id": { "$in": ids } }).await.map(drop)
    }

    /// Marks that nobody has taken back for a long time: their process is dead.
    pub(crate) async fn abandoned(&self, before: DateTime) -> Result<Vec<DirtyMark>, StoreError> {
        self.dirty.find(doc! { "marked_at": { "$lt": before } }, doc! { "marked_at": 1 }, MARKS_MAX).await
    }

    /// The totals of a slot, from its facts.
    pub(crate) async fn sum_facts(&self, slot: &Bucket) -> Result<Totals, StoreError> {
        let pipeline = vec![
            doc! { "$match": { "slot_s": slot.start_s, "game": &slot.game, "currency": &slot.currency } },
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

    /// The totals of a bucket, from its finer rollups.
    pub(crate) async fn sum_rollups(
        &self,
        finer: Level,
        level: Level,
        bucket: &Bucket,
    ) -> Result<Totals, StoreError> {
        // By their ids, which follow from the bucket: a range over `start_s` costs more with every rollup of that level.
        let ids: Vec<String> = bucket.parts(level, finer).map(|part| part.id(finer)).collect();
        let parts = self.rollups.find(doc! { "_id": { "$in": ids } }, doc! { "_id": 1 }, PARTS_MAX).await?;
        Ok(parts.iter().map(RollupDocument::totals).fold(Totals::default(), Totals::merge))
    }

    /// Stores what a bucket adds up to; false when what is stored already was summed from more facts.
    ///
    /// Facts are never deleted, so of two sums the one of more facts is the newer: a process that stood still between its
    /// sum and this, or a write that the store applies late, takes nothing back.
    pub(crate) async fn put(&self, rollup: &RollupDocument) -> Result<bool, StoreError> {
        let not_newer = doc! { "_id": &rollup.id, "$or": [
            // written before the number was stored
            { "facts": { "$exists": false } },
            { "facts": { "$lte": rollup.facts } },
        ] };
        match self.rollups.replace_one(not_newer.clone(), rollup, true).await {
            // There is one that is newer, or one that was made at this very moment and may be older.
            Err(error) if error.is_duplicate_key() => {
                Ok(self.rollups.replace_one(not_newer, rollup, false).await? > 0)
            }
            answer => answer.map(|_| true),
        }
    }

    /// The rollups of a level from `from_s` until before `to_s`, the oldest first, at most `limit`.
    pub(crate) async fn between(
        &self,
        level: Level,
        from_s: i64,
        to_s: i64,
        limit: u32,
    ) -> Result<Vec<RollupDocument>, StoreError> {
        let filter = doc! { "level": level.as_str(), "start_s": { "$gte": from_s, "$lt": to_s } };
        self.rollups.find(filter, doc! { "start_s": 1 }, limit).await
    }
}

fn totals_of_group(group: &Document) -> Option<Totals> {
    let kind = Kind::parse(group.get_str("_id").ok()?)?;
    Some(Totals::of(kind, integer(group, "count"), integer(group, "in_minor"), integer(group, "out_minor")))
}

/// A sum as the server sends it: 32 or 64 bits by its size.
fn integer(group: &Document, field: &str) -> i64 {
    match group.get(field) {
        Some(Bson::Int32(n)) => i64::from(*n),
        Some(Bson::Int64(n)) => *n,
        _ => 0,
    }
}
