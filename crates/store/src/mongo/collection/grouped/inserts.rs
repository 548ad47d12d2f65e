//! Inserts that share commands. Each caller learns about its own document.

use std::collections::BTreeMap;

use bson::RawDocumentBuf;
use mongodb::error::ErrorKind;

use super::{Commands, Results};
use crate::StoreError;
use crate::mongo::collection::raw::{Answer, Raw};
use crate::mongo::describe;
use crate::mongo::{Mongo, run};

/// The documents of a command that were not inserted, by their position.
pub(super) type Refusals = BTreeMap<usize, StoreError>;

/// Commands that insert documents, each within the operation's time-out.
pub(in crate::mongo::collection) struct Inserts {
    collection: mongodb::Collection<RawDocumentBuf>,
    name: &'static str,
    mongo: Mongo,
}

impl Inserts {
    pub(in crate::mongo::collection) fn new(
        collection: mongodb::Collection<RawDocumentBuf>,
        name: &'static str,
        mongo: Mongo,
    ) -> Self {
        Self { collection, name, mongo }
    }
}

impl Commands for Inserts {
    type Request = RawDocumentBuf;
    type Reply = ();
    const REQUESTS: &'static str = "inserts";

    fn size_bytes(document: &RawDocumentBuf) -> usize {
        document.as_bytes().len()
    }

    async fn send(&self, documents: Vec<RawDocumentBuf>) -> Result<Results<()>, StoreError> {
        let count = documents.len();
        let command = async {
            match self.collection.insert_many(documents).ordered(false).await {
                Ok(_) => Ok(Refusals::new()),
                Err(error) => refusals(self.name, count, &error),
            }
        };
        Ok(results(count, self.mongo.context().in_time(self.name, command).await?))
    }
}

impl Raw {
    /// [`crate::mongo::Collection::insert_grouped`] of a document that was encoded.
    pub(in crate::mongo::collection) fn insert_grouped(
        &self,
        document: Result<RawDocumentBuf, bson::error::Error>,
    ) -> Answer<'_, ()> {
        Box::pin(async move {
            let context = self.mongo.context();
            let span = context.span(self.name, "insert", &describe::insert(self.name));
            let insert = async {
                let document = document.map_err(|error| {
                    StoreError::from_driver(self.name, &mongodb::error::Error::from(error))
                })?;
                self.inserts.request(document, &span).await
            };
            run::in_span(&span, context.in_time(self.name, insert)).await
        })
    }
}

/// Returns one result for each document, in their order.
pub(super) fn results(count: usize, mut refusals: Refusals) -> Results<()> {
    (0..count).map(|position| refusals.remove(&position).map_or(Ok(()), Err)).collect()
}

/// Returns the documents of a command that were refused, or the error that concerns all of them. A missing write concern concerns
/// also those that were refused, because the document that they clash with may not be durable.
pub(super) fn refusals(
    collection: &'static str,
    count: usize,
    error: &mongodb::error::Error,
) -> Result<Refusals, StoreError> {
    let ErrorKind::InsertMany(failure) = error.kind.as_ref() else {
        return Err(StoreError::from_driver(collection, error));
    };
    if let Some(missed) = &failure.write_concern_error {
        let reason = format!("write concern not satisfied (code {})", missed.code);
        return Err(StoreError::Transient { collection, reason });
    }
    let refused = failure.write_errors.as_deref().unwrap_or_default();
    if refused.is_empty() || refused.iter().any(|e| e.index >= count) {
        return Err(StoreError::Transient { collection, reason: "invalid reply".to_owned() });
    }
    Ok(refused.iter().map(|e| (e.index, StoreError::from_code(collection, e.code, &e.message))).collect())
}
