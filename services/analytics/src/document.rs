//! Documents of analytics: facts, the rollups computed from them, and the marks of buckets that have to be recomputed.

use serde::{Deserialize, Serialize};
use store::bson::DateTime;

use crate::domain::bucket::{Bucket, Level};
use crate::domain::fact::Fact;
use crate::domain::totals::Totals;

/// Document of `analytics.facts`: one per event, under its `ce_id`. A replay finds it and changes nothing.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FactDocument {
    /// The event's `ce_id`.
    #[serde(rename = "_id")]
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) at: DateTime,
    /// Start of the bucket of ten seconds, in seconds since 1970. First field of the index that bounds a recompute.
    pub(crate) slot_s: i64,
    pub(crate) game: String,
    pub(crate) currency: String,
    pub(crate) player_id: String,
    pub(crate) in_minor: i64,
    pub(crate) out_minor: i64,
}

impl FactDocument {
    pub(crate) fn new(event_id: &str, fact: &Fact) -> Self {
        Self {
            id: event_id.to_owned(),
            kind: fact.kind.as_str().to_owned(),
            at: DateTime::from_millis(fact.at_ms),
            slot_s: Level::TenSeconds.start_s(fact.at_ms),
            game: fact.game.clone(),
            currency: fact.currency.clone(),
            player_id: fact.player_id.clone(),
            in_minor: fact.in_minor,
            out_minor: fact.out_minor,
        }
    }
}

/// Document of `analytics.rollups`: totals of one bucket, replaced as a whole by totals of no fewer facts, never incremented.
///
/// It is read only through sums made by the store ([`crate::facts`]), so a document of another build causes no error.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RollupDocument {
    /// `<level>/<start>/<game>/<currency>`.
    #[serde(rename = "_id")]
    pub(crate) id: String,
    pub(crate) level: String,
    pub(crate) start_s: i64,
    pub(crate) game: String,
    pub(crate) currency: String,
    /// Its number of facts shows the newer of two sums. That is absent in documents of older builds.
    #[serde(flatten)]
    pub(crate) totals: Totals,
}

impl RollupDocument {
    pub(crate) fn new(level: Level, bucket: &Bucket, totals: Totals) -> Self {
        Self {
            id: bucket.id(level),
            level: level.as_str().to_owned(),
            start_s: bucket.start_s,
            game: bucket.game.clone(),
            currency: bucket.currency.clone(),
            totals,
        }
    }
}

/// Document of `analytics.dirty`: a process is about to add facts to this bucket and has not recomputed it since.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DirtyMark {
    /// `<process>/<generation>/<bucket>`, which is unique to the process and never reused.
    #[serde(rename = "_id")]
    pub(crate) id: String,
    pub(crate) marked_at: DateTime,
    pub(crate) start_s: i64,
    pub(crate) game: String,
    pub(crate) currency: String,
}

impl DirtyMark {
    pub(crate) fn bucket(&self) -> Bucket {
        Bucket { start_s: self.start_s, game: self.game.clone(), currency: self.currency.clone() }
    }
}
