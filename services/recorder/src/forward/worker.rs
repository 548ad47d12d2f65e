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
    copy::{self, Keys, Options, Prepared},
    form::Form,
    queue::{Queue, QueuedCopy},
    stats::{CopyStats, Losses},
    targets::Target,
    volume::Volume,
};
use crate::journal::Encoding;

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
    stats: Arc<CopyStats>,
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
        stats: Arc<CopyStats>,
        client: reqwest::Client,
        envelope_bytes_max: usize,
    ) -> Self {
        let limits = Arc::default();
        Self { target, keys, queue, stats, client, envelope_bytes_max, limits, report_idle: REPORT_IDLE }
    }

    /// Sends forever.
    pub(super) async fn run(self) {
        join_all((0..IN_FLIGHT_MAX).map(|number| self.send_loop(number > 0))).await;
    }

    /// Sends one request after another.
    async fn send_loop(&self, takes_rest: bool) {
        loop {
            match tokio::time::timeout(self.report_idle, self.queue.next(takes_rest)).await {
                Ok(copy) => self.send_copy(copy).await,
                Err(_) => self.report_losses().await,
            }
        }
    }

    async fn send_copy(&self, copy: QueuedCopy) {
        let form = Form::of_copy(&copy, &self.target);
        // An export cannot take a report along.
        let losses = if form.is_envelope() { self.stats.take_losses() } else { Losses::default() };
        let made = match self.prepare(&copy, losses.report()).await {
            Ok(made) => made,
            Err(reason) => {
                self.stats.restore_losses(losses);
                self.stats.record_loss(Reason::InternalSdkError, &copy.volumes);
                return self.stats.count_failed(None, &reason);
            }
        };
        if made.left_out_items > 0 {
            self.stats.count_left_out(made.left_out_items);
            self.stats.record_loss(Reason::RatelimitBackoff, &made.left_out);
        }
        let Some(body) = made.body else {
            self.stats.restore_losses(losses);
            return self.stats.count_rate_limited();
        };
        if self.send(body, &form, &made.sent, losses).await {
            self.stats.count_sent();
        }
    }

    /// Reports losses that no copy has taken along.
    async fn report_losses(&self) {
        if is_limited(&self.limits, None) {
            return;
        }
        let losses = self.stats.take_losses();
        if let Some(report) = losses.report() {
            let body = [&b"{}\n"[..], &report].concat();
            self.send(body, &Form::report(&self.target), &[], losses).await;
        }
    }

    async fn prepare(&self, copy: &QueuedCopy, report: Option<Vec<u8>>) -> Result<Prepared, String> {
        let (key, keys, bytes_max) =
            (self.target.dsn.key.clone(), self.keys.clone(), self.envelope_bytes_max);
        let (kind, encoding, body, limits) =
            (copy.kind, copy.encoding, copy.body.clone(), Arc::clone(&self.limits));
        let made = tokio::task::spawn_blocking(move || {
            let is_limited = |category| is_limited(&limits, category);
            let options = Options { key: &key, keys: &keys, bytes_max, is_limited: &is_limited, report };
            copy::for_target(kind, encoding, &body, options)
        });
        made.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    /// Sends a body that contains a report of these losses. Returns true when the target accepted it.
    async fn send(&self, body: Vec<u8>, form: &Form, volumes: &[Volume], losses: Losses) -> bool {
        let key = &self.target.dsn.key;
        let mut request = self
            .client
            .post(&form.endpoint)
            .header("x-sentry-auth", format!("Sentry sentry_key={key}, sentry_version=7"))
            .header("content-type", form.content_type);
        if form.encoding != Encoding::Identity {
            request = request.header("content-encoding", form.encoding.name());
        }
        let response = match request.body(body).send().await {
            Ok(response) => response,
            Err(error) => {
                self.stats.restore_losses(losses);
                self.stats.record_loss(Reason::NetworkError, volumes);
                self.stats.count_failed(None, &error_causes(&error));
                return false;
            }
        };
        let status = response.status();
        self.update_limits(status, response.headers());
        if status.is_success() {
            return true;
        }
        self.stats.restore_losses(losses);
        if status == StatusCode::TOO_MANY_REQUESTS {
            self.stats.record_loss(Reason::RatelimitedByServer, volumes);
            self.stats.count_rate_limited();
        } else {
            self.stats.record_loss(Reason::SendError, volumes);
            self.stats.count_failed(Some(status.as_u16()), &refusal_reason(status, response.headers()));
        }
        false
    }

    fn update_limits(&self, status: StatusCode, headers: &HeaderMap) {
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
fn refusal_reason(status: StatusCode, headers: &HeaderMap) -> String {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let text = if status.is_redirection() {
        header("location").map(|to| format!("redirects to {to} are not followed"))
    } else {
        header("x-sentry-error")
    };
    let text = text.unwrap_or_else(|| status.canonical_reason().unwrap_or("no reason given").to_owned());
    crate::protocol::fields::cut(text, REASON_BYTES_MAX)
}

/// Returns the causes of an error. The address is left out, because its query or user part may be a secret.
fn error_causes(error: &reqwest::Error) -> String {
    let mut causes = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    let problem = if error.is_timeout() { "did not answer in time" } else { "cannot be reached" };
    crate::protocol::fields::cut(format!("the target {problem}: {}", causes.join(": ")), REASON_BYTES_MAX)
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
        let (queue, stats) = (Arc::new(Queue::new(1_000)), Arc::new(CopyStats::new("game")));
        (Worker::new(target, keys, queue, stats, client().expect("a client"), 1_000), reports)
    }

    #[tokio::test]
    async fn losses_are_reported_after_an_idle_time() {
        let (worker, reports) = worker().await;
        let worker = Worker { report_idle: Duration::from_millis(10), ..worker };
        let stats = Arc::clone(&worker.stats);
        stats.record_loss(Reason::QueueOverflow, &LOST);
        let report = testkit::eventually("a report", Duration::from_secs(60), || async {
            reports.lock().expect("whole").first().cloned()
        });
        let report = tokio::select! {
            () = worker.run() => panic!("the worker never returns"),
            report = report => report,
        };
        let expected = serde_json::json!([{"reason": "queue_overflow", "category": "error", "quantity": 3}]);
        assert_eq!(report["discarded_events"], expected);
        assert!(stats.take_losses().report().is_none(), "losses are reported once");
    }

    #[tokio::test]
    async fn no_report_is_sent_under_a_global_limit() {
        let (worker, reports) = worker().await;
        let wait = HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_static("600"))]);
        worker.update_limits(StatusCode::TOO_MANY_REQUESTS, &wait);
        worker.stats.record_loss(Reason::QueueOverflow, &LOST);
        worker.report_losses().await;
        assert!(reports.lock().expect("whole").is_empty());
        assert!(worker.stats.take_losses().report().is_some(), "it is reported after the limit has ended");
    }
}
