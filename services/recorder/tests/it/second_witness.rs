//! Copies for a second witness: all projects, in the form that Spotlight reads, and never in the way of ingestion.

use std::{
    io::Read as _,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, http::HeaderMap};
use serde_json::Value;

use crate::{
    stub::ENVELOPE,
    support::{Recorder, lines},
};

const SETTING: &str = "PITBOSS__RECORDER__SECOND_WITNESS";

/// Content type and lines of an envelope.
type Received = (String, Vec<Value>);

/// A witness that keeps what it receives.
#[derive(Clone, Default)]
struct Witness(Arc<Mutex<Vec<Received>>>);

impl Witness {
    /// Starts it. Also returns its address.
    async fn start() -> (Self, String) {
        let witness = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let receiving = witness.clone();
        let routes = Router::new().fallback(move |headers: HeaderMap, body: Bytes| {
            let receiving = receiving.clone();
            async move { receiving.receive(&headers, &body) }
        });
        telemetry::spawn(async move { axum::serve(listener, routes).await });
        (witness, address)
    }

    fn receive(&self, headers: &HeaderMap, body: &[u8]) {
        let mut text = String::new();
        flate2::read::GzDecoder::new(body).read_to_string(&mut text).expect("gzip");
        let content_type = headers["content-type"].to_str().expect("text").to_owned();
        self.0.lock().expect("whole").push((content_type, lines(&text)));
    }

    fn received(&self) -> Vec<Received> {
        self.0.lock().expect("whole").clone()
    }
}

/// Returns the state of the copies for the second witness.
async fn state(recorder: &Recorder) -> Value {
    let mut status: Value = recorder.get("/api/v1/status").await.json().await.expect("JSON");
    status["second_witness"].take()
}

async fn wait_for(recorder: &Recorder, field: &str, count: u64) {
    testkit::eventually(field, Duration::from_secs(60), || async {
        (state(recorder).await[field].as_u64() >= Some(count)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_project_is_copied_as_it_was_sent() {
    let (witness, address) = Witness::start().await;
    let recorder = Recorder::start(&[(SETTING, &address)]).await;
    for project in [1, 3] {
        recorder.store(project, ENVELOPE).await;
    }
    wait_for(&recorder, "sent", 2).await;
    let received = witness.received();
    assert_eq!(received.len(), 2);
    for (content_type, envelope) in received {
        assert_eq!(content_type, "application/x-sentry-envelope", "Spotlight drops everything else");
        assert_eq!(envelope, lines(ENVELOPE), "nothing is replaced");
    }
    assert_eq!(state(&recorder).await["project"], "second-witness");
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_witness_is_shown_and_keeps_nobody_waiting() {
    // Bound but not listening: no other process gets the port, and connections are refused.
    let refusing = tokio::net::TcpSocket::new_v4().expect("a socket");
    refusing.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let address = refusing.local_addr().expect("an address").to_string();
    let recorder = Recorder::start(&[(SETTING, &address)]).await;
    for _ in 0..20 {
        recorder.store(3, ENVELOPE).await;
    }
    wait_for(&recorder, "dropped_failed", 20).await;
    assert_eq!(recorder.lines("/api/v1/envelopes").await.len(), 20);
    assert_eq!(state(&recorder).await["dropped"]["error"]["network_error"], 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_setting_there_is_no_witness() {
    let recorder = Recorder::start(&[]).await;
    assert_eq!(state(&recorder).await, Value::Null);
}
