//! `user.bet_history`: how every bet and payment of a player ended, latest first.
//!
//! The promises: an event recorded twice is one entry; a page costs the same however long the history is, because its
//! order is one indexed string and a page is read in windows of time that grow until it is full ([`window`]).

mod window;

use contracts::{Classify, Event};
use money::Currency;
use serde::{Deserialize, Serialize};
use store::StoreError;
use store::bson::{DateTime, doc};
use store::mongo::{Collection, Index, Mongo};

use crate::domain::{Entry, Kind, Outcome};

pub use window::is_place;

/// Most entries of one page.
pub const PAGE_MAX: u32 = 100;

/// One entry, as stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryDocument {
    /// The bet or payment.
    #[serde(rename = "_id")]
    pub id: String,
    /// Whose.
    pub player_id: String,
    /// `bet`, `deposit` or `withdrawal`.
    pub kind: String,
    /// Its place: microseconds of its end in hexadecimal, then its id. Text order is time order.
    pub place: String,
    /// `settled`, `rejected`, `voided`, `completed` or `failed`.
    pub outcome: String,
    /// Which game, of a bet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub game: Option<String>,
    /// What was staked or paid.
    pub amount_minor: i64,
    /// What was paid out for a bet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payout_minor: Option<i64>,
    /// The balance right after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance_minor: Option<i64>,
    /// The currency of all of them.
    pub currency: Currency,
    /// The symbols, of a settled bet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reels: Vec<String>,
    /// Why not, or why undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it ended.
    pub at: DateTime,
    /// The event that told of it.
    pub event_id: String,
    /// The trace it ended in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}

/// Whether recording changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It did.
    New,
    /// It was there already.
    Known,
}

/// Why an entry could not be recorded.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The event is incomplete, though it was decoded: a rule of ours and one of the contracts differ.
    #[error(transparent)]
    Incomplete(#[from] contracts::FieldError),
    /// The id belongs to somebody else's bet.
    #[error("the id of the bet or payment belongs to another player")]
    OtherPlayer,
}

impl Classify for HistoryError {
    fn class(&self) -> contracts::ErrorClass {
        match self {
            Self::Store(error) => error.class(),
            Self::Incomplete(_) | Self::OtherPlayer => contracts::ErrorClass::Poison,
        }
    }
}

/// A page, and where the next one begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The entries, latest first.
    pub entries: Vec<HistoryDocument>,
    /// What to ask for next; absent at the end.
    pub next: Option<String>,
}

/// The history; cheap to clone.
#[derive(Clone, Debug)]
pub struct History {
    entries: Collection<HistoryDocument>,
}

impl History {
    /// Makes sure of the index.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub async fn open(mongo: &Mongo) -> Result<Self, StoreError> {
        let entries: Collection<HistoryDocument> = mongo.collection("bet_history");
        entries.ensure_index(Index::on(doc! { "player_id": 1, "kind": 1, "place": 1 })).await?;
        Ok(Self { entries })
    }

    /// Records how something ended. A second event about it changes nothing, unless it undoes the first.
    ///
    /// # Errors
    /// When the store fails, or the id is somebody else's.
    pub async fn record(&self, event: &Event, entry: Entry) -> Result<Recorded, HistoryError> {
        let outcome = entry.outcome;
        let document = document(event, entry);
        match self.entries.insert_one(&document).await {
            Ok(()) => return Ok(Recorded::New),
            Err(StoreError::DuplicateKey { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let Some(known) = self.entries.find_one(doc! { "_id": &document.id }).await? else {
            // Nothing is ever deleted here: the reader is behind, and another try will see it.
            let reason = "an entry that exists was not found".to_owned();
            return Err(StoreError::Transient { collection: "bet_history", reason }.into());
        };
        if known.player_id != document.player_id {
            return Err(HistoryError::OtherPlayer);
        }
        let known_outcome = Outcome::ALL.into_iter().find(|named| named.as_str() == known.outcome);
        let undone = known_outcome.is_some_and(|known_outcome| outcome.supersedes(known_outcome));
        if known.event_id == document.event_id || !undone {
            return Ok(Recorded::Known);
        }
        // It keeps its place and what was played; only how it ended is new.
        let undo = doc! { "$set": {
            "outcome": document.outcome, "reason": document.reason, "event_id": document.event_id,
        }};
        self.entries.update_one(doc! { "_id": document.id, "event_id": known.event_id }, undo).await?;
        Ok(Recorded::New)
    }

    /// One page of a player's entries of this kind, without those that this version cannot read.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn page(
        &self,
        player_id: &str,
        kind: Kind,
        limit: u32,
        before: Option<&str>,
    ) -> Result<Page, StoreError> {
        let wanted = usize::try_from(limit.clamp(1, PAGE_MAX)).unwrap_or(usize::MAX);
        let now_us = DateTime::now().timestamp_millis().saturating_mul(1_000);
        let mut entries: Vec<HistoryDocument> = Vec::new();
        for window in window::before(before, now_us) {
            let mut filter = doc! { "player_id": player_id, "kind": kind.as_str() };
            filter.insert("place", window.range());
            // One more than asked for tells whether there is a next page.
            let missing = wanted.saturating_sub(entries.len()).saturating_add(1);
            let missing = u32::try_from(missing).unwrap_or(u32::MAX);
            entries.extend(self.entries.find_readable(filter, doc! { "place": -1 }, missing).await?);
            if entries.len() > wanted {
                break;
            }
        }
        let more = entries.len() > wanted;
        entries.truncate(wanted);
        let next = if more { entries.last().map(|entry| entry.place.clone()) } else { None };
        Ok(Page { entries, next })
    }
}

fn document(event: &Event, entry: Entry) -> HistoryDocument {
    let at_us = i64::try_from(event.time.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX);
    HistoryDocument {
        place: window::place(at_us, &entry.id),
        player_id: entry.player_id,
        kind: entry.kind.as_str().to_owned(),
        outcome: entry.outcome.as_str().to_owned(),
        game: entry.game,
        amount_minor: entry.amount.minor(),
        payout_minor: entry.payout.map(money::Money::minor),
        balance_minor: entry.balance_after.map(money::Money::minor),
        currency: entry.amount.currency(),
        reels: entry.reels,
        reason: entry.reason,
        at: DateTime::from_millis(at_us / 1_000),
        event_id: event.id.to_string(),
        trace_id: telemetry::trace_id(),
        id: entry.id,
    }
}
