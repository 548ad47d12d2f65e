//! The operations of a collection, on documents that are not decoded.
//!
//! No function here has a type parameter, and each returns a boxed future. So the code of the driver is compiled once, in this
//! crate. The body of an `async fn`, with all that it waits for, would be compiled again in each crate that calls it: the driver
//! was half of the code of a service.

use std::sync::Arc;

use bson::{Bson, Document, RawDocumentBuf, doc};
use futures::future::BoxFuture;
use futures::stream::{BoxStream, TryStreamExt as _};
use mongodb::action::{Action as _, InsertMany, InsertOne, ReplaceOne};
use mongodb::error::Error as DriverError;
use mongodb::options::ReturnDocument;
use telemetry::{attributes, spans};

use super::grouped::{Group, Inserts, Reads};
use super::{Inserted, Upserted};
use crate::StoreError;
use crate::mongo::describe::{self, Change};
use crate::mongo::{Index, Mongo, run};

/// The answer to an operation.
pub(super) type Answer<'a, R> = BoxFuture<'a, Result<R, StoreError>>;
/// Documents as the driver reads them.
pub(super) type Found = BoxStream<'static, Result<RawDocumentBuf, DriverError>>;

/// Takes documents from a read until it needs no more.
pub(super) trait Take: Send {
    /// Returns true while another document is needed.
    fn wants_more(&self) -> bool;
    /// Takes a document.
    fn take(&mut self, document: &RawDocumentBuf);
}

/// A collection of documents that are not decoded. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Raw {
    documents: mongodb::Collection<RawDocumentBuf>,
    pub(super) name: &'static str,
    /// The inserts that share commands. All clones have the same group.
    pub(super) inserts: Arc<Group<Inserts>>,
    /// The reads that share commands. All clones have the same group.
    pub(super) reads: Arc<Group<Reads>>,
    pub(super) mongo: Mongo,
}

impl Raw {
    pub(super) fn new(
        documents: mongodb::Collection<RawDocumentBuf>,
        name: &'static str,
        mongo: Mongo,
    ) -> Self {
        let inserts = Arc::new(Group::new(name, Inserts::new(documents.clone(), name, mongo.clone())));
        let reads = reads_by("_id", &documents, name, &mongo);
        Self { documents, name, inserts, reads, mongo }
    }

    /// The same, with reads that share commands by another field.
    pub(super) fn grouped_by(self, field: &'static str) -> Self {
        Self { reads: reads_by(field, &self.documents, self.name, &self.mongo), ..self }
    }

    pub(super) fn ensure_index(&self, index: Index) -> Answer<'_, ()> {
        Box::pin(async move {
            let create = async { self.documents.create_index(index.into_model()).await };
            self.mongo.context().bounded(self.name, create).await.map(drop)
        })
    }

    pub(super) fn index_keys(&self) -> Answer<'_, Vec<Document>> {
        Box::pin(async move {
            let list = async {
                let indexes = self.documents.list_indexes().await?;
                indexes.map_ok(|index| index.keys).try_collect::<Vec<_>>().await
            };
            self.mongo.context().bounded(self.name, list).await
        })
    }

    pub(super) fn update_one(&self, filter: Document, change: Change) -> Answer<'_, u64> {
        Box::pin(async move {
            let text = describe::update("update", self.name, &filter, &change);
            let call = async { self.documents.update_one(filter, change).await };
            Ok(self.run("update", &text, call).await?.matched_count)
        })
    }

    pub(super) fn update_one_in<'a>(
        &'a self,
        session: &'a mut mongodb::ClientSession,
        filter: Document,
        change: Change,
    ) -> Answer<'a, u64> {
        Box::pin(async move {
            let text = describe::update("update", self.name, &filter, &change);
            let call = async { self.documents.update_one(filter, change).session(session).await };
            Ok(self.run("update", &text, call).await?.matched_count)
        })
    }

    pub(super) fn update_many(&self, filter: Document, change: Change) -> Answer<'_, u64> {
        Box::pin(async move {
            let text = describe::update("update", self.name, &filter, &change);
            let call = async { self.documents.update_many(filter, change).await };
            Ok(self.run("update", &text, call).await?.matched_count)
        })
    }

    pub(super) fn upsert_one(&self, filter: Document, change: Change) -> Answer<'_, Upserted> {
        Box::pin(async move {
            let text = describe::update("update", self.name, &filter, &change);
            let call = async { self.documents.update_one(filter, change).upsert(true).await };
            let answer = self.run("update", &text, call).await?;
            Ok(Upserted { matched: answer.matched_count, inserted: answer.upserted_id.is_some() })
        })
    }

    pub(super) fn update_bulk(&self, updates: Vec<(Document, Change)>) -> Answer<'_, u64> {
        Box::pin(async move {
            let updates: Vec<Bson> =
                updates.into_iter().map(|(filter, change)| bulk_entry(filter, change)).collect();
            let command = doc! {
                "update": self.name, "updates": updates, "ordered": false,
                "writeConcern": { "w": "majority", "j": true },
            };
            let call = async { self.mongo.database().run_command(command).await };
            let answer = self.run("update", &describe::update_bulk(self.name), call).await?;
            bulk_matched(self.name, &answer)
        })
    }

    pub(super) fn delete_one(&self, filter: Document) -> Answer<'_, u64> {
        Box::pin(async move {
            let text = describe::filtered("delete", self.name, &filter);
            let call = async { self.documents.delete_one(filter).await };
            Ok(self.run("delete", &text, call).await?.deleted_count)
        })
    }

    pub(super) fn delete_many(&self, filter: Document) -> Answer<'_, u64> {
        Box::pin(async move {
            let text = describe::filtered("delete", self.name, &filter);
            let call = async { self.documents.delete_many(filter).await };
            Ok(self.run("delete", &text, call).await?.deleted_count)
        })
    }

    pub(super) fn count(&self, filter: Document) -> Answer<'_, u64> {
        Box::pin(async move {
            let text = describe::filtered("count", self.name, &filter);
            let call = async { self.documents.count_documents(filter).await };
            self.run("count", &text, call).await
        })
    }

    pub(super) fn aggregate(&self, mut pipeline: Vec<Document>, limit: u32) -> Answer<'_, Vec<Document>> {
        Box::pin(async move {
            let text = describe::aggregate(self.name, &pipeline);
            pipeline.push(doc! { "$limit": i64::from(limit) });
            let call = async { self.documents.aggregate(pipeline).await?.try_collect::<Vec<_>>().await };
            self.read("aggregate", &text, call, Vec::len).await
        })
    }

    pub(super) fn insert_one<'a>(&'a self, insert: InsertOne<'a>) -> Answer<'a, ()> {
        Box::pin(async move {
            let call = async { insert.await };
            self.run("insert", &describe::insert(self.name), call).await.map(drop)
        })
    }

    /// Inserts `count` documents, and skips those whose unique key already exists.
    pub(super) fn insert_many_unordered<'a>(
        &'a self,
        insert: InsertMany<'a>,
        count: usize,
    ) -> Answer<'a, Inserted> {
        Box::pin(async move {
            let call = async {
                match insert.ordered(false).await {
                    Ok(_) => Ok(0),
                    Err(error) => duplicates_only(&error).ok_or(error),
                }
            };
            let duplicates = self.run("insert", &describe::insert(self.name), call).await?;
            Ok(Inserted { inserted: count.saturating_sub(duplicates), duplicates })
        })
    }

    /// Replaces a document. `text` describes the operation.
    pub(super) fn replace_one<'a>(
        &'a self,
        text: String,
        replace: ReplaceOne<'a>,
        upsert: bool,
    ) -> Answer<'a, u64> {
        Box::pin(async move {
            let call = async { replace.upsert(upsert).await };
            Ok(self.run("update", &text, call).await?.matched_count)
        })
    }

    pub(super) fn find_one(&self, filter: Document) -> Answer<'_, Option<RawDocumentBuf>> {
        Box::pin(async move {
            let text = describe::find(self.name, &filter, None, false);
            let call = async { self.documents.find_one(filter).await };
            self.run("find", &text, call).await
        })
    }

    pub(super) fn find_one_in<'a>(
        &'a self,
        session: &'a mut mongodb::ClientSession,
        filter: Document,
    ) -> Answer<'a, Option<RawDocumentBuf>> {
        Box::pin(async move {
            let text = describe::find(self.name, &filter, None, false);
            let call = async { self.documents.find_one(filter).session(session).await };
            self.run("find", &text, call).await
        })
    }

    pub(super) fn find(
        &self,
        filter: Document,
        sort: Document,
        limit: u32,
    ) -> Answer<'_, Vec<RawDocumentBuf>> {
        Box::pin(async move {
            let sort = (!sort.is_empty()).then_some(sort);
            let text = describe::find(self.name, &filter, sort.as_ref(), true);
            let call = async {
                let find = self.documents.find(filter).optional(sort, |find, sort| find.sort(sort));
                find.limit(i64::from(limit)).await?.try_collect::<Vec<_>>().await
            };
            self.read("find", &text, call, Vec::len).await
        })
    }

    /// Gives the documents that match to `taker`, in the order of `sort` (empty: any order).
    pub(super) fn find_until_taken<'a>(
        &'a self,
        filter: Document,
        sort: Document,
        batch_size: u32,
        taker: &'a mut dyn Take,
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            let sort = (!sort.is_empty()).then_some(sort);
            let text = describe::find(self.name, &filter, sort.as_ref(), true);
            let call = async {
                let find = self.documents.find(filter).optional(sort, |find, sort| find.sort(sort));
                let mut cursor = find.batch_size(batch_size.max(1)).await?;
                let mut taken = 0_usize;
                while taker.wants_more() {
                    let Some(found) = cursor.try_next().await? else { break };
                    taken = taken.saturating_add(1);
                    taker.take(&found);
                }
                Ok(taken)
            };
            self.read("find", &text, call, |taken: &usize| *taken).await.map(drop)
        })
    }

    /// Starts to read all documents that match, in any order.
    pub(super) fn find_all(&self, filter: Document, batch_size: u32) -> Answer<'_, Found> {
        Box::pin(async move {
            let text = describe::find(self.name, &filter, None, false);
            let call = async { self.documents.find(filter).batch_size(batch_size).await };
            let cursor = self.run("find", &text, call).await?;
            let found: Found = Box::pin(cursor);
            Ok(found)
        })
    }

    /// Returns the next documents of `found`, fewer than `size` after the last one.
    pub(super) fn next_of<'a>(
        &'a self,
        found: &'a mut Found,
        size: usize,
    ) -> Answer<'a, Vec<RawDocumentBuf>> {
        Box::pin(async move {
            let call = async {
                let mut documents = Vec::new();
                while documents.len() < size {
                    let Some(document) = found.try_next().await? else { break };
                    documents.push(document);
                }
                Ok(documents)
            };
            self.mongo.context().bounded(self.name, call).await
        })
    }

    pub(super) fn find_one_and_update(
        &self,
        filter: Document,
        change: Change,
    ) -> Answer<'_, Option<RawDocumentBuf>> {
        Box::pin(async move {
            let text = describe::update("findAndModify", self.name, &filter, &change);
            let call = async {
                let update = self.documents.find_one_and_update(filter, change);
                update.return_document(ReturnDocument::After).await
            };
            self.run("findAndModify", &text, call).await
        })
    }

    /// Runs a read, and shows on its span how many documents it returned.
    async fn read<R>(
        &self,
        operation: &'static str,
        description: &str,
        call: impl Future<Output = Result<R, DriverError>>,
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
        call: impl Future<Output = Result<R, DriverError>>,
    ) -> Result<R, StoreError> {
        self.mongo.context().traced(self.name, operation, description, call).await
    }
}

fn reads_by(
    field: &'static str,
    documents: &mongodb::Collection<RawDocumentBuf>,
    name: &'static str,
    mongo: &Mongo,
) -> Arc<Group<Reads>> {
    Arc::new(Group::new(name, Reads::new(documents.clone(), field, name, mongo.clone())))
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
fn duplicates_only(error: &DriverError) -> Option<usize> {
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
