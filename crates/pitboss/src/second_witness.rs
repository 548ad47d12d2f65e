//! The second witness: Sentry's own Spotlight, to which the recorder copies every envelope (`up --spotlight`).
//!
//! It is asked for what the recorder has of a trace: the same spans, and errors with the same ids. Both read the same bytes with code
//! that has nothing in common, so an error in the recorder's reading shows as a difference. What Spotlight read comes from its event
//! stream ([`sse`], [`seen`]), which is followed for the whole run because it keeps the last 500 envelopes only. What it shows comes
//! from its tool `get_traces` ([`tree`]). [`compare`] is the comparison, without a connection or a clock.

mod compare;
mod seen;
mod sse;
mod tree;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use runtime::RuntimeError;
use runtime::control::Client;
use runtime::infra::spotlight::NAME;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::target::Target;

pub use compare::{CANNOT_SHOW, Testimony};

use compare::Held;
use seen::Seen;
use tree::Tree;

/// Longest wait for copies that are on their way.
const ARRIVES_WITHIN: Duration = Duration::from_secs(5);
/// Deadline of an answer of either witness.
const ANSWER_DEADLINE: Duration = Duration::from_secs(15);
/// Interval at which the two witnesses are compared again.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Pause before a broken stream is followed again.
const RECONNECT_AFTER: Duration = Duration::from_millis(500);
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// Follows the stream of Spotlight until it is dropped.
#[derive(Debug)]
pub struct SecondWitness {
    url: String,
    recorder_url: String,
    http: reqwest::Client,
    /// Longest wait for copies that are on their way.
    arrives_within: Duration,
    shared: Arc<Mutex<Shared>>,
    following: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    seen: Seen,
    /// Why the stream is not followed now. Empty while it is.
    problem: String,
}

impl Shared {
    /// The stream is followed from now on.
    fn begin_connection(&mut self) {
        self.problem.clear();
        self.seen.begin_connection();
    }
}

impl Drop for SecondWitness {
    fn drop(&mut self) {
        self.following.abort();
    }
}

impl SecondWitness {
    /// Begins to follow the Spotlight of a platform.
    ///
    /// # Errors
    /// When it was started without Spotlight (exit code 69).
    pub async fn of(target: &Target) -> Result<Self> {
        let missing = || RuntimeError::Missing {
            what: "no second witness runs beside this platform".to_owned(),
            advice: "start it with ./pitboss up --spotlight".to_owned(),
        };
        let layout = target.layout().ok_or_else(missing)?;
        let status = Client::new(layout).status().await?;
        let url = status.part(NAME).map(|part| part.address.clone()).ok_or_else(missing)?;
        Self::at(url, target.recorder_url.clone())
    }

    /// Begins to follow the Spotlight at this URL, beside this recorder.
    fn at(url: String, recorder_url: String) -> Result<Self> {
        // Without a time limit for an answer, because the stream is one that never ends.
        let http = reqwest::Client::builder().no_proxy().connect_timeout(CONNECT_DEADLINE).build();
        let http = http.context("cannot build the HTTP client")?;
        let shared: Arc<Mutex<Shared>> = Arc::default();
        let following = telemetry::spawn(follow(http.clone(), format!("{url}/stream"), Arc::clone(&shared)));
        Ok(Self { url, recorder_url, http, arrives_within: ARRIVES_WITHIN, shared, following })
    }

    /// Compares what both witnesses have of these traces, again and again until they agree, at most for some seconds.
    ///
    /// # Errors
    /// When the recorder does not answer, which says nothing about the second witness.
    pub async fn testify(&self, trace_ids: &[String]) -> Result<Testimony> {
        let until = Instant::now() + self.arrives_within;
        loop {
            let mut testimony = Testimony::default();
            for trace_id in trace_ids {
                let held = Held::read(&self.recorded(trace_id).await?);
                let tree = self.tree_if_kept(trace_id).await;
                let seen = self.shared().seen.trace(trace_id).cloned().unwrap_or_default();
                testimony.add(trace_id, &held, &seen);
                match tree {
                    Ok(Some(tree)) => testimony.add_tree(trace_id, &held, &seen, &tree),
                    Ok(None) => {}
                    Err(error) => testimony.add_unread_tree(trace_id, &format!("{error:#}")),
                }
            }
            if testimony.agrees() {
                return Ok(testimony);
            }
            if Instant::now() >= until {
                // The reason comes before what it explains.
                let mut differences = self.explanation().await;
                differences.append(&mut testimony.differences);
                return Ok(Testimony { differences, ..testimony });
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// The tree of a trace as Spotlight's own view builds it, without a line if it has none. `None` if its buffer may have lost a part
    /// of the trace.
    async fn tree_if_kept(&self, trace_id: &str) -> Result<Option<Tree>> {
        if !self.keeps(trace_id) {
            return Ok(None);
        }
        let tree = self.tree(trace_id).await;
        // Envelopes may have arrived meanwhile, or the process may have ended.
        if !self.keeps(trace_id) {
            return Ok(None);
        }
        Ok(Some(tree?.unwrap_or_default()))
    }

    fn keeps(&self, trace_id: &str) -> bool {
        let shared = self.shared();
        shared.problem.is_empty() && shared.seen.is_kept(trace_id)
    }

    /// The tree of a trace as Spotlight's own view builds it, or `None` if it has none.
    ///
    /// # Errors
    /// When Spotlight does not answer.
    pub(crate) async fn tree(&self, trace_id: &str) -> Result<Option<Tree>> {
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": "get_traces", "arguments": {"traceId": trace_id}}});
        let request = self.http.post(format!("{}/mcp", self.url)).timeout(ANSWER_DEADLINE).json(&call);
        let request = request.header("accept", "application/json, text/event-stream");
        let answer = request.send().await.context("Spotlight does not answer")?.error_for_status()?;
        tree::read(&answer.bytes().await?)
    }

    /// Reasons that the second witness itself can have for a difference.
    async fn explanation(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if let Some(dropped) = self.dropped().await.filter(|dropped| *dropped > 0) {
            reasons.push(format!("the recorder dropped {dropped} copies: ./pitboss status"));
        }
        let problem = self.shared().problem.clone();
        if !problem.is_empty() {
            reasons.push(format!("the stream of Spotlight cannot be followed: {problem}"));
        }
        let unread = self.shared().seen.unread();
        if unread > 0 {
            reasons.push(format!("{unread} envelopes of its stream could not be read"));
        }
        reasons
    }

    /// A trace as the recorder has it. `Null` if it has nothing of it.
    async fn recorded(&self, trace_id: &str) -> Result<Value> {
        let url = format!("{}/api/v1/traces/{trace_id}", self.recorder_url);
        let answer = self.http.get(&url).timeout(ANSWER_DEADLINE).send().await;
        let answer = answer.with_context(|| format!("the recorder does not answer at {url}"))?;
        if answer.status() == reqwest::StatusCode::NOT_FOUND {
            return Ok(Value::Null);
        }
        Ok(answer.error_for_status()?.json().await?)
    }

    /// Copies for the second witness that the recorder dropped since it started.
    async fn dropped(&self) -> Option<u64> {
        let request = self.http.get(format!("{}/api/v1/status", self.recorder_url)).timeout(ANSWER_DEADLINE);
        let status: Value = request.send().await.ok()?.json().await.ok()?;
        let state = status.get("second_witness")?;
        let counts = ["dropped_queue_full", "dropped_rate_limited", "dropped_failed"];
        Some(counts.iter().filter_map(|name| state.get(*name)?.as_u64()).sum())
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    // Every statement leaves the value consistent, so a poisoned lock can be used.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Follows the stream forever. Each connection begins with the envelopes that Spotlight still has, so a short break loses nothing.
async fn follow(http: reqwest::Client, url: String, shared: Arc<Mutex<Shared>>) {
    loop {
        let ended = follow_once(&http, &url, &shared).await;
        let problem = ended.map_or_else(|error| format!("{error:#}"), |()| "it ended".to_owned());
        lock(&shared).problem = problem;
        tokio::time::sleep(RECONNECT_AFTER).await;
    }
}

async fn follow_once(http: &reqwest::Client, url: &str, shared: &Mutex<Shared>) -> Result<()> {
    let mut answer = http.get(url).send().await?.error_for_status()?;
    lock(shared).begin_connection();
    let mut reader = sse::Reader::default();
    while let Some(bytes) = answer.chunk().await? {
        let events = reader.read(&bytes);
        let mut shared = lock(shared);
        for event in events {
            shared.seen.note(&event);
        }
        shared.seen.note_too_long(reader.take_too_long());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::Router;
    use axum::body::Body;
    use axum::routing::{get, post};
    use futures::{StreamExt as _, stream};

    use super::*;

    const STREAM: &str = include_str!("second_witness/recorded/stream.sse");
    const TREE: &str = include_str!("second_witness/recorded/tree.sse");
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    /// The stream of a real Spotlight, which does not end.
    fn endless() -> Body {
        let envelopes = stream::once(async { Ok::<_, Infallible>(STREAM) });
        Body::from_stream(envelopes.chain(stream::pending()))
    }

    /// A Spotlight with the stream of a real one, which was read, and this tree, beside a recorder that answers this.
    async fn beside(recorded: Value, tree: &'static str) -> SecondWitness {
        // As `cli::main` does. Another test may have installed it before.
        drop(rustls::crypto::ring::default_provider().install_default());
        let state = json!({"dropped_queue_full": 3, "dropped_rate_limited": 0, "dropped_failed": 1});
        let status = json!({ "second_witness": state }).to_string();
        let routes = Router::new()
            .route("/stream", get(|| async { endless() }))
            .route("/mcp", post(move || async move { tree }))
            .route("/api/v1/traces/{trace_id}", get(move || async move { recorded.to_string() }))
            .route("/api/v1/status", get(move || async move { status }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(telemetry::spawn(async move { axum::serve(listener, routes).await }));
        let mut witness = SecondWitness::at(url.clone(), url).unwrap();
        // What has not arrived when the stream was read never will.
        witness.arrives_within = Duration::ZERO;
        let until = Instant::now() + Duration::from_secs(30);
        while witness.shared().seen.trace(TRACE).is_none_or(|trace| trace.spans.len() < 4) {
            assert!(Instant::now() < until, "{:?}", witness.shared());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        witness
    }

    /// The recorder's answer for that trace, with these spans.
    fn recorded(span_ids: &[&str]) -> Value {
        let spans: Vec<Value> = span_ids.iter().map(|id| json!({ "span_id": id })).collect();
        let errors = json!([{"event_id": "2ec79c33ec9942ab8353589fcb2e04dc"}]);
        json!({"spans": spans, "errors": errors, "truncated": false})
    }

    const SPANS: [&str; 4] = ["aaaaaaaa00000001", "bbbbbbbb00000002", "cccccccc00000003", "dddddddd00000004"];

    #[tokio::test]
    async fn witnesses_of_the_same_envelopes_agree() {
        let witness = beside(recorded(&SPANS), TREE).await;
        let testimony = witness.testify(&[TRACE.to_owned()]).await.unwrap();
        assert_eq!(testimony.text(), "the same 4 spans and 1 error in 1 trace, 4 in its tree");
        let of_nothing = witness.testify(&[]).await.unwrap();
        assert!(of_nothing.agrees() && of_nothing.traces == 0, "{of_nothing:?}");
    }

    #[tokio::test]
    async fn difference_names_the_span_and_dropped_copies() {
        let more = [&SPANS[..], &["eeeeeeee00000005"]].concat();
        let witness = beside(recorded(&more), TREE).await;
        let text = witness.testify(&[TRACE.to_owned()]).await.unwrap().text();
        assert!(text.contains("did not receive span eeeeeeee00000005"), "{text}");
        assert!(text.contains("the tree of Spotlight lacks span eeeeeeee00000005"), "{text}");
        assert!(text.starts_with("differs: the recorder dropped 4 copies"), "the reason first: {text}");
        let less = beside(recorded(&SPANS[..3]), TREE).await;
        let text = less.testify(&[TRACE.to_owned()]).await.unwrap().text();
        assert!(text.contains("the recorder does not have span dddddddd00000004"), "{text}");
    }

    #[tokio::test]
    async fn tree_that_cannot_be_read_is_a_difference() {
        let witness = beside(recorded(&SPANS), "no event").await;
        let text = witness.testify(&[TRACE.to_owned()]).await.unwrap().text();
        assert!(text.contains("; the tree of trace 0af7"), "{text}");
        assert!(text.contains("Spotlight's answer is no event"), "{text}");
    }
}
