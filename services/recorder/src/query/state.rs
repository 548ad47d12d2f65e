//! State and parameters of the queries, and the wait for the index.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use axum::response::{IntoResponse, Response};
use chassis::{config::Secret, operator::Operator, problem::Problem};
use rusqlite::Connection;
use serde::Deserialize;

use super::{alerts::SharedRound, scorecard_file::ScorecardFile, slots::ResponseSlots};
use crate::{
    config::Limits,
    forward::Forwarder,
    index::{Index, IndexError, Page},
    ingest::{Answered, ModeSwitch},
    journal::Journal,
    projects::Projects,
    symbols::Symbols,
};

/// State of the queries. Clones share it.
#[derive(Clone, Debug)]
pub struct Query {
    pub(super) index: Index,
    pub(super) journal: Journal,
    pub(crate) projects: Arc<Projects>,
    pub(super) limits: Limits,
    pub(super) operator: Operator,
    pub(super) mode: Arc<ModeSwitch>,
    pub(super) answered: Arc<Answered>,
    pub(super) forwarder: Forwarder,
    pub(super) slots: ResponseSlots,
    /// File of the scorecard. Without a folder there is none.
    pub(super) scorecard: Option<ScorecardFile>,
    /// Secret of the signatures of flag changes. An empty one refuses all.
    pub(super) flag_hook_secret: Secret,
    /// File and line of frames. By default nothing is known.
    pub(super) symbols: Symbols,
    /// What the last evaluation of the alert rules found.
    pub(super) round: SharedRound,
    /// Lock for assembling one trace at a time, because no other part of a response needs as much memory.
    pub(super) assembling: Arc<Mutex<()>>,
}

/// State that the queries share with ingest.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Switch for simulated outages of ingest.
    pub mode: Arc<ModeSwitch>,
    /// Response counts of ingest.
    pub answered: Arc<Answered>,
    /// Forwarding of copies.
    pub forwarder: Forwarder,
}

impl Query {
    /// Creates the state of the queries.
    #[must_use]
    pub fn new(
        index: Index,
        journal: Journal,
        projects: Arc<Projects>,
        limits: Limits,
        operator: Operator,
        shared: Shared,
    ) -> Self {
        let Shared { mode, answered, forwarder } = shared;
        let (slots, assembling) = (ResponseSlots::default(), Arc::default());
        Self {
            index,
            journal,
            projects,
            limits,
            operator,
            mode,
            answered,
            forwarder,
            slots,
            scorecard: None,
            flag_hook_secret: Secret::default(),
            symbols: Symbols::default(),
            round: SharedRound::default(),
            assembling,
        }
    }

    /// Sets the secret of the signatures of flag changes.
    #[must_use]
    pub fn with_flag_hook_secret(self, flag_hook_secret: Secret) -> Self {
        Self { flag_hook_secret, ..self }
    }

    /// Sets what tells file and line of frames.
    #[must_use]
    pub(crate) fn with_symbols(self, symbols: Symbols) -> Self {
        Self { symbols, ..self }
    }

    /// Sets the folder of the scorecard, which must exist.
    #[must_use]
    pub fn with_scorecard_in(self, directory: &Path) -> Self {
        Self { scorecard: Some(ScorecardFile::new(directory)), ..self }
    }

    /// Runs a query of the index on this thread, which may block.
    pub(crate) fn read_index<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, IndexError> {
        self.index.read(query)
    }
}

/// Parameters of every listing: `?since=&project=&limit=`.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct ListParams {
    #[serde(default)]
    since: Option<u64>,
    #[serde(default)]
    project: Option<String>,
    #[serde(default)]
    limit: Option<u32>,
}

impl ListParams {
    /// Returns parameters without a limit.
    pub(crate) fn of(since: Option<u64>, project: Option<String>) -> Self {
        Self { since, project, limit: None }
    }

    /// Returns the requested project.
    pub(crate) fn project(&self) -> Option<&str> {
        self.project.as_deref()
    }
}

/// Checks the parameters. An unknown project is an error of the client, not an empty result.
pub(crate) fn page(query: &Query, params: &ListParams, limit: u32) -> Result<Page, Problem> {
    let project = match params.project.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => {
            let known = query.projects.find(name);
            Some(known.ok_or_else(|| unknown_project(query, name))?)
        }
        None => None,
    };
    let limit = checked_limit(params.limit)?.unwrap_or(limit);
    Ok(Page { since: params.since.unwrap_or(0), project, limit })
}

/// Checks a requested number of rows. An answer without rows would look as if there were none.
pub(super) fn checked_limit(limit: Option<u32>) -> Result<Option<u32>, Problem> {
    match limit {
        Some(0) => Err(Problem::bad_request("limit must be at least 1")),
        limit => Ok(limit),
    }
}

/// The error for a project that does not exist. It names those that do.
pub(super) fn unknown_project(query: &Query, name: &str) -> Problem {
    let mut known: Vec<_> = query.projects.all().collect();
    known.sort_by_key(|project| project.id);
    let names: Vec<&str> = known.iter().map(|project| project.name.as_str()).collect();
    Problem::bad_request(format!("unknown project \"{name}\": there are {}", names.join(", ")))
}

/// Runs a blocking query after the index has caught up. Also returns the number of envelopes that the result lacks.
pub(crate) async fn run_query<T, F>(query: &Query, read: F) -> Result<(T, u64), Problem>
where
    T: Send + 'static,
    F: FnOnce(&Query) -> Result<T, IndexError> + Send + 'static,
{
    let lag = query.index.caught_up().await;
    let shared = query.clone();
    let result = tokio::task::spawn_blocking(move || read(&shared)).await;
    let result = result.map_err(anyhow::Error::from).and_then(|result| Ok(result?));
    result.map(|result| (result, lag)).map_err(|error| {
        tracing::error!(error = %error, "a query failed");
        Problem::internal()
    })
}

/// Marks a response that lacks recent envelopes.
pub(crate) fn with_lag(lag: u64, response: impl IntoResponse) -> Response {
    let mut response = response.into_response();
    if lag > 0 {
        response.headers_mut().insert("x-recorder-index-lag", lag.into());
    }
    response
}
