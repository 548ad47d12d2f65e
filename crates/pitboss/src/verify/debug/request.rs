//! The request for a debug fault, and its answer.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use contracts::debug::DebugFault;
use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;
use serde_json::{Value, json};

use super::DebugRow;
use crate::target::{Target, silent_gateway};

/// Longest time for which a request is repeated that was not taken yet: the gateway limits their rate, and the rows of the slow query
/// are written first.
const CAUSE_MAX: Duration = Duration::from_secs(180);
/// Pause before a request is repeated whose answer names none.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest pause, whatever the answer says.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// An answer of the gateway to a request for a debug fault.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body. Null if it is no JSON.
    pub body: Value,
}

impl Answer {
    /// What stands for the answer to a request that has none: no status, and the reason as its detail.
    pub(super) fn missing(error: &anyhow::Error) -> Self {
        Self { status: 0, body: json!({ "detail": format!("{error:#}") }) }
    }

    /// A member of the body.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.body.get(name)?.as_str()
    }
}

/// Causes a debug fault as the operator, with this player as the user of its event. It waits until the gateway takes the request.
///
/// # Errors
/// When this checkout has no operator's token, or the gateway does not answer (exit code 69).
pub async fn cause(target: &Target, row: DebugRow, player_id: &str) -> Result<Answer> {
    cause_with(target, row, &json!({ "player_id": player_id })).await
}

/// Frees what `memory-leak` holds.
///
/// # Errors
/// As [`cause`].
pub(super) async fn release(target: &Target, row: DebugRow) -> Result<Answer> {
    cause_with(target, row, &json!({ "release": true })).await
}

async fn cause_with(target: &Target, row: DebugRow, body: &Value) -> Result<Answer> {
    let Some(token) = &target.operator_token else {
        bail!("this checkout has no operator's token: only the platform's operator can cause a debug fault");
    };
    let until = Instant::now() + CAUSE_MAX;
    loop {
        let (answer, pause) = send(target, row, Some(token), body).await?;
        if !is_for_later(row, answer.status) || Instant::now() >= until {
            return Ok(answer);
        }
        tokio::time::sleep(pause).await;
    }
}

/// Returns true if the request was not taken, and can be repeated without a second effect.
fn is_for_later(row: DebugRow, status: u16) -> bool {
    let is_prepared = row.fault == DebugFault::SlowQuery && status == StatusCode::SERVICE_UNAVAILABLE;
    status == StatusCode::TOO_MANY_REQUESTS || is_prepared
}

/// Sends the request without a token. The gateway has to refuse it.
///
/// # Errors
/// When the gateway does not answer (exit code 69).
pub(super) async fn without_token(target: &Target, row: DebugRow) -> Result<Answer> {
    Ok(send(target, row, None, &json!({})).await?.0)
}

/// Returns true if the gateway has debug endpoints. Where they are off, they are answered as any unknown path.
///
/// # Errors
/// When the gateway does not answer (exit code 69).
pub(crate) async fn is_enabled(target: &Target) -> Result<bool> {
    let row = super::rows().into_iter().next().context("there is no debug fault")?;
    Ok(without_token(target, row).await?.status != StatusCode::NOT_FOUND)
}

/// Sends one request. Returns the answer, and the pause after which it may be repeated.
async fn send(
    target: &Target,
    row: DebugRow,
    token: Option<&str>,
    body: &Value,
) -> Result<(Answer, Duration)> {
    let DebugRow { service, fault } = row;
    let url = format!("{}/api/v1/{service}/debug/{fault}", target.gateway_url);
    let request = target.http().post(url).json(body);
    let request = token.into_iter().fold(request, |request, token| request.header("x-operator-token", token));
    let response = request.send().await.map_err(|error| silent_gateway(&target.gateway_url, error))?;
    let status = response.status().as_u16();
    let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let pause = seconds.map_or(PAUSE, Duration::from_secs).min(PAUSE_MAX);
    // A process that died under its request gave no JSON
    let body = response.json().await.unwrap_or_default();
    Ok((Answer { status, body }, pause))
}

#[cfg(test)]
mod tests {
    use contracts::parts::Part;

    use super::*;

    /// Otherwise a fault that ends the process would end it again and again.
    #[test]
    fn only_a_request_without_effect_is_repeated() {
        let row = |fault| DebugRow { service: Part::User, fault };
        assert!(is_for_later(row(DebugFault::Crash), 429) && is_for_later(row(DebugFault::SlowQuery), 503));
        for status in [200, 404, 500, 502, 503, 504] {
            assert!(!is_for_later(row(DebugFault::Crash), status), "{status}");
        }
        assert!(!is_for_later(row(DebugFault::SlowQuery), 200));
    }
}
