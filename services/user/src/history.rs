//! `user.bet_history`: the outcome of every bet and payment of a player, latest first.
//!
//! It guarantees that an event recorded twice gives one entry, and that a page costs the same at any length of the history. The
//! sort key is one indexed string, and a page is read in windows of time that grow until it is full ([`window`]).

mod one_by_one;
mod window;

use contracts::{Classify, Event};
use money::Currency;
use serde::{Deserialize, Serialize};
use store::StoreError;
use store::bson::{DateTime, doc};
use store::mongo::{Collection, Index, Mongo};

use crate::domain::{Entry, Kind, Outcome};

pub use window::is_place;

/// Largest number of entries on one page.
pub const PAGE_MAX: u32 = 100;

/// One entry, as stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryDocument {
    /// Id of the bet or payment.
    #[serde(rename = "_id")]
    pub id: String,
    /// Id of the player.
    pub player_id: String,
    /// `bet`, `deposit` or `withdrawal`.
    pub kind: String,
    /// Sort key: the time of the outcome in microseconds, in hexadecimal, then the id. Text order is time order.
    pub place: String,
    /// `settled`, `rejected`, `voided`, `completed` or `failed`.
    pub outcome: String,
    /// The game, for a bet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub game: Option<String>,
    /// The stake or the amount paid.
    pub amount_minor: i64,
    /// Payout of a bet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payout_minor: Option<i64>,
    /// The balance right afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance_minor: Option<i64>,
    /// Currency of all amounts.
    pub currency: Currency,
    /// The symbols, for a settled bet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reels: Vec<String>,
    /// Reason for a rejection, a failure or a void.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Time of the outcome.
    pub at: DateTime,
    /// Id of the event with the outcome.
    pub event_id: String,
    /// Trace of the outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}

/// Result of recording an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// The entry is new or changed.
    New,
    /// The entry was known.
    Known,
}

/// Reason why an entry could not be recorded.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The id belongs to another player's bet or payment.
    #[error("the id of the bet or payment belongs to another player")]
    OtherPlayer,
}

impl Classify for HistoryError {
    fn class(&self) -> contracts::ErrorClass {
        match self {
            Self::Store(error) => error.class(),
            Self::OtherPlayer => contracts::ErrorClass::Poison,
        }
    }
}

/// A page, and the start of the next one.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The entries, latest first.
    pub entries: Vec<HistoryDocument>,
    /// Value of `before` for the next page. Absent on the last page.
    pub next: Option<String>,
}

/// The history. Cheap to clone.
#[derive(Clone, Debug)]
pub struct History {
    entries: Collection<HistoryDocument>,
    places: Collection<one_by_one::Place>,
}

impl History {
    /// Opens the collection and creates a missing index.
    pub async fn open(mongo: &Mongo) -> Result<Self, StoreError> {
        let entries: Collection<HistoryDocument> = mongo.collection("bet_history");
        entries.ensure_index(Index::on(doc! { "player_id": 1, "kind": 1, "place": 1 })).await?;
        Ok(Self { entries, places: mongo.collection("bet_history") })
    }

    /// Records an outcome. A second event about it changes nothing, unless it is a void.
    ///
    /// # Errors
    /// [`HistoryError::OtherPlayer`] when the id belongs to another player.
    pub async fn record(&self, event: &Event, entry: Entry) -> Result<Recorded, HistoryError> {
        let outcome = entry.outcome;
        let document = document(event, entry);
        match self.entries.insert_grouped(&document).await {
            Ok(()) => return Ok(Recorded::New),
            Err(StoreError::DuplicateKey { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let Some(known) = self.entries.find_one(doc! { "_id": &document.id }).await? else {
            // Entries are never deleted, so the replica that was read lags behind, and a retry finds the entry.
            let reason = "an entry that exists was not found".to_owned();
            return Err(StoreError::Transient { collection: "bet_history", reason }.into());
        };
        if known.player_id != document.player_id {
            return Err(HistoryError::OtherPlayer);
        }
        let known_outcome = Outcome::ALL.into_iter().find(|named| named.as_str() == known.outcome);
        let is_reversed = known_outcome.is_some_and(|known_outcome| outcome.supersedes(known_outcome));
        if known.event_id == document.event_id || !is_reversed {
            return Ok(Recorded::Known);
        }
        // A void changes only the outcome. The entry keeps its place and the data of the played bet.
        let reversal = doc! { "$set": {
            "outcome": document.outcome, "reason": document.reason, "event_id": document.event_id,
        }};
        self.entries.update_one(doc! { "_id": document.id, "event_id": known.event_id }, reversal).await?;
        Ok(Recorded::New)
    }

    /// Returns one page of a player's entries of this kind, without entries that this version cannot read.
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
            // Reads one entry more than requested, to find out whether there is a next page.
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
