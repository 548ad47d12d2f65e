//! Scorecard of the last `./pitboss verify --report`: takes it, keeps it in a file of its own, and returns it.
//!
//! It guarantees that a scorecard that was answered with 204 survives a restart and a power cut, and that a crash leaves
//! either the old one or the new one. It is not an envelope, so deleting the envelopes keeps it.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use chassis::{http::RawBody, problem::Problem};
use contracts::scorecard::{BYTES_MAX, Scorecard};
use http::{HeaderMap, StatusCode};

use super::{admin::authorise, state::Query};

/// Name of the file in the data folder.
const FILE: &str = "scorecard.json";
/// Name of the file while it is written. A crash leaves at most this one behind, and the next scorecard replaces it.
const FILE_UNFINISHED: &str = "scorecard.json.unfinished";

/// File of the scorecard. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct ScorecardFile {
    directory: PathBuf,
    writing: Arc<Mutex<()>>,
}

impl ScorecardFile {
    /// Uses a file in this folder, which must exist.
    pub(crate) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), writing: Arc::default() }
    }

    /// Replaces the file durably.
    fn replace(&self, json: &[u8]) -> io::Result<()> {
        let one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let unfinished = self.directory.join(FILE_UNFINISHED);
        let mut file = File::create(&unfinished)?;
        file.write_all(json)?;
        file.sync_all()?;
        fs::rename(&unfinished, self.directory.join(FILE))?;
        File::open(&self.directory)?.sync_all()?;
        drop(one_at_a_time);
        Ok(())
    }

    /// Reads the file. `None` without one, or when this build cannot read its form.
    fn read(&self) -> io::Result<Option<Scorecard>> {
        let file = match File::open(self.directory.join(FILE)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut json = Vec::new();
        file.take(BYTES_MAX as u64).read_to_end(&mut json)?;
        match parse(&json) {
            Ok(scorecard) => Ok(Some(scorecard)),
            Err(reason) => {
                tracing::warn!(reason, "the stored scorecard cannot be read; the next one replaces it");
                Ok(None)
            }
        }
    }
}

fn parse(json: &[u8]) -> Result<Scorecard, String> {
    let scorecard: Scorecard = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    scorecard.check()?;
    Ok(scorecard)
}

/// `PUT /api/v1/scorecard`: replaces the scorecard. Answers 204 once it is stored.
///
/// The listener refuses a body of more than [`BYTES_MAX`] bytes.
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
    use serde_json::json;

    use super::*;
    use crate::query::test_query;

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

    #[test]
    fn unreadable_file_is_as_if_there_was_none() {
        let directory = tempfile::tempdir().expect("a folder");
        let file = ScorecardFile::new(directory.path());
        assert_eq!(file.read().expect("readable"), None);
        let runs = json!([{"seed": 7, "duration_s": 1.0}]);
        let sent = json!({"version": 1, "finished_at": 1.0, "runs": runs, "rows": []}).to_string();
        file.replace(sent.as_bytes()).expect("writable");
        assert_eq!(file.read().expect("readable"), Some(parse(sent.as_bytes()).expect("a scorecard")));
        for other in ["", "{}", &sent.replace("\"version\":1", "\"version\":2")] {
            file.replace(other.as_bytes()).expect("writable");
            assert_eq!(file.read().expect("readable"), None, "{other}");
        }
    }
}
