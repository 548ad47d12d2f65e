//! Collection `notification.contacts`: each player's address and e-mail preference, folded from `players.events`.

use serde::{Deserialize, Serialize};
use store::StoreError;
use store::bson::{DateTime, Document, doc};
use store::mongo::{Collection, Mongo};

/// Contact of one player. The e-mail address is personal data, so it is never logged.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Contact {
    #[serde(rename = "_id")]
    pub(crate) player_id: String,
    /// Absent while only preferences are known.
    #[serde(default)]
    pub(crate) email: Option<String>,
    #[serde(default)]
    pub(crate) display_name: Option<String>,
    /// Absent means enabled.
    #[serde(default)]
    pub(crate) email_enabled: Option<bool>,
    /// Time of the preferences, so that a redelivered older change does not replace a newer one.
    #[serde(default)]
    pub(crate) preferences_at: Option<DateTime>,
}

/// Access to the collection.
#[derive(Clone)]
pub(crate) struct Contacts {
    collection: Collection<Contact>,
}

impl Contacts {
    pub(crate) fn new(mongo: &Mongo) -> Self {
        Self { collection: mongo.collection("contacts") }
    }

    /// Stores a registration. Preferences that were stored earlier are kept.
    pub(crate) async fn register(
        &self,
        player_id: &str,
        email: &str,
        display_name: &str,
    ) -> Result<(), StoreError> {
        let change = doc! { "$set": { "email": email, "display_name": display_name } };
        self.upsert(doc! { "_id": player_id }, change).await
    }

    /// Stores preferences. Only the newest change counts: two changes of one player never have the same time.
    pub(crate) async fn prefer(
        &self,
        player_id: &str,
        email_enabled: bool,
        at: DateTime,
    ) -> Result<(), StoreError> {
        self.upsert(doc! { "_id": player_id }, doc! { "$setOnInsert": { "email_enabled": true } }).await?;
        let older = doc! { "_id": player_id, "$or": [
            { "preferences_at": { "$exists": false } }, { "preferences_at": { "$lt": at } },
        ] };
        let change = doc! { "$set": { "email_enabled": email_enabled, "preferences_at": at } };
        self.collection.update_one(older, change).await.map(drop)
    }

    /// Returns the contact of a player who has registered.
    pub(crate) async fn find(&self, player_id: &str) -> Result<Option<Contact>, StoreError> {
        let contact = self.collection.find_one(doc! { "_id": player_id }).await?;
        Ok(contact.filter(|contact| contact.email.is_some()))
    }

    /// Upserts and retries once. Of two upserts of one new key at the same time, one fails and finds the document on the retry.
    async fn upsert(&self, filter: Document, change: Document) -> Result<(), StoreError> {
        match self.collection.upsert_one(filter.clone(), change.clone()).await {
            Err(error) if error.is_duplicate_key() => {
                self.collection.upsert_one(filter, change).await.map(drop)
            }
            other => other.map(drop),
        }
    }
}
