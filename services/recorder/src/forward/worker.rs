//! Sends the copies of one project, a few at a time.

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use http::{HeaderMap, StatusCode};
use telemetry::{Category, Reason, transport::RateLimits};

use super::{
    Copy, Target, Volume,
    copy::{self, Keys, Made, Recipe},
    lane::{Lane, Losses},
    queue::Queue,
};

/// Largest number of requests of one project in flight. One is reserved for the first class of the queue.
const IN_FLIGHT_MAX: usize = 4;
/// Time-out of a request, after which the copy is lost.
const SEND_DEADLINE: Duration = Duration::from_secs(10);
/// Idle time after which a sender reports losses that no copy has taken along.
const REPORT_IDLE: Duration = Duration::from_secs(30);
/// Largest part of the target's error text that is shown.
const REASON_BYTES_MAX: usize = 200;

/// Creates the shared HTTP client. It follows no redirect, because one would send envelopes and the key to any host.
pub(super) fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .timeout(SEND_DEADLINE)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent("pitboss-recorder")
        .build()
}

#[derive(Debug)]
pub(super) struct Worker {
    target: Target,
    keys: Keys,
    queue: Arc<Queue>,
    lane: Arc<Lane>,
    client: reqwest::Client,
    envelope_bytes_max: usize,
    limits: Arc<std::sync::Mutex<RateLimits>>,
    report_idle: Duration,
}

impl Worker {
    pub(super) fn new(
        target: Target,
        keys: Keys,
        queue: Arc<Queue>,
        lane: Arc<Lane>,
        client: reqwest::Client,
        envelope_bytes_max: usize,
    ) -> Self {
        let limits = Arc::default();
        Self { target, keys, queue, lane, client, envelope_bytes_max, limits, report_idle: REPORT_IDLE }
    }

    /// Sends forever.
    pub(super) async fn run(self) {
        join_all((0..IN_FLIGHT_MAX).map(|number| self.send_each(number > 0))).await;
    }

    /// Sends one request after another.
    async fn send_each(&self, takes_rest: bool) {
        loop {
            match tokio::time::timeout(self.report_idle, self.queue.next(takes_rest)).await {
                Ok(copy) => self.copy(copy).await,
                Err(_) => self.report().await,
            }
        }
    }

    async fn copy(&self, copy: Copy) {
        let losses = self.lane.take_losses();
        let made = match self.make(&copy, losses.report()).await {
            Ok(made) => made,
            Err(reason) => {
                self.lane.give_back(losses);
                self.lane.lose(Reason::InternalSdkError, &copy.volumes);
                return self.lane.count_failed(None, &reason);
            }
        };
        if made.left_out_items > 0 {
            self.lane.count_left_out(made.left_out_items);
            self.lane.lose(Reason::RatelimitBackoff, &made.left_out);
        }
        let Some(body) = made.body else {
            self.lane.give_back(losses);
            return self.lane.count_rate_limited();
        };
        if self.send(body, "gzip", &made.sent, losses).await {
            self.lane.count_sent();
        }
    }

    /// Reports losses that no copy has taken along.
    async fn report(&self) {
        if is_limited(&self.limits, None) {
            return;
        }
        let losses = self.lane.take_losses();
        if let Some(report) = losses.report() {
            let body = [&b"{}\n"[..], &report].concat();
            self.send(body, "identity", &[], losses).await;
        }
    }

    async fn make(&self, copy: &Copy, report: Option<Vec<u8>>) -> Result<Made, String> {
        let (key, keys, bytes_max) =
            (self.target.dsn.key.clone(), self.keys.clone(), self.envelope_bytes_max);
        let (kind, encoding, body, limits) =
            (copy.kind, copy.encoding, copy.body.clone(), Arc::clone(&self.limits));
        let made = tokio::task::spawn_blocking(move || {
            let is_limited = |category| is_limited(&limits, category);
            let recipe = Recipe { key: &key, keys: &keys, bytes_max, is_limited: &is_limited, report };
            copy::for_target(kind, encoding, &body, recipe)
        });
        made.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    /// Sends an envelope that contains a report of these losses. Returns true when the target accepted it.
    async fn send(&self, body: Vec<u8>, encoding: &'static str, volumes: &[Volume], losses: Losses) -> bool {
        let key = &self.target.dsn.key;
        let mut request = self
            .client
            .post(&self.target.dsn.endpoint)
            .header("x-sentry-auth", format!("Sentry sentry_key={key}, sentry_version=7"))
            .header("content-type", "application/x-sentry-envelope");
        if encoding != "identity" {
            request = request.header("content-encoding", encoding);
        }
        let answer = match request.body(body).send().await {
            Ok(answer) => answer,
            Err(error) => {
                self.lane.give_back(losses);
                self.lane.lose(Reason::NetworkError, volumes);
                self.lane.count_failed(None, &story(&error));
                return false;
            }
        };
        let status = answer.status();
        self.learn(status, answer.headers());
        if status.is_success() {
            return true;
        }
        self.lane.give_back(losses);
        if status == StatusCode::TOO_MANY_REQUESTS {
            self.lane.lose(Reason::RatelimitedByServer, volumes);
            self.lane.count_rate_limited();
        } else {
            self.lane.lose(Reason::SendError, volumes);
            self.lane.count_failed(Some(status.as_u16()), &said(status, answer.headers()));
        }
        false
    }

    fn learn(&self, status: StatusCode, headers: &HeaderMap) {
        let mut limits = self.limits.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        limits.learn(status, headers, Instant::now());
    }
}

/// Returns true when a category is limited now. No limit names items without a category (client reports), so only a limit
/// on everything holds them back.
fn is_limited(limits: &std::sync::Mutex<RateLimits>, category: Option<Category>) -> bool {
    let limits = limits.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let now = Instant::now();
    match category {
        Some(category) => limits.is_limited(category, now),
        None => Category::ALL.iter().all(|category| limits.is_limited(*category, now)),
    }
}

/// Returns the target's reason for an error status.
fn said(status: StatusCode, headers: &HeaderMap) -> String {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let text = if status.is_redirection() {
        header("location").map(|to| format!("it points to {to}, and copies follow no redirect"))
    } else {
        header("x-sentry-error")
    };
    let text = text.unwrap_or_else(|| status.canonical_reason().unwrap_or("no reason given").to_owned());
    crate::protocol::fields::cut(text, REASON_BYTES_MAX)
}

/// Returns the causes of an error. The address is left out, because its query or user part may be a secret.
fn story(error: &reqwest::Error) -> String {
    let mut causes = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    let kind = if error.is_timeout() { "not answered in time" } else { "cannot be reached" };
    crate::protocol::fields::cut(format!("{kind}: {}", causes.join(": ")), REASON_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use axum::{Router, body::Bytes};
    use http::{HeaderValue, header};
    use serde_json::Value;

    use super::*;
    use crate::{projects::Projects, protocol::auth::Dsn};

    const LOST: [Volume; 1] = [Volume { category: Category::Error, quantity: 3 }];

    /// Returns a worker whose target accepts everything, and the reports that arrive there.
    async fn worker() -> (Worker, Arc<Mutex<Vec<Value>>>) {
        // Another test in this process may have installed a provider already.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let dsn = format!("http://theirs@{}/7", listener.local_addr().expect("an address"));
        let reports: Arc<Mutex<Vec<Value>>> = Arc::default();
        let got = Arc::clone(&reports);
        let routes = Router::new().fallback(move |body: Bytes| {
            let text = String::from_utf8_lossy(&body).into_owned();
            let report = serde_json::from_str(text.lines().next_back().expect("a line")).expect("JSON");
            got.lock().expect("whole").push(report);
            async { StatusCode::OK }
        });
        telemetry::spawn(async move { axum::serve(listener, routes).await });
        let target = Target { project: 1, name: "game".to_owned(), dsn: Dsn::parse(&dsn).expect("a DSN") };
        let keys = Keys::new(&Projects::new(Vec::new()).expect("projects"), &[]);
        let (queue, lane) = (Arc::new(Queue::new(1_000)), Arc::new(Lane::new("game")));
        (Worker::new(target, keys, queue, lane, client().expect("a client"), 1_000), reports)
    }

    #[tokio::test]
    async fn losses_that_no_copy_takes_along_are_told_after_a_while() {
        let (worker, reports) = worker().await;
        let worker = Worker { report_idle: Duration::from_millis(10), ..worker };
        let lane = Arc::clone(&worker.lane);
        lane.lose(Reason::QueueOverflow, &LOST);
        let told = testkit::eventually("a report", Duration::from_secs(20), || async {
            reports.lock().expect("whole").first().cloned()
        });
        let told = tokio::select! {
            () = worker.run() => panic!("it sends for ever"),
            told = told => told,
        };
        let expected = serde_json::json!([{"reason": "queue_overflow", "category": "error", "quantity": 3}]);
        assert_eq!(told["discarded_events"], expected);
        assert!(lane.take_losses().report().is_none(), "once");
    }

    #[tokio::test]
    async fn no_report_is_sent_under_a_limit_of_everything() {
        let (worker, reports) = worker().await;
        let wait = HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_static("600"))]);
        worker.learn(StatusCode::TOO_MANY_REQUESTS, &wait);
        worker.lane.lose(Reason::QueueOverflow, &LOST);
        worker.report().await;
        assert!(reports.lock().expect("whole").is_empty());
        assert!(worker.lane.take_losses().report().is_some(), "it is told when the limit has ended");
    }
}
