//! Fault `user.n-plus-one`: a page whose bets are read one by one. It has the same bets as a normal page.
//!
//! Each bet is read together with the bet before it, as a page would that shows how the balance changed since then. One read per
//! bet would not be enough: a fast store answers a hundred of them in less than the 50 ms of Sentry's detector.

use serde::Deserialize;
use store::StoreError;
use store::bson::doc;

use super::{History, HistoryDocument, PAGE_MAX, Page, window};
use crate::domain::Kind;

/// Id and place of an entry, which every version can read.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Place {
    #[serde(rename = "_id")]
    id: String,
    place: String,
}

impl History {
    /// Returns the same page as [`History::page`], but does not replace unreadable entries by further ones.
    ///
    /// It reads the ids with one query, each of the first `singles_max` entries and the entry before it with a query each, and the
    /// other entries with one query.
    pub async fn page_one_by_one(
        &self,
        player_id: &str,
        kind: Kind,
        limit: u32,
        before: Option<&str>,
        singles_max: usize,
    ) -> Result<Page, StoreError> {
        let limit = limit.clamp(1, PAGE_MAX);
        let range = window::all_before(before).range();
        let filter = doc! { "player_id": player_id, "kind": kind.as_str(), "place": range };
        let latest_first = doc! { "place": -1 };
        // Reads one more than requested, to find out whether there is a next page.
        let places = self.places.find_readable(filter, latest_first.clone(), limit.saturating_add(1)).await?;
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
        let page = places.get(..wanted).unwrap_or(&places);
        let next = if places.len() > wanted { page.last().map(|last| last.place.clone()) } else { None };
        let (singles, rest) = page.split_at(singles_max.min(page.len()));
        let mut entries = Vec::with_capacity(wanted);
        for (place, before) in singles.iter().zip(1..) {
            entries.extend(self.single(&place.id).await?);
            if let Some(before) = places.get(before) {
                self.single(&before.id).await?;
            }
        }
        if !rest.is_empty() {
            let ids: Vec<&str> = rest.iter().map(|place| place.id.as_str()).collect();
            let limit = u32::try_from(ids.len()).unwrap_or(u32::MAX);
            let filter = doc! { "_id": { "$in": ids } };
            entries.extend(self.entries.find_readable(filter, latest_first, limit).await?);
        }
        Ok(Page { entries, next })
    }

    /// Returns one entry. One that is gone or unreadable is left out, as on a normal page.
    async fn single(&self, id: &str) -> Result<Option<HistoryDocument>, StoreError> {
        match self.entries.find_one(doc! { "_id": id }).await {
            Err(StoreError::Unreadable { .. }) => Ok(None),
            read => read,
        }
    }
}
