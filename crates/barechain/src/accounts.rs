//! The accounts, for a chain whose order is that of the players. Each bet changes its player's account by compare-and-set.
//!
//! There are no rules, so an account has only its version and the sum of the stakes. A record that comes a second time is added again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use mongodb::bson::{Document, doc};
use mongodb::error::Error;
use mongodb::options::ReturnDocument;
use mongodb::{Collection, Database};

use crate::ChainError;
use crate::rows::{self, Row};

/// Step in which an account can fail.
const DOING: &str = "writing an account";

/// The accounts of the players, whose versions are read once.
#[derive(Debug)]
pub(crate) struct Accounts {
    documents: Collection<Document>,
    versions: Mutex<HashMap<String, i64>>,
}

impl Accounts {
    pub(crate) fn of(database: &Database) -> Self {
        Self { documents: database.collection(rows::ACCOUNTS), versions: Mutex::default() }
    }

    /// Adds a bet to its player's account, which has been changed by nobody else since this process wrote it. The bets of one player
    /// must not be added at the same time.
    pub(crate) async fn add(&self, row: &Row) -> Result<(), ChainError> {
        let (player_id, stake_minor) = row.stake();
        let version = match self.known(player_id) {
            Some(version) => version,
            None => self.opened(player_id).await?,
        };
        let unchanged = doc! { "_id": player_id, "version": version };
        let change = doc! { "$inc": { "version": 1_i64, "stakes_minor": stake_minor } };
        let write = async { self.documents.update_one(unchanged, change).await };
        if rows::in_time(DOING, write).await?.matched_count != 1 {
            return Err(ChainError::Overtaken);
        }
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        versions.insert(player_id.to_owned(), version + 1);
        Ok(())
    }

    fn known(&self, player_id: &str) -> Option<i64> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner).get(player_id).copied()
    }

    /// The version of an account, which is created if there is none.
    async fn opened(&self, player_id: &str) -> Result<i64, ChainError> {
        let new = doc! { "$setOnInsert": { "version": 0_i64, "stakes_minor": 0_i64 } };
        let open = async {
            let open = self.documents.find_one_and_update(doc! { "_id": player_id }, new);
            open.upsert(true).return_document(ReturnDocument::After).await
        };
        let account = rows::in_time(DOING, open).await?.unwrap_or_default();
        account.get_i64("version").map_err(|error| ChainError::store(DOING)(Error::custom(error)))
    }
}
