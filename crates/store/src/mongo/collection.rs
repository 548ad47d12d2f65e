//! The operations of one collection. Each is one span, one time limit, one class of error.

use std::marker::PhantomData;

use bson::{Bson, Document, RawDocumentBuf, doc};
use contracts::class::Classify as _;
use futures::TryStreamExt as _;
use mongodb::action::Action as _;
use mongodb::options::ReturnDocument;
use serde::Serialize;
use serde::de::DeserializeOwned;

use telemetry::metric::{self, Metric};

use super::describe::{self, Change};
use super::{Index, Mongo, Session};
use crate::StoreError;

/// So many unreadable documents are passed over in one list at most: a bound for one read, not for what there may be.
const PASSED_OVER_MAX: usize = 10_000;

/// A collection with documents of type `T`; cheap to clone.
#[derive(Debug)]
pub struct Collection<T: Send + Sync> {
    inner: mongodb::Collection<T>,
    /// The same, read undecoded: a document that does not decode must not hide those beside it.
    raw: mongodb::Collection<RawDocumentBuf>,
    name: &'static str,
    secret_ids: bool,
    mongo: Mongo,
    _documents: PhantomData<fn() -> T>,
}

impl<T: Send + Sync> Clone for Collection<T> {
    fn clone(&self) -> Self {
        let cloned = Self::new(self.inner.clone(), self.name, self.mongo.clone());
        Self { secret_ids: self.secret_ids, ..cloned }
    }
}

/// How an upsert ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upserted {
    /// Documents that matched.
    pub matched: u64,
    /// True when none did, and one was made.
    pub inserted: bool,
}

/// How an unordered insert ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inserted {
    /// Documents that are new.
    pub inserted: usize,
    /// Documents whose key existed already.
    pub duplicates: usize,
}

impl<T: Send + Sync> Collection<T> {
    pub(super) fn new(inner: mongodb::Collection<T>, name: &'static str, mongo: Mongo) -> Self {
        let raw = inner.clone_with_type();
        Self { inner, raw, name, secret_ids: false, mongo, _documents: PhantomData }
    }

    /// The `_id`s of this collection are secrets: they stand in no error and no report.
    #[must_use]
    pub fn with_secret_ids(self) -> Self {
        Self { secret_ids: true, ..self }
    }

    /// The collection's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Makes sure that an index exists. Not a span: it is done at start.
    ///
    /// # Errors
    /// `Fatal` when another index with these keys but other options exists.
    pub async fn ensure_index(&self, index: Index) -> Result<(), StoreError> {
        let create = async { self.inner.create_index(index.into_model()).await };
        self.mongo.context().bounded(self.name, create).await.map(drop)
    }

    /// Updates at most one document; the number that matched (0: the compare-and-set lost).
    ///
    /// # Errors
    /// See [`StoreError`]; after `Transient` the outcome is unknown.
    pub async fn update_one(&self, filter: Document, change: impl Into<Change>) -> Result<u64, StoreError> {
        let change = change.into();
        let text = describe::update("update", self.name, &filter, &change);
        let call = async { self.inner.update_one(filter, change).await };
        Ok(self.run("update", &text, call).await?.matched_count)
    }

    /// Updates every document that matches; the number that did.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn update_many(&self, filter: Document, change: impl Into<Change>) -> Result<u64, StoreError> {
        let change = change.into();
        let text = describe::update("update", self.name, &filter, &change);
        let call = async { self.inner.update_many(filter, change).await };
        Ok(self.run("update", &text, call).await?.matched_count)
    }

    /// Updates the document that matches, or makes it from the filter's equalities and `$setOnInsert`.
    ///
    /// # Errors
    /// `DuplicateKey` when somebody else made it at the same moment; see [`StoreError`].
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

    /// Many single updates in ONE command, in no order: one journal sync instead of many. The number that matched.
    ///
    /// # Errors
    /// See [`StoreError`]; some of them may have happened.
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

    /// Deletes at most one document; the number deleted.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn delete_one(&self, filter: Document) -> Result<u64, StoreError> {
        let text = describe::filtered("delete", self.name, &filter);
        let call = async { self.inner.delete_one(filter).await };
        Ok(self.run("delete", &text, call).await?.deleted_count)
    }

    /// Deletes every document that matches; the number deleted.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn delete_many(&self, filter: Document) -> Result<u64, StoreError> {
        let text = describe::filtered("delete", self.name, &filter);
        let call = async { self.inner.delete_many(filter).await };
        Ok(self.run("delete", &text, call).await?.deleted_count)
    }

    /// How many documents match.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn count(&self, filter: Document) -> Result<u64, StoreError> {
        let text = describe::filtered("count", self.name, &filter);
        let call = async { self.inner.count_documents(filter).await };
        self.run("count", &text, call).await
    }

    /// The results of a pipeline, at most `limit` of them.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn aggregate(
        &self,
        mut pipeline: Vec<Document>,
        limit: u32,
    ) -> Result<Vec<Document>, StoreError> {
        let text = describe::aggregate(self.name, &pipeline);
        pipeline.push(doc! { "$limit": i64::from(limit) });
        let call = async { self.inner.aggregate(pipeline).await?.try_collect().await };
        self.run("aggregate", &text, call).await
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
    /// `DuplicateKey` when a unique key exists already; see [`StoreError`].
    pub async fn insert_one(&self, document: &T) -> Result<(), StoreError> {
        let call = async { self.inner.insert_one(document).await };
        self.run("insert", &describe::insert(self.name), call).await.map(drop)
    }

    /// Inserts many documents in one command; those whose unique key exists already are left as they are and counted.
    ///
    /// # Errors
    /// See [`StoreError`]; some documents may be in.
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

    /// Replaces at most one document (or, with `upsert`, makes it); the number that matched.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn replace_one(&self, filter: Document, document: &T, upsert: bool) -> Result<u64, StoreError> {
        let text = describe::filtered("replace", self.name, &filter);
        let call = async { self.inner.replace_one(filter, document).upsert(upsert).await };
        Ok(self.run("update", &text, call).await?.matched_count)
    }
}

impl<T: DeserializeOwned + Send + Sync> Collection<T> {
    /// The document that matches.
    ///
    /// # Errors
    /// `Unreadable` when it does not decode; see [`StoreError`].
    pub async fn find_one(&self, filter: Document) -> Result<Option<T>, StoreError> {
        let text = describe::find(self.name, &filter, None, false);
        let call = async { self.raw.find_one(filter).await };
        self.run("find", &text, call).await?.map(|found| self.decode(&found)).transpose()
    }

    /// [`Collection::find_one`] in a causally consistent session: a read that decides.
    ///
    /// # Errors
    /// `Unreadable` when it does not decode; see [`StoreError`].
    pub async fn find_one_in(
        &self,
        session: &mut Session,
        filter: Document,
    ) -> Result<Option<T>, StoreError> {
        let text = describe::find(self.name, &filter, None, false);
        let call = async { self.raw.find_one(filter).session(&mut session.inner).await };
        self.run("find", &text, call).await?.map(|found| self.decode(&found)).transpose()
    }

    /// At most `limit` documents that match, in the order of `sort` (empty: in any). For a decision that needs all of them: one
    /// that does not decode fails the read. Sweepers and lists use [`Collection::find_readable`].
    ///
    /// # Errors
    /// `Unreadable` when one does not decode; see [`StoreError`].
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
        self.run("find", &text, call).await?.iter().map(|found| self.decode(found)).collect()
    }

    /// [`Collection::find`] in a causally consistent session.
    ///
    /// # Errors
    /// `Unreadable` when one does not decode; see [`StoreError`].
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
        self.run("find", &text, call).await?.iter().map(|found| self.decode(found)).collect()
    }

    /// At most `limit` documents that match and decode, in the order of `sort`; an unreadable one takes nobody's place and is
    /// reported once by this process. For sweepers and lists, where one player's document must not stop the others'.
    ///
    /// # Errors
    /// See [`StoreError`]; never `Unreadable`.
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
            while readable.len() < wanted && unreadable.len() < PASSED_OVER_MAX {
                let Some(found) = cursor.try_next().await? else { break };
                match self.decode(&found) {
                    Ok(document) => readable.push(document),
                    Err(error) => unreadable.push(error),
                }
            }
            Ok((readable, unreadable))
        };
        let (readable, unreadable) = self.run("find", &text, call).await?;
        for error in &unreadable {
            self.mongo.context().report_once(error);
        }
        Ok(readable)
    }

    /// Updates at most one document and returns it as it is afterwards.
    ///
    /// # Errors
    /// `Unreadable` when it does not decode: then it WAS updated; see [`StoreError`].
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

/// The `_id`, for whoever has to find the document.
fn id_of(found: &RawDocumentBuf) -> String {
    match found.get("_id") {
        Ok(Some(id)) => match id.as_str() {
            Some(text) => text.chars().take(200).collect(),
            None => format!("{id:?}").chars().take(200).collect(),
        },
        Ok(None) | Err(_) => "?".to_owned(),
    }
}

/// What the answer to a bulk says: the driver does not read it, so neither a failed write nor a write that is not yet at a
/// majority may pass here.
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

/// The number of duplicates, when duplicates are all that went wrong.
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
    fn a_bulk_below_its_write_concern_has_not_happened_yet() {
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
