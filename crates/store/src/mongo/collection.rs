//! Operations of one collection. Each has one span, one time-out and one classified error.

mod batches;
mod grouped;

use std::marker::PhantomData;
use std::sync::Arc;

use bson::{Bson, Document, RawDocumentBuf, doc};
use contracts::class::Classify as _;
use futures::TryStreamExt as _;
use mongodb::action::Action as _;
use mongodb::options::ReturnDocument;
use serde::Serialize;
use serde::de::DeserializeOwned;

use telemetry::metric::{self, Metric};
use telemetry::{attributes, spans};

use super::describe::{self, Change};
use super::{Index, Mongo, Session, run};
use crate::StoreError;
use grouped::{Group, Inserts};

pub use batches::Batches;

/// Maximum number of unreadable documents that one read skips. It bounds the read, not the number of such documents.
const UNREADABLE_SKIPPED_MAX: usize = 10_000;

/// A collection with documents of type `T`. Cheap to clone.
#[derive(Debug)]
pub struct Collection<T: Send + Sync> {
    inner: mongodb::Collection<T>,
    /// The same collection, read without decoding, so that an undecodable document does not hide the others.
    raw: mongodb::Collection<RawDocumentBuf>,
    name: &'static str,
    secret_ids: bool,
    /// The inserts that share commands. All clones have the same group.
    group: Arc<Group<Inserts>>,
    mongo: Mongo,
    _documents: PhantomData<fn() -> T>,
}

impl<T: Send + Sync> Clone for Collection<T> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            raw: self.raw.clone(),
            name: self.name,
            secret_ids: self.secret_ids,
            group: Arc::clone(&self.group),
            mongo: self.mongo.clone(),
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
        let raw: mongodb::Collection<RawDocumentBuf> = inner.clone_with_type();
        let group = Arc::new(Group::new(name, Inserts::new(raw.clone(), name, mongo.clone())));
        Self { inner, raw, name, secret_ids: false, group, mongo, _documents: PhantomData }
    }

    /// Marks the `_id`s of this collection as secrets, which appear in no error and no report.
    #[must_use]
    pub fn with_secret_ids(self) -> Self {
        Self { secret_ids: true, ..self }
    }

    /// Returns the collection's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Creates an index unless it exists. It has no span, because it runs at start.
    ///
    /// # Errors
    /// `Fatal` when an index with these keys but other options exists.
    pub async fn ensure_index(&self, index: Index) -> Result<(), StoreError> {
        let create = async { self.inner.create_index(index.into_model()).await };
        self.mongo.context().bounded(self.name, create).await.map(drop)
    }

    /// Returns the keys of every index, also those of the index of ids. It has no span, because no request needs it.
    pub async fn index_keys(&self) -> Result<Vec<Document>, StoreError> {
        let list = async { self.inner.list_indexes().await?.map_ok(|index| index.keys).try_collect().await };
        self.mongo.context().bounded(self.name, list).await
    }

    /// Updates at most one document. Returns the number that matched (0: the compare-and-set lost).
    ///
    /// # Errors
    /// See [`StoreError`]. After `Transient` the outcome is unknown.
    pub async fn update_one(&self, filter: Document, change: impl Into<Change>) -> Result<u64, StoreError> {
        let change = change.into();
        let text = describe::update("update", self.name, &filter, &change);
        let call = async { self.inner.update_one(filter, change).await };
        Ok(self.run("update", &text, call).await?.matched_count)
    }

    /// Updates every document that matches. Returns their number.
    pub async fn update_many(&self, filter: Document, change: impl Into<Change>) -> Result<u64, StoreError> {
        let change = change.into();
        let text = describe::update("update", self.name, &filter, &change);
        let call = async { self.inner.update_many(filter, change).await };
        Ok(self.run("update", &text, call).await?.matched_count)
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
        let change = change.into();
        let text = describe::update("update", self.name, &filter, &change);
        let call = async { self.inner.update_one(filter, change).upsert(true).await };
        let answer = self.run("update", &text, call).await?;
        Ok(Upserted { matched: answer.matched_count, inserted: answer.upserted_id.is_some() })
    }

    /// Sends many single updates in ONE unordered command: one journal sync instead of many. Returns the number that matched.
    ///
    /// # Errors
    /// See [`StoreError`]. Some of the updates may have been applied.
    pub async fn update_bulk(&self, updates: Vec<(Document, Change)>) -> Result<u64, StoreError> {
        let updates: Vec<Bson> =
            updates.into_iter().map(|(filter, change)| bulk_entry(filter, change)).collect();
        let command = doc! {
            "update": self.name, "updates": updates, "ordered": false,
            "writeConcern": { "w": "majority", "j": true },
        };
        let call = async { self.mongo.database().run_command(command).await };
        let answer = self.run("update", &describe::update_bulk(self.name), call).await?;
        bulk_matched(self.name, &answer)
    }

    /// Deletes at most one document. Returns the number deleted.
    pub async fn delete_one(&self, filter: Document) -> Result<u64, StoreError> {
        let text = describe::filtered("delete", self.name, &filter);
        let call = async { self.inner.delete_one(filter).await };
        Ok(self.run("delete", &text, call).await?.deleted_count)
    }

    /// Deletes every document that matches. Returns the number deleted.
    pub async fn delete_many(&self, filter: Document) -> Result<u64, StoreError> {
        let text = describe::filtered("delete", self.name, &filter);
        let call = async { self.inner.delete_many(filter).await };
        Ok(self.run("delete", &text, call).await?.deleted_count)
    }

    /// Returns the number of documents that match.
    pub async fn count(&self, filter: Document) -> Result<u64, StoreError> {
        let text = describe::filtered("count", self.name, &filter);
        let call = async { self.inner.count_documents(filter).await };
        self.run("count", &text, call).await
    }

    /// Returns the results of a pipeline, at most `limit` of them.
    pub async fn aggregate(
        &self,
        mut pipeline: Vec<Document>,
        limit: u32,
    ) -> Result<Vec<Document>, StoreError> {
        let text = describe::aggregate(self.name, &pipeline);
        pipeline.push(doc! { "$limit": i64::from(limit) });
        let call = async { self.inner.aggregate(pipeline).await?.try_collect().await };
        self.read("aggregate", &text, call, Vec::len).await
    }

    /// Runs a read, and shows on its span how many documents it returned.
    async fn read<R>(
        &self,
        operation: &'static str,
        description: &str,
        call: impl Future<Output = Result<R, mongodb::error::Error>>,
        count: fn(&R) -> usize,
    ) -> Result<R, StoreError> {
        let context = self.mongo.context();
        let span = context.span(self.name, operation, description);
        let read = async {
            let found = context.bounded(self.name, call).await?;
            let rows = i64::try_from(count(&found)).unwrap_or(i64::MAX);
            spans::set_attr(&span, attributes::DB_RESPONSE_RETURNED_ROWS, rows);
            Ok(found)
        };
        run::in_span(&span, read).await
    }

    async fn run<R>(
        &self,
        operation: &'static str,
        description: &str,
        call: impl Future<Output = Result<R, mongodb::error::Error>>,
    ) -> Result<R, StoreError> {
        self.mongo.context().traced(self.name, operation, description, call).await
    }
}

impl<T: Serialize + Send + Sync> Collection<T> {
    /// Inserts one document.
    ///
    /// # Errors
    /// `DuplicateKey` when a unique key already exists. See [`StoreError`].
    pub async fn insert_one(&self, document: &T) -> Result<(), StoreError> {
        let call = async { self.inner.insert_one(document).await };
        self.run("insert", &describe::insert(self.name), call).await.map(drop)
    }

    /// Inserts many documents in one command. Those whose unique key already exists are skipped and counted.
    ///
    /// # Errors
    /// See [`StoreError`]. Some of the documents may have been inserted.
    pub async fn insert_many_unordered(&self, documents: &[T]) -> Result<Inserted, StoreError> {
        if documents.is_empty() {
            return Ok(Inserted { inserted: 0, duplicates: 0 });
        }
        let call = async {
            match self.inner.insert_many(documents).ordered(false).await {
                Ok(_) => Ok(0),
                Err(error) => duplicates_only(&error).ok_or(error),
            }
        };
        let duplicates = self.run("insert", &describe::insert(self.name), call).await?;
        Ok(Inserted { inserted: documents.len().saturating_sub(duplicates), duplicates })
    }

    /// Replaces at most one document (or inserts it, with `upsert`). Returns the number that matched.
    pub async fn replace_one(&self, filter: Document, document: &T, upsert: bool) -> Result<u64, StoreError> {
        let text = describe::filtered("replace", self.name, &filter);
        let call = async { self.inner.replace_one(filter, document).upsert(upsert).await };
        Ok(self.run("update", &text, call).await?.matched_count)
    }
}

impl<T: DeserializeOwned + Send + Sync> Collection<T> {
    /// Returns the document that matches.
    ///
    /// # Errors
    /// `Unreadable` when it does not decode. See [`StoreError`].
    pub async fn find_one(&self, filter: Document) -> Result<Option<T>, StoreError> {
        let text = describe::find(self.name, &filter, None, false);
        let call = async { self.raw.find_one(filter).await };
        self.run("find", &text, call).await?.map(|found| self.decode(&found)).transpose()
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
        let text = describe::find(self.name, &filter, None, false);
        let call = async { self.raw.find_one(filter).session(&mut session.inner).await };
        self.run("find", &text, call).await?.map(|found| self.decode(&found)).transpose()
    }

    /// Returns at most `limit` documents that match, in the order of `sort` (empty: any order). For a decision that needs all of
    /// them, so one that does not decode fails the read. Sweepers and lists use [`Collection::find_readable`].
    ///
    /// # Errors
    /// `Unreadable` when one does not decode. See [`StoreError`].
    pub async fn find(&self, filter: Document, sort: Document, limit: u32) -> Result<Vec<T>, StoreError> {
        let sort = (!sort.is_empty()).then_some(sort);
        let text = describe::find(self.name, &filter, sort.as_ref(), true);
        let call = async {
            self.raw
                .find(filter)
                .optional(sort, |find, sort| find.sort(sort))
                .limit(i64::from(limit))
                .await?
                .try_collect::<Vec<_>>()
                .await
        };
        self.read("find", &text, call, Vec::len).await?.iter().map(|found| self.decode(found)).collect()
    }

    /// [`Collection::find`] in a causally consistent session.
    ///
    /// # Errors
    /// `Unreadable` when one does not decode. See [`StoreError`].
    pub async fn find_in(
        &self,
        session: &mut Session,
        filter: Document,
        sort: Document,
        limit: u32,
    ) -> Result<Vec<T>, StoreError> {
        let sort = (!sort.is_empty()).then_some(sort);
        let text = describe::find(self.name, &filter, sort.as_ref(), true);
        let call = async {
            let find =
                self.raw.find(filter).optional(sort, |find, sort| find.sort(sort)).limit(i64::from(limit));
            let mut cursor = find.session(&mut session.inner).await?;
            cursor.stream(&mut session.inner).try_collect::<Vec<_>>().await
        };
        self.read("find", &text, call, Vec::len).await?.iter().map(|found| self.decode(found)).collect()
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
        let sort = (!sort.is_empty()).then_some(sort);
        let text = describe::find(self.name, &filter, sort.as_ref(), true);
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
        let call = async {
            let find = self.raw.find(filter).optional(sort, |find, sort| find.sort(sort));
            let mut cursor = find.batch_size(limit.max(1)).await?;
            let (mut readable, mut unreadable) = (Vec::new(), Vec::new());
            while readable.len() < wanted && unreadable.len() < UNREADABLE_SKIPPED_MAX {
                let Some(found) = cursor.try_next().await? else { break };
                match self.decode(&found) {
                    Ok(document) => readable.push(document),
                    Err(error) => unreadable.push(error),
                }
            }
            Ok((readable, unreadable))
        };
        let count = |(readable, unreadable): &(Vec<T>, Vec<StoreError>)| {
            readable.len().saturating_add(unreadable.len())
        };
        let (readable, unreadable) = self.read("find", &text, call, count).await?;
        for error in &unreadable {
            self.mongo.context().report_once(error);
        }
        Ok(readable)
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
        let change = change.into();
        let text = describe::update("findAndModify", self.name, &filter, &change);
        let call = async {
            self.raw.find_one_and_update(filter, change).return_document(ReturnDocument::After).await
        };
        self.run("findAndModify", &text, call).await?.map(|found| self.decode(&found)).transpose()
    }

    fn decode(&self, found: &RawDocumentBuf) -> Result<T, StoreError> {
        bson::deserialize_from_slice(found.as_bytes()).map_err(|cause| {
            let id = if self.secret_ids { "?".to_owned() } else { id_of(found) };
            let error = StoreError::unreadable(self.name, id, &cause);
            metric::count(Metric::StoreErrors, 1, &[("class", error.class().as_str())]);
            error
        })
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

/// Evaluates the answer to a bulk command. The driver does not read it, so a failed write and a write without a majority must
/// become errors here.
fn bulk_matched(name: &'static str, answer: &Document) -> Result<u64, StoreError> {
    let code = |failure: &Document| failure.get_i32("code").unwrap_or_default();
    if let Ok(errors) = answer.get_array("writeErrors") {
        let first = errors.first().and_then(Bson::as_document);
        let message = first.and_then(|e| e.get_str("errmsg").ok()).unwrap_or_default();
        return Err(StoreError::from_code(name, first.map(code).unwrap_or_default(), message));
    }
    if let Ok(failure) = answer.get_document("writeConcernError") {
        let reason = format!("write concern not satisfied (code {})", code(failure));
        return Err(StoreError::Transient { collection: name, reason });
    }
    let matched = answer.get("n").and_then(|n| n.as_i64().or_else(|| n.as_i32().map(i64::from)));
    Ok(matched.and_then(|n| u64::try_from(n).ok()).unwrap_or_default())
}

fn bulk_entry(filter: Document, change: Change) -> Bson {
    let change: Bson = match change {
        Change::Operators(document) => document.into(),
        Change::Pipeline(stages) => Bson::Array(stages.into_iter().map(Bson::from).collect()),
    };
    Bson::Document(doc! { "q": filter, "u": change, "multi": false })
}

/// Returns the number of duplicates, if only duplicates failed.
fn duplicates_only(error: &mongodb::error::Error) -> Option<usize> {
    let mongodb::error::ErrorKind::InsertMany(failure) = error.kind.as_ref() else { return None };
    let errors = failure.write_errors.as_ref()?;
    let all = failure.write_concern_error.is_none()
        && errors.iter().all(|e| StoreError::from_code("-", e.code, "").is_duplicate_key());
    all.then_some(errors.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsatisfied_bulk_write_is_transient() {
        let answer = doc! { "ok": 1.0, "n": 2_i32, "nModified": 2_i32 };
        assert_eq!(bulk_matched("c", &answer).ok(), Some(2));
        let answer =
            doc! { "ok": 1.0, "n": 2_i32, "writeConcernError": { "code": 64_i32, "errmsg": "waiting" } };
        let error = bulk_matched("c", &answer).unwrap_err();
        assert!(matches!(error, StoreError::Transient { .. }), "{error}");
        let answer = doc! { "ok": 1.0, "n": 1_i32, "writeErrors": [{ "index": 0, "code": 11000_i32, "errmsg": "dup" }] };
        assert!(bulk_matched("c", &answer).unwrap_err().is_duplicate_key());
    }
}
