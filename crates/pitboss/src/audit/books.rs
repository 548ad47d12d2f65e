//! Documents of all services, read for the audit. Nothing is written.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use runtime::RuntimeError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use store::StoreError;
use store::bson::{self, Bson, DateTime, Document, doc};
use store::mongo::{Collection, Config, Mongo};

use super::documents::{Entry, Row};
use super::violation::Violation;

/// Time-out of one read. A server without an index may have to read a whole collection for it.
const READ_TIMEOUT_MS: u64 = 300_000;
/// Largest number of connections to each database.
const CONNECTIONS_MAX: u32 = 2;

/// Names of the databases.
#[derive(Clone, Debug)]
pub struct Databases {
    /// Database of `payment`.
    pub payment: String,
    /// Database of `game`.
    pub game: String,
    /// Database of `user`.
    pub user: String,
    /// Database of `analytics`.
    pub analytics: String,
    /// Database of `notification`.
    pub notification: String,
}

impl Default for Databases {
    fn default() -> Self {
        let [payment, game, user, analytics, notification] =
            ["payment", "game", "user", "analytics", "notification"].map(str::to_owned);
        Self { payment, game, user, analytics, notification }
    }
}

/// Collection that the audit reads as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Source {
    /// `payment.accounts`.
    Accounts,
    /// `payment.ledger`.
    Ledger,
    /// `payment.intents`.
    Intents,
    /// `game.bets`.
    Bets,
    /// `user.bet_history`.
    History,
}

impl Source {
    pub(super) const ALL: [Self; 5] =
        [Self::Accounts, Self::Ledger, Self::Intents, Self::Bets, Self::History];

    /// Name of the collection with its usual database.
    pub(super) const fn namespace(self) -> &'static str {
        match self {
            Self::Accounts => "payment.accounts",
            Self::Ledger => "payment.ledger",
            Self::Intents => "payment.intents",
            Self::Bets => "game.bets",
            Self::History => "user.bet_history",
        }
    }

    /// Name of the field with the time of a document. Accounts have none.
    pub(super) const fn time(self) -> Option<&'static str> {
        match self {
            Self::Accounts => None,
            Self::Ledger | Self::History => Some("at"),
            Self::Intents => Some("created_at"),
            Self::Bets => Some("decided_at"),
        }
    }
}

/// Collections of all services.
#[derive(Clone, Debug)]
pub(super) struct Books {
    clock: Mongo,
    accounts: Collection<Document>,
    ledger: Collection<Document>,
    intents: Collection<Document>,
    bets: Collection<Document>,
    history: Collection<Document>,
    pub(super) facts: Collection<Document>,
    pub(super) rollups: Collection<Document>,
    pub(super) dirty: Collection<Document>,
    pub(super) notifications: Collection<Document>,
}

impl Books {
    /// Connects to the document store.
    pub(super) async fn connect(uri: &str, databases: &Databases) -> Result<Self> {
        let payment = open(uri, &databases.payment).await?;
        let game = open(uri, &databases.game).await?;
        let user = open(uri, &databases.user).await?;
        let analytics = open(uri, &databases.analytics).await?;
        let notification = open(uri, &databases.notification).await?;
        Ok(Self {
            accounts: payment.collection("accounts"),
            ledger: payment.collection("ledger"),
            intents: payment.collection("intents"),
            bets: game.collection("bets"),
            history: user.collection("bet_history"),
            facts: analytics.collection("facts"),
            rollups: analytics.collection("rollups"),
            dirty: analytics.collection("dirty"),
            notifications: notification.collection("sent"),
            clock: payment,
        })
    }

    /// Returns the store's time, in milliseconds since the epoch.
    pub(super) fn now_ms(&self) -> i64 {
        self.clock.now().timestamp_millis()
    }

    pub(super) fn collection(&self, source: Source) -> &Collection<Document> {
        match source {
            Source::Accounts => &self.accounts,
            Source::Ledger => &self.ledger,
            Source::Intents => &self.intents,
            Source::Bets => &self.bets,
            Source::History => &self.history,
        }
    }

    /// Returns the documents with these ids, by id.
    pub(super) async fn by_id(&self, source: Source, ids: &[String]) -> Result<HashMap<String, Document>> {
        by_id(self.collection(source), ids).await
    }

    /// Returns the ledger rows that have any of these keys, by key. A row with several of them occurs several times.
    pub(super) async fn rows_by_key(&self, keys: &[String]) -> Result<HashMap<String, Row>> {
        let mut rows = HashMap::new();
        for document in find_any(&self.ledger, "keys", keys).await? {
            // A row that cannot be read is a finding of the pass over the ledger.
            let Ok(row) = row(&document) else { continue };
            rows.extend(row.entry.keys.iter().map(|key| (key.clone(), row.clone())));
        }
        Ok(rows)
    }
}

async fn open(uri: &str, database: &str) -> Result<Mongo> {
    let defaults = Config::new(uri, database);
    let config = Config { pool_size_max: CONNECTIONS_MAX, operation_timeout_ms: READ_TIMEOUT_MS, ..defaults };
    let missing = |error: StoreError| RuntimeError::Missing {
        what: format!("the document store cannot be used: {error}"),
        advice: "see ./pitboss status. The audit reads the store itself, at its port on the gateway's host"
            .to_owned(),
    };
    Ok(Mongo::connect(&config).await.map_err(missing)?)
}

/// Returns the documents with these ids, by id.
pub(super) async fn by_id(
    collection: &Collection<Document>,
    ids: &[String],
) -> Result<HashMap<String, Document>> {
    let documents = find_any(collection, "_id", ids).await?;
    Ok(documents.into_iter().map(|document| (id_of(&document), document)).collect())
}

async fn find_any(
    collection: &Collection<Document>,
    field: &str,
    values: &[String],
) -> Result<Vec<Document>> {
    if values.is_empty() {
        return Ok(Vec::new());
    }
    // Ids and keys are unique, so each value finds at most one document.
    let limit = u32::try_from(values.len()).context("too many ids for one read")?;
    Ok(collection.find(doc! { field: { "$in": values.to_vec() } }, doc! {}, limit).await?)
}

/// Returns true if any document matches.
pub(super) async fn has_any(collection: &Collection<Document>, filter: Document) -> Result<bool> {
    Ok(!collection.find(filter, doc! {}, 1).await?.is_empty())
}

/// Returns the condition that a time is not before `since_ms` and before `until_ms`, as a part of a filter.
pub(super) fn between(field: &str, since_ms: Option<i64>, until_ms: Option<i64>) -> Document {
    let mut range = Document::new();
    range.extend(since_ms.map(|ms| ("$gte".to_owned(), Bson::DateTime(DateTime::from_millis(ms)))));
    range.extend(until_ms.map(|ms| ("$lt".to_owned(), Bson::DateTime(DateTime::from_millis(ms)))));
    if range.is_empty() {
        range
    } else {
        doc! { field: range }
    }
}

/// Returns the `_id` as text.
pub(super) fn id_of(document: &Document) -> String {
    match document.get("_id") {
        Some(Bson::String(id)) => id.clone(),
        Some(id) => id.to_string(),
        None => "?".to_owned(),
    }
}

/// Decodes a document.
///
/// # Errors
/// The reason, as the text of a finding.
pub(super) fn decode<T: DeserializeOwned>(document: &Document) -> Result<T, Violation> {
    bson::deserialize_from_document(document.clone())
        .map_err(|error| format!("the document cannot be read: {error}").into())
}

/// Decodes a ledger row.
///
/// # Errors
/// The reason, as the text of a finding.
pub(super) fn row(document: &Document) -> Result<Row, Violation> {
    let player_id = document.get_str("player_id").map_err(|_| Violation::from("the row names no player"))?;
    let entry: Entry = decode(document)?;
    Ok(Row { id: id_of(document), player_id: player_id.to_owned(), entry })
}
