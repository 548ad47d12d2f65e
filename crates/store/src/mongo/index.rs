//! Index declarations, which a service makes at start.

use std::time::Duration;

use bson::Document;
use mongodb::IndexModel;
use mongodb::options::IndexOptions;

/// One index of a collection. Creating it again has no effect.
#[derive(Debug, Clone)]
pub struct Index {
    keys: Document,
    unique: bool,
    partial: Option<Document>,
    ttl_s: Option<u64>,
}

impl Index {
    /// Creates an index over `keys`, in this order: `Index::on(doc! { "player_id": 1, "at": -1 })`.
    #[must_use]
    pub fn on(keys: Document) -> Self {
        Self { keys, unique: false, partial: None, ttl_s: None }
    }

    /// Allows no two documents with the same keys.
    #[must_use]
    pub fn unique(mut self) -> Self {
        self.unique = true;
        self
    }

    /// Restricts the index to documents that match `filter`.
    #[must_use]
    pub fn partial(mut self, filter: Document) -> Self {
        self.partial = Some(filter);
        self
    }

    /// Deletes documents this long after the date in the (single) key field.
    #[must_use]
    pub fn ttl_s(mut self, seconds: u64) -> Self {
        self.ttl_s = Some(seconds);
        self
    }

    pub(crate) fn into_model(self) -> IndexModel {
        let mut options = IndexOptions::default();
        options.unique = self.unique.then_some(true);
        options.partial_filter_expression = self.partial;
        options.expire_after = self.ttl_s.map(Duration::from_secs);
        IndexModel::builder().keys(self.keys).options(options).build()
    }
}
