//! A Sentry with scripted responses, and a recorder that forwards to it.

use std::{
    collections::VecDeque,
    io::Read as _,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, response::IntoResponse as _};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{Recorder, lines};

/// Envelope with an error.
pub(crate) const ENVELOPE: &str = "{\"event_id\":\"9ec79c33ec9942ab8353589fcb2e04dc\",\"trace\":{\"public_key\":\"ours\"}}\n{\"type\":\"event\"}\n{\"message\":\"x\"}\n";

/// Status and headers.
pub(crate) type Reply = (u16, Vec<(&'static str, String)>);

/// Responses in order, of which the last is repeated, and the received envelopes as one list of lines each.
#[derive(Clone, Default)]
pub(crate) struct Stub {
    script: Arc<Mutex<VecDeque<Reply>>>,
    pub(crate) got: Arc<Mutex<Vec<Vec<Value>>>>,
}

impl Stub {
    /// Starts a stub. Also returns its host and port.
    pub(crate) async fn start(script: Vec<Reply>) -> (Self, String) {
        Self::start_after(0, script).await
    }

    /// Starts a stub that closes this many connections before it answers any.
    pub(crate) async fn start_after(dropped_connections: usize, script: Vec<Reply>) -> (Self, String) {
        let stub = Self { script: Arc::new(Mutex::new(script.into())), got: Arc::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let host = listener.local_addr().expect("an address").to_string();
        let serving = stub.clone();
        let routes = Router::new().fallback(move |body: Bytes| {
            let serving = serving.clone();
            async move { serving.respond(&body) }
        });
        telemetry::spawn(async move {
            for _ in 0..dropped_connections {
                drop(listener.accept().await.expect("a connection"));
            }
            axum::serve(listener, routes).await
        });
        (stub, host)
    }

    fn respond(&self, body: &[u8]) -> axum::response::Response {
        let mut text = String::new();
        if flate2::read::GzDecoder::new(body).read_to_string(&mut text).is_err() {
            text = String::from_utf8_lossy(body).into_owned();
        }
        self.got.lock().expect("whole").push(lines(&text));
        let mut script = self.script.lock().expect("whole");
        let next = if script.len() > 1 { script.pop_front() } else { script.front().cloned() };
        let (status, headers) = next.expect("a response");
        let mut response = StatusCode::from_u16(status).expect("a status").into_response();
        for (name, value) in headers {
            response.headers_mut().insert(name, value.parse().expect("a header"));
        }
        response
    }

    /// Returns the types of the items of each received envelope.
    pub(crate) fn types(&self) -> Vec<Vec<String>> {
        let types = |lines: &Vec<Value>| {
            lines.iter().filter_map(|line| line["type"].as_str().map(str::to_owned)).collect()
        };
        self.got.lock().expect("whole").iter().map(types).collect()
    }

    /// Returns the losses that each received envelope reports, by category and reason.
    pub(crate) fn reported_losses(&self) -> Vec<Value> {
        let reported = |lines: &Vec<Value>| {
            let mut losses = json!({});
            for loss in lines.iter().filter_map(|line| line["discarded_events"].as_array()).flatten() {
                let [category, reason] =
                    ["category", "reason"].map(|name| loss[name].as_str().expect("a name"));
                losses[category][reason] = loss["quantity"].clone();
            }
            losses
        };
        self.got.lock().expect("whole").iter().map(reported).collect()
    }
}

/// Starts a recorder that forwards the envelopes of project 3.
pub(crate) async fn forwarding_to(host: &str) -> Recorder {
    let dsn = format!("http://theirs@{host}/7");
    Recorder::start(&[("PITBOSS__FORWARD__GAME", &dsn)]).await
}

/// Returns the forwarding state of the first forwarded project.
pub(crate) async fn forward(recorder: &Recorder) -> Value {
    let mut status: Value = recorder.get("/api/v1/status").await.json().await.expect("JSON");
    status["forward"][0].take()
}

/// Waits until one of its counts reaches this value.
pub(crate) async fn wait_for_count(recorder: &Recorder, field: &str, count: u64) {
    testkit::eventually(field, Duration::from_secs(60), || async {
        (forward(recorder).await[field].as_u64() >= Some(count)).then_some(())
    })
    .await;
}
