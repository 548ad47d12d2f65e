//! Faults of the cache and of the receiver of telemetry.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use contracts::parts::Part;
use faults::Values;
use runtime::part::PartState;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::platform::Platform;

/// Deadline of an answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);
/// Time after which the receiver works again if the supervisor was killed.
const FAILS_FOR_MS: u64 = 15_000;
/// Rest of that time at which it is renewed.
const RENEWED_AT_MS: u64 = 10_000;
/// Seconds that senders have to wait after a 429. Short, so that telemetry continues soon after the fault.
const RETRY_AFTER_S: u64 = 5;

/// Deletes every key of the platform's Redis.
pub(super) async fn flush_cache(platform: &Platform) -> Result<u64> {
    // The port could belong to another server if the platform's own does not run.
    let state = platform.part(Part::Redis.as_str()).await?.state;
    if state != PartState::Ready {
        bail!("redis is {}", state.as_str());
    }
    let address = ("127.0.0.1", platform.ports()?.redis());
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"FLUSHALL\r\n").await?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = tokio::time::timeout(ANSWER_DEADLINE, exchange).await.context("redis does not answer")??;
    if &answer != b"+OK\r\n" {
        bail!("redis answered {}", String::from_utf8_lossy(&answer).trim());
    }
    Ok(1)
}

/// Makes the recorder fail, for a limited time that is renewed. Counts only if it worked before.
pub(super) async fn fail_ingest(platform: &Platform, values: &Values) -> Result<u64> {
    let wanted = failure(values.get("mode"));
    let ingest = Ingest::of(platform)?;
    let (now, left_ms) = ingest.mode().await?;
    let is_failing = wanted["mode"] == now.as_str();
    if !is_failing || left_ms < RENEWED_AT_MS {
        ingest.set(&wanted).await?;
    }
    Ok(u64::from(!is_failing))
}

/// Makes the recorder work.
pub(super) async fn restore_ingest(platform: &Platform) -> Result<()> {
    Ingest::of(platform)?.set(&json!({ "mode": "ok" })).await
}

fn failure(mode: i64) -> Value {
    match mode {
        0 => json!({ "mode": "refuse", "status": 503, "for_ms": FAILS_FOR_MS }),
        1 => json!({ "mode": "hang", "for_ms": FAILS_FOR_MS }),
        _ => json!({ "mode": "rate_limit", "retry_after_s": RETRY_AFTER_S, "for_ms": FAILS_FOR_MS }),
    }
}

/// The switch of the recorder, at its port of queries, which works in every mode.
struct Ingest {
    http: reqwest::Client,
    url: String,
    operator_token: String,
}

impl Ingest {
    fn of(platform: &Platform) -> Result<Self> {
        let url = format!("http://127.0.0.1:{}/api/v1/ingest/mode", platform.ports()?.recorder_query());
        let operator_token = platform.secrets()?.operator_token;
        let http = reqwest::Client::builder().no_proxy().timeout(ANSWER_DEADLINE).build()?;
        Ok(Self { http, url, operator_token })
    }

    /// The mode, and the milliseconds until it ends.
    async fn mode(&self) -> Result<(String, u64)> {
        let now: Value = self.http.get(&self.url).send().await?.error_for_status()?.json().await?;
        let mode = now["mode"].as_str().context("the recorder's answer has no mode")?.to_owned();
        Ok((mode, now["left_ms"].as_u64().unwrap_or_default()))
    }

    async fn set(&self, mode: &Value) -> Result<()> {
        let request = self.http.post(&self.url).header("x-operator-token", &self.operator_token).json(mode);
        request.send().await?.error_for_status()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_a_deadline() {
        let modes = [0, 1, 2].map(failure);
        assert_eq!(modes.clone().map(|mode| mode["mode"].clone()), ["refuse", "hang", "rate_limit"]);
        assert!(modes.iter().all(|mode| mode["for_ms"] == FAILS_FOR_MS), "{modes:?}");
    }
}
