//! Scorecard of the last `./pitboss verify --report`: takes it, keeps it ([`ScorecardFile`]), and returns it.

use std::io;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use chassis::{http::RawBody, problem::Problem};
use contracts::scorecard::Scorecard;
use http::{HeaderMap, StatusCode};

use super::{
    admin::authorise,
    scorecard_file::{ScorecardFile, parse},
    state::Query,
};

/// `PUT /api/v1/scorecard`: replaces the scorecard. Answers 204 once it is stored.
///
/// The listener refuses a body of more than [`contracts::scorecard::BYTES_MAX`] bytes.
pub(super) async fn put(
    State(query): State<Query>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> Result<Response, Problem> {
    authorise(&query, &headers)?;
    let scorecard = parse(&body).map_err(Problem::bad_request)?;
    on_a_blocking_thread(&query, "a scorecard could not be stored", move |file| file.replace(&body)).await?;
    tracing::info!(rows = scorecard.rows.len(), runs = scorecard.runs.len(), "a scorecard was stored");
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `GET /api/v1/scorecard`
pub(super) async fn get(State(query): State<Query>) -> Result<Response, Problem> {
    let missing =
        || Problem::not_found().detail("no scorecard is stored: ./pitboss verify --report makes one");
    Ok(Json(stored(&query).await?.ok_or_else(missing)?).into_response())
}

/// Returns the stored scorecard.
pub(crate) async fn stored(query: &Query) -> Result<Option<Scorecard>, Problem> {
    if query.scorecard.is_none() {
        return Ok(None);
    }
    on_a_blocking_thread(query, "the scorecard could not be read", ScorecardFile::read).await
}

async fn on_a_blocking_thread<T: Send + 'static>(
    query: &Query,
    failure: &'static str,
    work: impl FnOnce(&ScorecardFile) -> io::Result<T> + Send + 'static,
) -> Result<T, Problem> {
    let no_folder = || Problem::unavailable("this recorder has no folder for a scorecard");
    let file = query.scorecard.clone().ok_or_else(no_folder)?;
    let done = tokio::task::spawn_blocking(move || work(&file)).await;
    done.unwrap_or_else(|panic| Err(io::Error::other(panic))).map_err(|error| {
        tracing::error!(error = %error, "{failure}");
        Problem::internal()
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::query::{
        scorecard_file::{FILE, FILE_UNFINISHED},
        test_query,
    };

    #[tokio::test]
    async fn nothing_is_stored_without_a_folder() {
        let directory = tempfile::tempdir().expect("a folder");
        let (query, threads) = test_query::open(directory.path());
        assert_eq!(stored(&query).await.expect("no error"), None);
        let refused = on_a_blocking_thread(&query, "refused", |file| file.replace(b"{}")).await;
        assert_eq!(refused.expect_err("no folder").status(), StatusCode::SERVICE_UNAVAILABLE);
        let written = [FILE, FILE_UNFINISHED].map(|name| Path::new(name).exists());
        assert_eq!(written, [false, false], "not in the working folder");
        test_query::close(&query, threads).await;
    }
}
