//! Reading of all matching documents in batches through one cursor, with the memory of one batch.

use std::fmt;

use bson::Document;
use serde::de::DeserializeOwned;

use super::Collection;
use super::raw::Found;
use crate::StoreError;

/// Documents that match a filter, in batches. A document that exists during the whole read is returned exactly once.
pub struct Batches<T: Send + Sync> {
    found: Found,
    collection: Collection<T>,
    size: usize,
    is_exhausted: bool,
}

impl<T: Send + Sync> fmt::Debug for Batches<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batches").field("collection", &self.collection.name()).finish_non_exhaustive()
    }
}

impl<T: DeserializeOwned + Send + Sync> Collection<T> {
    /// Starts to read all documents that match, in any order, at most `size` at a time. For programs that read a whole collection.
    /// It has no index to rely on, so no request of a player may wait for it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn batches(&self, filter: Document, size: u32) -> Result<Batches<T>, StoreError> {
        let size = size.max(1);
        let found = self.raw.find_all(filter, size).await?;
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        Ok(Batches { found, collection: self.clone(), size, is_exhausted: false })
    }
}

impl<T: DeserializeOwned + Send + Sync> Batches<T> {
    /// Returns the next batch, or `None` after the last document.
    ///
    /// # Errors
    /// `Unreadable` when a document does not decode. See [`StoreError`].
    pub async fn next(&mut self) -> Result<Option<Vec<T>>, StoreError> {
        if self.is_exhausted {
            return Ok(None);
        }
        let documents = self.collection.raw.next_of(&mut self.found, self.size).await?;
        self.is_exhausted = documents.len() < self.size;
        if documents.is_empty() {
            return Ok(None);
        }
        documents
            .iter()
            .map(|document| self.collection.decode(document))
            .collect::<Result<Vec<T>, _>>()
            .map(Some)
    }
}
