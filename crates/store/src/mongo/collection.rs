//! Operations of one collection. Each has one span, one time-out and one classified error.

mod batches;
mod grouped;
mod raw;

use std::marker::PhantomData;

use bson::{Document, RawDocumentBuf};
use contracts::class::Classify as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

use telemetry::metric::{self, Metric};

use super::describe::{self, Change};
use super::{CausalTime, Index, Mongo, Session};
use crate::StoreError;
use raw::{Raw, Take};

pub use batches::Batches;

/// Maximum number of unreadable documents that one read skips. It bounds the read, not the number of such documents.
const UNREADABLE_SKIPPED_MAX: usize = 10_000;

/// A collection with documents of type `T`. Cheap to clone.
#[derive(Debug)]
pub struct Collection<T: Send + Sync> {
    /// Encodes documents.
    inner: mongodb::Collection<T>,
    /// The same collection, read without decoding, so that an undecodable document does not hide the others.
    raw: Raw,
    secret_ids: bool,
    _documents: PhantomData<fn() -> T>,
}

impl<T: Send + Sync> Clone for Collection<T> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            raw: self.raw.clone(),
            secret_ids: self.secret_ids,
            _documents: PhantomData,
        }
    }
}

/// Result of an upsert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upserted {
    /// Number of documents that matched.
    pub matched: u64,
    /// True when none matched and one was inserted.
    pub inserted: bool,
}

/// Documents, and the point in the store's history at which they were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadAt<T> {
    /// The documents, in any order.
    pub documents: Vec<T>,
    /// When they were read. Another read after it sees at least the same.
    pub time: CausalTime,
}

/// Result of an unordered insert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inserted {
    /// Number of new documents.
    pub inserted: usize,
    /// Number of documents whose key already existed.
    pub duplicates: usize,
}

impl<T: Send + Sync> Collection<T> {
    pub(super) fn new(inner: mongodb::Collection<T>, name: &'static str, mongo: Mongo) -> Self {
        let raw = Raw::new(inner.clone_with_type(), name, mongo);
        Self { inner, raw, secret_ids: false, _documents: PhantomData }
    }

    /// Marks the `_id`s of this collection as secrets, which appear in no error and no report.
    #[must_use]
    pub fn with_secret_ids(self) -> Self {
        Self { secret_ids: true, ..self }
    }

    /// Makes [`Collection::find_grouped`] find by this field instead of `_id`. It holds a text or a list of texts, and has a unique
    /// index.
    #[must_use]
    pub fn grouped_by(self, field: &'static str) -> Self {
        Self { raw: self.raw.grouped_by(field), ..self }
    }

    /// Returns the collection's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.raw.name
    }

    /// Creates an index unless it exists. It has no span, because it runs at start.
    ///
    /// # Errors
    /// `Fatal` when an index with these keys but other options exists.
    pub async fn ensure_index(&self, index: Index) -> Result<(), StoreError> {
        self.raw.ensure_index(index).await
    }

    /// Returns the keys of every index, also those of the index of ids. It has no span, because no request needs it.
    pub async fn index_keys(&self) -> Result<Vec<Document>, StoreError> {
        self.raw.index_keys().await
    }

    /// Updates at most one document. Returns the number that matched (0: the compare-and-set lost).
    ///
    /// # Errors
    /// See [`StoreError`]. After `Transient` the outcome is unknown.
    pub async fn update_one(&self, filter: Document, change: impl Into<Change>) -> Result<u64, StoreError> {
        self.raw.update_one(filter, change.into()).await
    }

    /// [`Collection::update_one`] in a session, whose [`Session::time`] is then at or after the update.
    ///
    /// # Errors
    /// See [`StoreError`]. After `Transient` the outcome is unknown.
    pub async fn update_one_in(
        &self,
        session: &mut Session,
        filter: Document,
        change: impl Into<Change>,
    ) -> Result<u64, StoreError> {
        self.raw.update_one_in(&mut session.inner, filter, change.into()).await
    }

    /// Updates every document that matches. Returns their number.
    pub async fn update_many(&self, filter: Document, change: impl Into<Change>) -> Result<u64, StoreError> {
        self.raw.update_many(filter, change.into()).await
    }

    /// Updates the document that matches, or inserts it from the filter's equalities and `$setOnInsert`.
    ///
    /// # Errors
    /// `DuplicateKey` when another process inserted it at the same moment. See [`StoreError`].
    pub async fn upsert_one(
        &self,
        filter: Document,
        change: impl Into<Change>,
    ) -> Result<Upserted, StoreError> {
        self.raw.upsert_one(filter, change.into()).await
    }

    /// Sends many single updates in ONE unordered command: one journal sync instead of many. Returns the number that matched.
    ///
    /// # Errors
    /// See [`StoreError`]. Some of the updates may have been applied.
    pub async fn update_bulk(&self, updates: Vec<(Document, Change)>) -> Result<u64, StoreError> {
        self.raw.update_bulk(updates).await
    }

    /// Deletes at most one document. Returns the number deleted.
    pub async fn delete_one(&self, filter: Document) -> Result<u64, StoreError> {
        self.raw.delete_one(filter).await
    }

    /// Deletes every document that matches. Returns the number deleted.
    pub async fn delete_many(&self, filter: Document) -> Result<u64, StoreError> {
        self.raw.delete_many(filter).await
    }

    /// Returns the number of documents that match.
    pub async fn count(&self, filter: Document) -> Result<u64, StoreError> {
        self.raw.count(filter).await
    }

    /// Returns the results of a pipeline, at most `limit` of them.
    pub async fn aggregate(&self, pipeline: Vec<Document>, limit: u32) -> Result<Vec<Document>, StoreError> {
        self.raw.aggregate(pipeline, limit).await
    }
}

impl<T: Serialize + Send + Sync> Collection<T> {
    /// Inserts one document.
    ///
    /// # Errors
    /// `DuplicateKey` when a unique key already exists. See [`StoreError`].
    pub async fn insert_one(&self, document: &T) -> Result<(), StoreError> {
        self.raw.insert_one(self.inner.insert_one(document)).await
    }

    /// Inserts one document like [`Collection::insert_one`], in one command with the documents that others insert at the same
    /// moment through this collection or its clones. For collections that many tasks write to.
    ///
    /// `Ok` means that this document is durable. If the future is dropped, the document may be inserted nevertheless.
    ///
    /// # Errors
    /// `DuplicateKey` when a unique key of this document already exists, `Transient` also when too many documents wait. See
    /// [`StoreError`].
    pub async fn insert_grouped(&self, document: &T) -> Result<(), StoreError> {
        self.raw.insert_grouped(bson::serialize_to_raw_document_buf(document)).await
    }

    /// Inserts many documents in one command. Those whose unique key already exists are skipped and counted.
    ///
    /// # Errors
    /// See [`StoreError`]. Some of the documents may have been inserted.
    pub async fn insert_many_unordered(&self, documents: &[T]) -> Result<Inserted, StoreError> {
        if documents.is_empty() {
            return Ok(Inserted { inserted: 0, duplicates: 0 });
        }
        self.raw.insert_many_unordered(self.inner.insert_many(documents), documents.len()).await
    }

    /// Replaces at most one document (or inserts it, with `upsert`). Returns the number that matched.
    pub async fn replace_one(&self, filter: Document, document: &T, upsert: bool) -> Result<u64, StoreError> {
        let text = describe::filtered("replace", self.raw.name, &filter);
        self.raw.replace_one(text, self.inner.replace_one(filter, document), upsert).await
    }
}

impl<T: DeserializeOwned + Send + Sync> Collection<T> {
    /// Returns the document that matches.
    ///
    /// # Errors
    /// `Unreadable` when it does not decode. See [`StoreError`].
    pub async fn find_one(&self, filter: Document) -> Result<Option<T>, StoreError> {
        self.raw.find_one(filter).await?.map(|found| self.decode(&found)).transpose()
    }

    /// [`Collection::find_one`] in a causally consistent session, for a read that a decision depends on.
    ///
    /// # Errors
    /// `Unreadable` when it does not decode. See [`StoreError`].
    pub async fn find_one_in(
        &self,
        session: &mut Session,
        filter: Document,
    ) -> Result<Option<T>, StoreError> {
        let found = self.raw.find_one_in(&mut session.inner, filter).await?;
        found.map(|found| self.decode(&found)).transpose()
    }

    /// Returns the documents whose `_id`, or the field of [`Collection::grouped_by`], is or contains one of these texts. It makes one
    /// command with the reads that others make at the same moment through this collection or its clones. For reads that many tasks
    /// make.
    ///
    /// It is a majority read, as all reads are, and sees at least what was there at `after`: with the time of an earlier read or
    /// write, both are causally consistent as in one [`Session`].
    ///
    /// # Errors
    /// `Unreadable` when one of these documents does not decode, `Transient` also when too many reads wait. See [`StoreError`].
    pub async fn find_grouped(
        &self,
        values: Vec<String>,
        after: CausalTime,
    ) -> Result<ReadAt<T>, StoreError> {
        let ReadAt { documents, time } = self.raw.find_grouped(values, after).await?;
        let documents = documents.iter().map(|found| self.decode(found)).collect::<Result<_, _>>()?;
        Ok(ReadAt { documents, time })
    }

    /// Returns at most `limit` documents that match, in the order of `sort` (empty: any order). For a decision that needs all of
    /// them, so one that does not decode fails the read. Sweepers and lists use [`Collection::find_readable`].
    ///
    /// # Errors
    /// `Unreadable` when one does not decode. See [`StoreError`].
    pub async fn find(&self, filter: Document, sort: Document, limit: u32) -> Result<Vec<T>, StoreError> {
        self.raw.find(filter, sort, limit).await?.iter().map(|found| self.decode(found)).collect()
    }

    /// Returns at most `limit` documents that match and decode, in the order of `sort`. Unreadable ones do not count towards
    /// `limit` and are reported once per process. For sweepers and lists, where one player's document must not stop the others.
    ///
    /// # Errors
    /// See [`StoreError`]. Never `Unreadable`.
    pub async fn find_readable(
        &self,
        filter: Document,
        sort: Document,
        limit: u32,
    ) -> Result<Vec<T>, StoreError> {
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut found = Readable { collection: self, wanted, readable: Vec::new(), unreadable: Vec::new() };
        self.raw.find_until_taken(filter, sort, limit, &mut found).await?;
        for error in &found.unreadable {
            self.raw.mongo.context().report_once(error);
        }
        Ok(found.readable)
    }

    /// Updates at most one document and returns its new state.
    ///
    /// # Errors
    /// `Unreadable` when it does not decode, although it WAS updated. See [`StoreError`].
    pub async fn find_one_and_update(
        &self,
        filter: Document,
        change: impl Into<Change>,
    ) -> Result<Option<T>, StoreError> {
        let found = self.raw.find_one_and_update(filter, change.into()).await?;
        found.map(|found| self.decode(&found)).transpose()
    }

    fn decode(&self, found: &RawDocumentBuf) -> Result<T, StoreError> {
        bson::deserialize_from_slice(found.as_bytes()).map_err(|cause| {
            let id = if self.secret_ids { "?".to_owned() } else { id_of(found) };
            let error = StoreError::unreadable(self.raw.name, id, &cause);
            metric::count(Metric::StoreErrors, 1, &[("class", error.class().as_str())]);
            error
        })
    }
}

/// Documents that a read decodes as they arrive.
struct Readable<'a, T: Send + Sync> {
    collection: &'a Collection<T>,
    /// Maximum number of readable documents.
    wanted: usize,
    readable: Vec<T>,
    unreadable: Vec<StoreError>,
}

impl<T: DeserializeOwned + Send + Sync> Take for Readable<'_, T> {
    fn wants_more(&self) -> bool {
        self.readable.len() < self.wanted && self.unreadable.len() < UNREADABLE_SKIPPED_MAX
    }

    fn take(&mut self, document: &RawDocumentBuf) {
        match self.collection.decode(document) {
            Ok(document) => self.readable.push(document),
            Err(error) => self.unreadable.push(error),
        }
    }
}

/// Returns the `_id`, so that an operator can find the document.
fn id_of(found: &RawDocumentBuf) -> String {
    match found.get("_id") {
        Ok(Some(id)) => match id.as_str() {
            Some(text) => text.chars().take(200).collect(),
            None => format!("{id:?}").chars().take(200).collect(),
        },
        Ok(None) | Err(_) => "?".to_owned(),
    }
}
