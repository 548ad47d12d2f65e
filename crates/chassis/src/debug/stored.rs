//! Errors and delays of the service's store.

use std::{error::Error, fmt};

use contracts::{DebugFault, DebugStore};

use super::answer::{Outcome, problem};
use crate::problem::Problem;

/// The store's error with the operation that failed.
#[derive(Debug)]
struct CommandRefused(Box<dyn Error + Send + Sync>);

impl fmt::Display for CommandRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the store refused a command")
    }
}

impl Error for CommandRefused {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

/// Sends a command that the store refuses.
pub(super) async fn refused_command(store: Option<&dyn DebugStore>) -> Problem {
    const FAULT: DebugFault = DebugFault::DatabaseError;
    let Some(store) = store else { return without_store() };
    tracing::info!("a command is sent that the store refuses");
    match store.fail().await {
        Ok(()) => Problem::internal().detail("the store accepted the command"),
        Err(error) => {
            let error = CommandRefused(error);
            let details = [("kind", FAULT.as_str()), ("operation", store.refused_operation())];
            let event_id = telemetry::report(&error, &details);
            problem(FAULT, &error, event_id)
        }
    }
}

/// Runs a query that is slow in the store.
pub(super) async fn slow_query(store: Option<&dyn DebugStore>) -> Result<Outcome, Problem> {
    let store = store.ok_or_else(without_store)?;
    match store.query_slowly().await {
        Ok(Some(took_ms)) => Ok(Outcome { detail: format!("the query took {took_ms} ms"), event_id: None }),
        Ok(None) => Err(Problem::unavailable(
            "the rows of the query are being written, or the store is busy: repeat the request",
        )),
        Err(error) => {
            tracing::warn!(error = %error, "the slow query of a debug fault failed");
            Err(Problem::unavailable("the document store does not answer"))
        }
    }
}

/// A service that offers the fault has to name its store, which a test of each service checks.
fn without_store() -> Problem {
    Problem::internal().detail("this service has no store for the fault")
}
