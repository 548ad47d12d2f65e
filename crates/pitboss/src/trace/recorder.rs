//! Fetches traces from the recorder.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::Instant;

use super::{Trace, edges};
use crate::target::silent_recorder;

/// Time limit for the trace of one bet to be complete in the recorder.
pub const BET_DEADLINE: Duration = Duration::from_secs(15);
/// Interval at which an incomplete trace is fetched again.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Fetches the trace from the recorder at `recorder_url`. Returns `None` if the recorder has no data of it.
///
/// # Errors
/// When the recorder does not answer (exit code 69), or its answer is not a trace.
pub async fn fetch(client: &reqwest::Client, recorder_url: &str, trace_id: &str) -> Result<Option<Trace>> {
    let url = format!("{recorder_url}/api/v1/traces/{trace_id}");
    let response = client.get(&url).send().await.map_err(|error| silent_recorder(recorder_url, error))?;
    if response.status() == reqwest::StatusCode::NOT_FOUND {
        return Ok(None);
    }
    if !response.status().is_success() {
        bail!("the recorder answered {} to GET {url}", response.status());
    }
    Ok(Some(response.json().await.context("the recorder's answer is not a trace")?))
}

/// Fetches the trace of a bet until it has every edge of one bet, or `deadline` passes. The caller has to check the trace,
/// because it is returned incomplete at the deadline.
///
/// # Errors
/// When the recorder does not answer (exit code 69), or nothing of the trace arrives in time.
pub async fn fetch_complete_bet(
    client: &reqwest::Client,
    recorder_url: &str,
    trace_id: &str,
    deadline: Duration,
) -> Result<Trace> {
    let until = Instant::now() + deadline;
    loop {
        let found = fetch(client, recorder_url, trace_id).await?;
        let complete = found.as_ref().is_some_and(|t| edges::findings(t).is_empty());
        match found {
            Some(trace) if complete || Instant::now() >= until => return Ok(trace),
            None if Instant::now() >= until => {
                bail!("no data of trace {trace_id} reached the recorder within {} s", deadline.as_secs())
            }
            _ => tokio::time::sleep(POLL_INTERVAL).await,
        }
    }
}
