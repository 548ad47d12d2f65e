//! Runs a process after start-up: spawns its parts, waits for a reason to end, and drains in order.
//!
//! It guarantees the order. Readiness goes off first, so that no new requests are sent here. The listeners stop accepting and
//! HTTP drains. Requests in flight still get their answer, because the consumers are running. Then the consumers finish what they
//! hold, commit and stop, and the producer is flushed. [`crate::main`] flushes telemetry last, because all of this is traced.

use std::{error::Error, future::Future, pin::Pin, time::Duration};

use axum::Router;
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Edges, Failure, Readiness, Shutdown,
    config::{Http, ServiceConfig},
    http, ops,
};

/// Divisor of the drain time: the last fifth is reserved for flushing, however long the earlier phases take.
const FLUSH_SHARE: u32 = 5;

type BoxError = Box<dyn Error + Send + Sync>;
type Ended = (&'static str, bool, Result<(), BoxError>);
type Flush = Box<dyn FnOnce(Duration) -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>> + Send>;

/// The life of one process. It is created early, so that `/livez` answers during start-up.
pub struct Life {
    readiness: Readiness,
    shutdown: Shutdown,
    http: Http,
    listener: Option<TcpListener>,
    drain_deadline: Duration,
    stop_accepting: CancellationToken,
    stop_consuming: CancellationToken,
    stop_ops: CancellationToken,
    servers: JoinSet<Ended>,
    consumers: JoinSet<Ended>,
    ops: JoinSet<()>,
    flushes: Vec<(&'static str, Flush)>,
}

impl std::fmt::Debug for Life {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Life").field("readiness", &self.readiness).finish_non_exhaustive()
    }
}

impl Life {
    /// Starts the ops listener. From then on the process is alive, but not ready.
    #[must_use]
    pub fn start<C: ServiceConfig>(edges: Edges, config: &C, shutdown: Shutdown) -> Self {
        let Edges { http, ops: ops_listener, more: _ } = edges;
        let readiness = Readiness::default();
        let stop_ops = CancellationToken::new();
        let mut ops = JoinSet::new();
        let router = ops::router(readiness.clone(), crate::process::identity());
        let ops_http = Http {
            connections_max: ops::CONNECTIONS_MAX,
            hosts: config.http().hosts.clone(),
            ..Http::at(config.ops().address)
        };
        let serving = http::serve(ops_listener, router, ops_http, stop_ops.clone());
        ops.spawn(telemetry::with_hub(async move {
            if let Err(error) = serving.await {
                tracing::error!(error = %error, "the ops listener ended");
            }
        }));
        Self {
            readiness,
            shutdown,
            http: config.http().clone(),
            listener: Some(http),
            drain_deadline: config.drain().deadline(),
            stop_accepting: CancellationToken::new(),
            stop_consuming: CancellationToken::new(),
            stop_ops,
            servers: JoinSet::new(),
            consumers: JoinSet::new(),
            ops,
            flushes: Vec::new(),
        }
    }

    /// Readiness, where parts register themselves.
    #[must_use]
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// Shutdown signal, for slow start-up code.
    #[must_use]
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// Serves the service's own interface (wrap its routes with [`http::router`] first). A second call does nothing.
    pub fn serve(&mut self, router: Router) {
        if let Some(listener) = self.listener.take() {
            let http = self.http.clone();
            self.serve_on("http", listener, router, http);
        }
    }

    /// Serves a further interface on a separate listener ([`Edges::take`] it before the start). The process's host names
    /// (`http.hosts`) hold there, too.
    pub fn serve_on(&mut self, name: &'static str, listener: TcpListener, router: Router, http: Http) {
        let http = Http { hosts: http.hosts.and(&self.http.hosts), ..http };
        let stop = self.stop_accepting.clone();
        self.serve_with(name, move |_| async move { http::serve(listener, router, http, stop).await });
    }

    /// Runs any server. It must stop accepting when its token is cancelled, and return when it has drained.
    pub fn serve_with<F, E>(&mut self, name: &'static str, serve: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + Send + 'static,
    {
        let serving = serve(self.stop_accepting.clone());
        let ended = async move { (name, true, serving.await.map_err(Into::into)) };
        self.servers.spawn(telemetry::with_hub(ended));
    }

    /// Runs a consumer. It must finish what it holds and return when its token is cancelled. An earlier return is a failure.
    pub fn consume<F, E>(&mut self, name: &'static str, consume: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + Send + 'static,
    {
        let consuming = consume(self.stop_consuming.clone());
        let ended = async move { (name, true, consuming.await.map_err(Into::into)) };
        self.consumers.spawn(telemetry::with_hub(ended));
    }

    /// Runs work beside the consumers (a sweeper, a start-up job). It is stopped together with them and may return earlier.
    pub fn background<F, E>(&mut self, name: &'static str, work: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + Send + 'static,
    {
        let working = work(self.stop_consuming.clone());
        let ended = async move { (name, false, working.await.map_err(Into::into)) };
        self.consumers.spawn(telemetry::with_hub(ended));
    }

    /// Registers a flush for after the consumers. It gets the remaining time: `life.on_flush("producer", …)`.
    pub fn on_flush<F, E>(&mut self, name: &'static str, flush: impl FnOnce(Duration) -> F + Send + 'static)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + Send + 'static,
    {
        let boxed: Flush = Box::new(move |within| {
            let flushing = flush(within);
            Box::pin(async move { flushing.await.map_err(Into::into) })
        });
        self.flushes.push((name, boxed));
    }

    /// Runs until shutdown is requested or a part fails, then drains.
    ///
    /// # Errors
    /// The part that failed, or the parts that did not drain in time.
    pub async fn run(mut self) -> Result<(), Failure> {
        self.readiness.started();
        let cause = self.reason_to_end().await;
        self.readiness.draining();
        let drained = self.drain().await;
        self.stop_ops.cancel();
        self.ops.abort_all();
        cause.and(drained)
    }

    /// Waits for a signal (`Ok`) or for a part that ended without a request.
    async fn reason_to_end(&mut self) -> Result<(), Failure> {
        loop {
            let joined = tokio::select! {
                () = self.shutdown.requested() => return Ok(()),
                Some(joined) = self.servers.join_next() => joined,
                Some(joined) = self.consumers.join_next() => joined,
            };
            let (name, must_last, result) = joined.map_err(|panic| part_failed("a part", panic))?;
            match result {
                Err(error) => return Err(part_failed(name, error)),
                Ok(()) if must_last => return Err(part_failed(name, "it ended without being told to")),
                Ok(()) => tracing::debug!(part = name, "a background part is done"),
            }
        }
    }

    async fn drain(&mut self) -> Result<(), Failure> {
        let begun = Instant::now();
        let end = begun + self.drain_deadline;
        let before_flush = end - self.drain_deadline / FLUSH_SHARE;
        let mut late = Vec::new();
        self.stop_accepting.cancel();
        finish(&mut self.servers, before_flush, "http", &mut late).await;
        self.stop_consuming.cancel();
        finish(&mut self.consumers, before_flush, "consumers", &mut late).await;
        for (name, flush) in std::mem::take(&mut self.flushes) {
            let left = end.saturating_duration_since(Instant::now());
            match timeout_at(end, flush(left)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => late.push(format!("{name}: {error}")),
                Err(_) => late.push(format!("{name}: not flushed in time")),
            }
        }
        let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        if late.is_empty() {
            tracing::info!(took_ms, "drained");
            return Ok(());
        }
        tracing::warn!(took_ms, late = late.join("; "), "ended without having drained all");
        Err(Failure::failed(format!("not drained within the deadline: {}", late.join("; "))))
    }
}

/// Waits for all parts of one phase. At the deadline it aborts the rest and adds the phase to `late`.
async fn finish(parts: &mut JoinSet<Ended>, deadline: Instant, phase: &str, late: &mut Vec<String>) {
    loop {
        match timeout_at(deadline, parts.join_next()).await {
            Ok(None) => return,
            Ok(Some(Ok((_, _, Ok(()))))) => {}
            Ok(Some(Ok((name, _, Err(error))))) => late.push(format!("{name}: {error}")),
            Ok(Some(Err(panic))) => late.push(format!("{phase}: {panic}")),
            Err(_) => {
                late.push(format!("{phase}: not drained in time"));
                parts.shutdown().await;
                return;
            }
        }
    }
}

fn part_failed(name: &str, error: impl Into<BoxError>) -> Failure {
    Failure::failed(PartFailed { name: name.to_owned(), source: error.into() })
}

/// A part that the process needs has ended.
#[derive(Debug, thiserror::Error)]
#[error("{name} failed: {source}")]
struct PartFailed {
    name: String,
    source: BoxError,
}
