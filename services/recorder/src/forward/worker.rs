//! Sends the copies of one project, a few at a time.

use std::{
    error::Error,
    io::{self, Read as _},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use http::{HeaderMap, StatusCode};
use telemetry::{Category, Reason, transport::RateLimits};
use tokio::sync::Semaphore;

use super::{
    copy::{self, CopyError, Keys, Options, Prepared},
    form::Form,
    large::{LargeCopy, Plan},
    queue::{Queue, QueuedCopy},
    stats::{CopyStats, Losses},
    targets::Target,
    volume::Volume,
};
use crate::{
    body,
    journal::{Body, BodyKind, Encoding},
};

/// Largest number of requests of one project in flight. One is reserved for the first class of the queue.
const IN_FLIGHT_MAX: usize = 4;
/// Idle time after which a sender reports losses that no copy has taken along.
const REPORT_IDLE: Duration = Duration::from_secs(30);
/// Largest part of the target's error text that is shown.
const REASON_BYTES_MAX: usize = 200;

/// Creates the shared HTTP client.
pub(super) fn client() -> Result<reqwest::Client, reqwest::Error> {
    builder().build()
}

/// Creates the HTTP client for a target on this machine, which no proxy of the environment leads to.
pub(super) fn local_client() -> Result<reqwest::Client, reqwest::Error> {
    builder().no_proxy().build()
}

/// It follows no redirect, because one would send envelopes and the key to any host.
fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).user_agent("pitboss-recorder")
}

#[derive(Debug)]
pub(super) struct Worker {
    target: Target,
    keys: Keys,
    queue: Arc<Queue>,
    stats: Arc<CopyStats>,
    client: reqwest::Client,
    body_limits: body::Limits,
    /// Permit for the one large copy of all projects that is in progress.
    large: Arc<Semaphore>,
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
        body_limits: body::Limits,
        large: Arc<Semaphore>,
    ) -> Self {
        let (limits, report_idle) = (Arc::default(), REPORT_IDLE);
        Self { target, keys, queue, stats, client, body_limits, large, limits, report_idle }
    }

    /// Sends forever.
    pub(super) async fn run(self) {
        let sending = join_all((0..IN_FLIGHT_MAX).map(|number| self.send_loop(number > 0)));
        futures::join!(sending, self.send_large_loop());
    }

    /// Sends the copies in files, one of all projects at a time.
    async fn send_large_loop(&self) {
        loop {
            let copy = self.queue.next_large().await;
            // Nothing closes it.
            let Ok(permit) = self.large.acquire().await else { return };
            match copy.kind {
                BodyKind::Envelope => self.send_large(copy.encoding, &copy.body, &copy.volumes).await,
                _ => self.send_whole(copy).await,
            }
            drop(permit);
        }
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
        let form = Form::of_copy(copy.kind, copy.encoding, copy.body.len() as u64, &self.target);
        // An export cannot take a report along.
        let losses = if form.is_envelope() { self.stats.take_losses() } else { Losses::default() };
        let made = match self.prepare(&copy, losses.report()).await {
            Ok(made) => made,
            // It was small only because it is compressed.
            Err(error) if error.is_too_large() && copy.kind == BodyKind::Envelope => {
                self.stats.restore_losses(losses);
                let Ok(permit) = self.large.acquire().await else { return };
                self.send_large(copy.encoding, &Body::Memory(copy.body), &copy.volumes).await;
                return drop(permit);
            }
            Err(error) => return self.count_unmade(losses, &copy.volumes, &error.to_string()),
        };
        self.count_left_out(made.left_out_items, &made.left_out);
        let Some(body) = made.body else {
            self.stats.restore_losses(losses);
            return self.stats.count_rate_limited();
        };
        if self.send(body, &form, &made.sent, losses).await {
            self.stats.count_sent();
        }
    }

    /// Sends a body in a file that is not an envelope. Such a body is short enough to be read into memory.
    async fn send_whole(&self, copy: LargeCopy) {
        let LargeCopy { kind, encoding, body, volumes, .. } = copy;
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = Vec::new();
            body.reader().read_to_end(&mut bytes).map(|_| bytes)
        });
        let read = read.await.map_err(io::Error::other).flatten();
        match read.map_err(|error| error.to_string()) {
            Ok(bytes) => self.send_copy(QueuedCopy { kind, encoding, body: bytes.into(), volumes }).await,
            Err(reason) => self.count_unmade(Losses::default(), &volumes, &reason),
        }
    }

    /// Counts a copy that could not be made. The next one takes the report along.
    fn count_unmade(&self, losses: Losses, volumes: &[Volume], reason: &str) {
        self.stats.restore_losses(losses);
        self.stats.record_loss(Reason::InternalSdkError, volumes);
        self.stats.count_failed(None, reason);
    }

    fn count_left_out(&self, items: u64, volumes: &[Volume]) {
        if items > 0 {
            self.stats.count_left_out(items);
            self.stats.record_loss(Reason::RatelimitBackoff, volumes);
        }
    }

    /// Sends an envelope that does not fit into memory, piece by piece.
    async fn send_large(&self, encoding: Encoding, body: &Body, volumes: &[Volume]) {
        let losses = self.stats.take_losses();
        let plan = match self.plan(encoding, body.clone(), losses.report()).await {
            Ok(plan) => plan,
            Err(error) => return self.count_unmade(losses, volumes, &error.to_string()),
        };
        self.count_left_out(plan.selection.left_out_items, &plan.selection.left_out);
        if plan.selection.is_empty {
            self.stats.restore_losses(losses);
            return self.stats.count_rate_limited();
        }
        let sent = plan.selection.sent.clone();
        let bytes = sent.iter().map(|volume| volume.quantity).sum::<u64>().max(body.bytes());
        let form = Form::of_copy(BodyKind::Envelope, encoding, bytes, &self.target);
        if self.send(plan.into_body(encoding, body.clone()), &form, &sent, losses).await {
            self.stats.count_sent();
        }
    }

    async fn plan(&self, encoding: Encoding, body: Body, report: Option<Vec<u8>>) -> Result<Plan, CopyError> {
        let (key, keys, body_limits) = (self.target.dsn.key.clone(), self.keys.clone(), self.body_limits);
        let limits = Arc::clone(&self.limits);
        let planned = tokio::task::spawn_blocking(move || {
            let is_limited = |category| is_limited(&limits, category);
            let bytes_max = body_limits.memory_bytes_max;
            let options = Options { key: &key, keys: &keys, bytes_max, is_limited: &is_limited, report };
            Plan::new(encoding, &body, body_limits, options)
        });
        planned.await.map_err(io::Error::other)?
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

    async fn prepare(&self, copy: &QueuedCopy, report: Option<Vec<u8>>) -> Result<Prepared, CopyError> {
        let (key, keys, bytes_max) =
            (self.target.dsn.key.clone(), self.keys.clone(), self.body_limits.memory_bytes_max);
        let (kind, encoding, body, limits) =
            (copy.kind, copy.encoding, copy.body.clone(), Arc::clone(&self.limits));
        let made = tokio::task::spawn_blocking(move || {
            let is_limited = |category| is_limited(&limits, category);
            let options = Options { key: &key, keys: &keys, bytes_max, is_limited: &is_limited, report };
            copy::for_target(kind, encoding, &body, options)
        });
        made.await.map_err(io::Error::other)?
    }

    /// Sends a body that contains a report of these losses. Returns true when the target accepted it.
    async fn send(
        &self,
        body: impl Into<reqwest::Body>,
        form: &Form,
        volumes: &[Volume],
        losses: Losses,
    ) -> bool {
        let key = &self.target.dsn.key;
        let mut request = self
            .client
            .post(&form.endpoint)
            .timeout(form.deadline)
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
        let (client, limits) = (
            client().expect("a client"),
            body::Limits { envelope_bytes_max: 1_000, memory_bytes_max: 1_000 },
        );
        (Worker::new(target, keys, queue, stats, client, limits, Arc::new(Semaphore::new(1))), reports)
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
    async fn copy_that_cannot_be_made_keeps_losses_for_the_next_report() {
        let (worker, reports) = worker().await;
        worker.stats.record_loss(Reason::QueueOverflow, &LOST);
        let body = format!("{{}}\n{{\"type\":\"attachment\",\"length\":2000}}\n{}", "a".repeat(2_000));
        let volumes = vec![Volume { category: Category::Attachment, quantity: 2_000 }];
        let (kind, encoding) = (BodyKind::Envelope, Encoding::Identity);
        worker.send_copy(QueuedCopy { kind, encoding, body: body.into(), volumes }).await;
        assert_eq!(worker.stats.state().dropped_failed, 1, "it is larger than any envelope may be");
        worker.report_losses().await;
        let report = reports.lock().expect("whole").pop().expect("a report");
        let expected = serde_json::json!([
            {"reason": "internal_sdk_error", "category": "attachment", "quantity": 2_000},
            {"reason": "queue_overflow", "category": "error", "quantity": 3},
        ]);
        assert_eq!(report["discarded_events"], expected);
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
