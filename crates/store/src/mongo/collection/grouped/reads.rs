//! Reads that share commands. Each caller gets its own documents.

use std::collections::{BTreeSet, HashMap};

use bson::{Document, RawBsonRef, RawDocumentBuf, doc};
use futures::stream::TryStreamExt as _;
use mongodb::error::Error as DriverError;
use telemetry::{attributes, spans};

use super::{Commands, Results};
use crate::StoreError;
use crate::mongo::collection::ReadAt;
use crate::mongo::collection::raw::{Answer, Raw};
use crate::mongo::{CausalTime, Mongo, describe, run};

/// One caller's read.
pub(in crate::mongo::collection) struct Read {
    values: Vec<String>,
    after: CausalTime,
}

/// Commands that find documents by one field, each within the operation's time-out.
pub(in crate::mongo::collection) struct Reads {
    collection: mongodb::Collection<RawDocumentBuf>,
    field: &'static str,
    name: &'static str,
    mongo: Mongo,
}

impl Reads {
    pub(in crate::mongo::collection) fn new(
        collection: mongodb::Collection<RawDocumentBuf>,
        field: &'static str,
        name: &'static str,
        mongo: Mongo,
    ) -> Self {
        Self { collection, field, name, mongo }
    }

    /// Finds the documents with any of these values, and the point at which they were read.
    async fn find(
        &self,
        values: Vec<&str>,
        after: CausalTime,
    ) -> Result<(Vec<RawDocumentBuf>, CausalTime), DriverError> {
        // No more documents can match, because the values are unique. A limit of 0 would be none.
        let limit = i64::try_from(values.len()).unwrap_or(i64::MAX).max(1);
        let mut session = self.mongo.client.start_session().causal_consistency(true).await?;
        after.precede(&mut session);
        let find = self.collection.find(under_any(self.field, values)).limit(limit);
        let mut cursor = find.session(&mut session).await?;
        let found = cursor.stream(&mut session).try_collect::<Vec<_>>().await?;
        Ok((found, CausalTime::of(&session)))
    }
}

impl Commands for Reads {
    type Request = Read;
    type Reply = ReadAt<RawDocumentBuf>;
    const REQUESTS: &'static str = "reads";

    fn size_bytes(read: &Read) -> usize {
        read.values.iter().map(String::len).sum()
    }

    async fn send(&self, reads: Vec<Read>) -> Result<Results<Self::Reply>, StoreError> {
        let values: BTreeSet<&str> =
            reads.iter().flat_map(|read| read.values.iter().map(String::as_str)).collect();
        // It sees at least what each of its callers has to see.
        let after = reads.iter().map(|read| read.after).max().unwrap_or_default();
        let find = self.find(values.into_iter().collect(), after);
        let (found, time) = self.mongo.context().bounded(self.name, find).await?;
        Ok(shares(self.field, &reads, &found, time))
    }
}

impl Raw {
    /// [`crate::mongo::Collection::find_grouped`] without decoding.
    pub(in crate::mongo::collection) fn find_grouped(
        &self,
        values: Vec<String>,
        after: CausalTime,
    ) -> Answer<'_, ReadAt<RawDocumentBuf>> {
        Box::pin(async move {
            let context = self.mongo.context();
            let filter = under_any(self.reads.commands.field, values.iter().map(String::as_str).collect());
            let span = context.span(self.name, "find", &describe::find(self.name, &filter, None, true));
            let find = async {
                let read = self.reads.request(Read { values, after }, &span).await?;
                let rows = i64::try_from(read.documents.len()).unwrap_or(i64::MAX);
                spans::set_attr(&span, attributes::DB_RESPONSE_RETURNED_ROWS, rows);
                Ok(read)
            };
            run::in_span(&span, context.in_time(self.name, find)).await
        })
    }
}

fn under_any(field: &str, values: Vec<&str>) -> Document {
    doc! { field: { "$in": values } }
}

/// Returns to each read the documents with one of its values. A document can belong to several reads.
fn shares(
    field: &str,
    reads: &[Read],
    found: &[RawDocumentBuf],
    time: CausalTime,
) -> Results<ReadAt<RawDocumentBuf>> {
    let mut readers: HashMap<&str, Vec<usize>> = HashMap::new();
    for (position, read) in reads.iter().enumerate() {
        for value in &read.values {
            readers.entry(value.as_str()).or_default().push(position);
        }
    }
    let mut shares: Vec<Vec<RawDocumentBuf>> = vec![Vec::new(); reads.len()];
    for document in found {
        let texts = texts(document, field);
        let of_document: BTreeSet<usize> =
            texts.iter().filter_map(|text| readers.get(text)).flatten().copied().collect();
        for position in of_document {
            if let Some(share) = shares.get_mut(position) {
                share.push(document.clone());
            }
        }
    }
    shares.into_iter().map(|documents| Ok(ReadAt { documents, time })).collect()
}

/// Returns the texts in a field, which is one text or a list of them.
fn texts<'a>(document: &'a RawDocumentBuf, field: &str) -> Vec<&'a str> {
    match document.get(field) {
        Ok(Some(RawBsonRef::String(text))) => vec![text],
        Ok(Some(RawBsonRef::Array(items))) => {
            items.into_iter().filter_map(|item| item.ok()?.as_str()).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Read {
        Read {
            values: values.iter().map(|value| (*value).to_owned()).collect(),
            after: CausalTime::default(),
        }
    }

    #[test]
    fn each_read_gets_its_documents() {
        let found: Vec<RawDocumentBuf> = [
            doc! { "n": 0, "keys": ["a", "b"] },
            doc! { "n": 1, "keys": "c" },
            doc! { "n": 2, "keys": ["a-longer", 7, "d"] },
        ]
        .iter()
        .map(|document| bson::serialize_to_raw_document_buf(document).unwrap())
        .collect();
        let reads = [&["a", "b"][..], &["missing"], &["c", "a"], &["d"], &[]].map(read);
        let numbers: Vec<Vec<i32>> = shares("keys", &reads, &found, CausalTime::default())
            .into_iter()
            .map(|share| share.unwrap().documents.iter().map(|own| own.get_i32("n").unwrap()).collect())
            .collect();
        assert_eq!(numbers, [vec![0], vec![], vec![0, 1], vec![2], vec![]], "each document once");
    }
}
