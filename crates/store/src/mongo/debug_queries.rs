//! Queries of debug faults: one that the store refuses, and one that is slow in the store itself.

use std::time::Duration;

use bson::{Document, doc};
use contracts::debug::{DebugStore, StoreCall};

use super::{Collection, Mongo, ScannedRows};
use crate::StoreError;

/// Number of times that a slow query asks for its rows. Each waits for half a second, so most of the time is left for the query.
const ATTEMPTS: u32 = 4;
/// Longest time of the waiting and the query together. The gateway gives up a second later, and on an overloaded machine a query
/// takes several times as long as its rows were made for.
const DEADLINE: Duration = Duration::from_secs(6);

/// The store as debug faults use it. No document of the service is read or written.
#[derive(Clone, Debug)]
pub struct DebugQueries {
    refused: Collection<Document>,
    rows: Option<ScannedRows>,
}

impl DebugQueries {
    /// A store that refuses queries, and has no rows for a slow one.
    #[must_use]
    pub fn new(mongo: &Mongo) -> Self {
        Self { refused: mongo.collection("debug"), rows: None }
    }

    /// Sets the rows of the slow query, which somebody has to [keep](ScannedRows::keep).
    #[must_use]
    pub fn with_rows(self, rows: ScannedRows) -> Self {
        Self { rows: Some(rows), ..self }
    }
}

impl DebugStore for DebugQueries {
    fn refused_operation(&self) -> &'static str {
        "find"
    }

    fn fail(&self) -> StoreCall<'_, ()> {
        Box::pin(async move {
            // No server knows this operator
            self.refused.find(doc! { "$debug": true }, Document::new(), 1).await?;
            Ok(())
        })
    }

    fn query_slowly(&self) -> StoreCall<'_, Option<u64>> {
        Box::pin(async move {
            let Some(rows) = &self.rows else { return Ok(None) };
            let query = async {
                for _ in 0..ATTEMPTS {
                    if rows.is_ready().await {
                        return Ok::<_, StoreError>(Some(rows.query().await?));
                    }
                }
                Ok(None)
            };
            let Ok(answered) = tokio::time::timeout(DEADLINE, query).await else {
                tracing::info!("the slow query of a debug fault did not end in {} s", DEADLINE.as_secs());
                return Ok(None);
            };
            Ok(answered?)
        })
    }
}
