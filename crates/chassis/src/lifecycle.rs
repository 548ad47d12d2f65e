//! Runs a process: prepares what it needs, spawns its parts, waits for a reason to end, and drains in order.
//!
//! It guarantees the order. Readiness goes off first, so that no new requests are sent here. The listeners stop accepting and
//! HTTP drains. Requests in flight still get their answer, because the consumers are running. Then the consumers finish what they
//! hold, commit and stop, and the producer is flushed. [`crate::main`] flushes telemetry last, because all of this is traced.

use std::{convert::Infallible, error::Error, future::Future, pin::Pin, time::Duration};

use ::faults::Faults;
use axum::Router;
use contracts::{Classify, ErrorClass, Part, topics::Group};
use telemetry::{check_in::Monitor, propagation::TrustPolicy};
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Failure, Listeners, Readiness, ReadyFlag, Shutdown, check_ins,
    config::{Budget, ConfigErrors, DebugConfig, Http},
    debug, faults, http,
    internal::Internal,
    ops::{self, OpsToken},
};

/// Part under which the consumer of a group reports its readiness.
const KAFKA: &str = "kafka";
/// Reason where the limit of a phase ended before any attempt did, so no attempt could give one.
const FIRST_ATTEMPT: &str =
    "the first attempt did not end by then, so there is no other reason (is the limit too short?)";
/// Pause before the next attempt in a phase of the start.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

type BoxError = Box<dyn Error + Send + Sync>;
type PartEnd = (&'static str, bool, Result<(), BoxError>);
type Flush = Box<dyn FnOnce(Duration) -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>> + Send>;

/// State of one process from start-up to exit. It is created early, so that `/livez` answers during start-up.
pub struct Lifecycle {
    readiness: Readiness,
    shutdown: Shutdown,
    faults: Faults,
    debug: DebugConfig,
    http: Http,
    listener: Option<TcpListener>,
    /// Limit of the phases after the listeners, together.
    start_end: Instant,
    budget: Budget,
    check_in_interval: Duration,
    config_errors: Vec<String>,
    stop_accepting: CancellationToken,
    stop_consuming: CancellationToken,
    stop_ops: CancellationToken,
    servers: JoinSet<PartEnd>,
    consumers: JoinSet<PartEnd>,
    ops: JoinSet<()>,
    ops_token: OpsToken,
    flushes: Vec<(&'static str, Flush)>,
}

impl std::fmt::Debug for Lifecycle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lifecycle").field("readiness", &self.readiness).finish_non_exhaustive()
    }
}

impl Lifecycle {
    /// Starts the ops listener. From then on the process is alive, but not ready.
    #[must_use]
    pub fn start(listeners: Listeners, shutdown: Shutdown) -> Self {
        let Listeners { http, ops: ops_listener, more: _, common, faults } = listeners;
        let readiness = Readiness::default();
        let stop_ops = CancellationToken::new();
        let mut ops = JoinSet::new();
        let ops_token = OpsToken::default();
        let router = ops::router(readiness.clone(), crate::service_main::identity(), ops_token.clone());
        let ops_http = Http {
            connections_max: ops::CONNECTIONS_MAX,
            hosts: common.http.hosts.clone(),
            ..Http::at(common.ops.address)
        };
        let serving = http::serve(ops_listener, router, ops_http, stop_ops.clone());
        ops.spawn(telemetry::with_hub(async move {
            if let Err(error) = serving.await {
                tracing::error!(error = %error, "the ops listener stopped");
            }
        }));
        if common.faults.file.is_some() {
            ops.spawn(telemetry::with_hub(faults::log_problems(faults.clone())));
        }
        Self {
            readiness,
            shutdown,
            faults,
            debug: common.debug,
            http: common.http,
            listener: Some(http),
            start_end: Instant::now() + common.start.budget().resources,
            budget: common.drain.budget(),
            check_in_interval: Duration::from_secs(common.telemetry.check_in_interval_s),
            config_errors: Vec::new(),
            stop_accepting: CancellationToken::new(),
            stop_consuming: CancellationToken::new(),
            stop_ops,
            servers: JoinSet::new(),
            consumers: JoinSet::new(),
            ops,
            ops_token,
            flushes: Vec::new(),
        }
    }

    /// Limits of the service's own interface, for the layers around its routes.
    #[must_use]
    pub fn http(&self) -> &Http {
        &self.http
    }

    /// Readiness, where parts register themselves.
    #[must_use]
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// The faults that an operator arms ([`crate::faults`]).
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }

    /// The debug faults of this service ([`crate::debug`]).
    #[must_use]
    pub fn debug(&self, service: Part) -> debug::Debug {
        if self.debug.enabled {
            tracing::warn!("operators can cause errors on purpose here (debug.enabled)");
        }
        debug::Debug::new(service, &self.debug)
    }

    /// Runs one phase of the start, which prepares the resource `name`. It logs the limit and the duration, and retries a
    /// transient failure.
    ///
    /// It returns `None` when shutdown is requested first. The service then calls [`Lifecycle::run`], which drains. It takes
    /// `&mut self` because a shared reference would make the service's future not `Send`.
    ///
    /// # Errors
    /// [`Failure::Missing`] with the name: at the limit, or at once when a retry would not help. At the limit the reason is that of
    /// the last attempt that ended, or that the first one did not end.
    pub async fn start_phase<T, E, F>(
        &mut self,
        name: &'static str,
        attempt: impl Fn() -> F,
    ) -> Result<Option<T>, Failure>
    where
        F: Future<Output = Result<T, E>>,
        E: Classify + Error + Send + Sync + 'static,
    {
        let phase = Phase::begin("waiting for the", name, self.start_end);
        let limit_ms = milliseconds(phase.remaining());
        let mut last = None;
        let attempts = async {
            loop {
                match attempt().await {
                    Err(error) if error.class() == ErrorClass::Transient => {
                        tracing::warn!(error = %error, "the {name} is not available yet, retrying");
                        last = Some(error);
                    }
                    ended => return ended,
                }
                sleep(RETRY_PAUSE).await;
            }
        };
        let ended = tokio::select! {
            () = self.shutdown.requested() => return Ok(None),
            ended = timeout_at(phase.end, attempts) => ended,
        };
        match ended {
            Ok(Ok(value)) => {
                phase.log_end("ready");
                Ok(Some(value))
            }
            Ok(Err(error)) => Err(Failure::missing(format!("cannot use the {name}"), error)),
            Err(_) => {
                let what = format!("cannot use the {name} within {limit_ms} ms (start.deadline_ms)");
                let cause = last.map_or_else(|| BoxError::from(FIRST_ATTEMPT), BoxError::from);
                Err(Failure::missing(what, cause))
            }
        }
    }

    /// Lets requests with this internal token begin a CPU profile at the ops port. Without this nobody can. Only the first call counts.
    pub fn accept_profile_requests(&self, internal: Internal) {
        self.ops_token.set(internal);
    }

    /// Serves routes that only our own services may call. The same token is accepted at the ops port.
    pub fn serve_internal(&mut self, routes: Router, internal: Internal) {
        self.accept_profile_requests(internal.clone());
        self.serve(http::layered(http::internal(routes, internal), &self.http, TrustPolicy::inside()));
    }

    /// Serves the service's own interface (wrap its routes with [`http::router`] first). A second call does nothing.
    pub fn serve(&mut self, router: Router) {
        if let Some(listener) = self.listener.take() {
            let http = self.http.clone();
            self.serve_on("http", listener, router, http);
        }
    }

    /// Serves a further interface on a separate listener ([`Listeners::take`] it before the start). The process's host names
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

    /// Runs a consumer, which reports its readiness as part `name`. It must finish what it holds and return when its token is
    /// cancelled. An earlier return is a failure.
    ///
    /// `stop_deadline` is the longest time that it takes to stop. If that is more than a drain leaves for consumers, it is not
    /// started and [`Lifecycle::run`] fails at once, so that the settings are corrected before the first shutdown.
    pub fn consume<F, E>(
        &mut self,
        name: &'static str,
        stop_deadline: Duration,
        consume: impl FnOnce(CancellationToken, ReadyFlag) -> F,
    ) where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + Send + 'static,
    {
        if stop_deadline > self.budget.consumers {
            return self.config_errors.push(format!(
                "{name} may take {} ms to stop, but drain.deadline_ms leaves {} ms for consumers. Raise drain.deadline_ms or \
                 lower the deadlines of {name}",
                stop_deadline.as_millis(),
                self.budget.consumers.as_millis()
            ));
        }
        let consuming = consume(self.stop_consuming.clone(), self.readiness.register(name));
        let ended = async move { (name, true, consuming.await.map_err(Into::into)) };
        self.consumers.spawn(telemetry::with_hub(ended));
    }

    /// Runs the consumer of a group as [`Lifecycle::consume`] does, as part `kafka`.
    ///
    /// While it is ready it checks in at the group's monitor, so that Sentry reports a consumer that is gone.
    pub fn consume_as<F, E>(
        &mut self,
        group: Group,
        stop_deadline: Duration,
        consume: impl FnOnce(CancellationToken, ReadyFlag) -> F,
    ) where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + Send + 'static,
    {
        self.consume(KAFKA, stop_deadline, consume);
        let interval = self.check_in_interval;
        let (ready, monitor) =
            (self.readiness.register(KAFKA), Monitor::of_consumer(group.as_str(), interval));
        self.background("check-ins", move |stop| async move {
            let checking_in = check_ins::run(interval, move || ready.get(), move || monitor.check_in());
            stop.run_until_cancelled(checking_in).await;
            Ok::<(), Infallible>(())
        });
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

    /// Registers a flush for after the consumers. It gets the remaining time: `lifecycle.on_flush("producer", …)`.
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
        let cause = if !self.config_errors.is_empty() {
            Err(Failure::Configuration(ConfigErrors(std::mem::take(&mut self.config_errors))))
        } else if self.shutdown.is_requested() {
            Ok(())
        } else {
            self.readiness.set_started();
            tracing::info!("started");
            self.reason_to_stop().await
        };
        self.readiness.set_draining();
        let drained = self.drain().await;
        self.stop_ops.cancel();
        self.ops.abort_all();
        cause.and(drained)
    }

    /// Waits for a shutdown request (`Ok`) or for a part that fails or stops unexpectedly.
    async fn reason_to_stop(&mut self) -> Result<(), Failure> {
        loop {
            let joined = tokio::select! {
                () = self.shutdown.requested() => return Ok(()),
                Some(joined) = self.servers.join_next() => joined,
                Some(joined) = self.consumers.join_next() => joined,
            };
            let (name, is_required, result) = joined.map_err(|panic| part_failed("a part", panic))?;
            match result {
                Err(error) => return Err(part_failed(name, error)),
                Ok(()) if is_required => return Err(part_failed(name, "it stopped unexpectedly")),
                Ok(()) => tracing::debug!(part = name, "a background part has finished"),
            }
        }
    }

    async fn drain(&mut self) -> Result<(), Failure> {
        let started_at = Instant::now();
        let Budget { listeners, consumers, flush } = self.budget;
        let mut incomplete = Vec::new();
        // A phase may also use the time that earlier phases did not use.
        let mut phase_end = started_at + listeners;
        self.stop_accepting.cancel();
        Phase::begin("draining", "listeners", phase_end).finish(&mut self.servers, &mut incomplete).await;
        phase_end += consumers;
        self.stop_consuming.cancel();
        Phase::begin("draining", "consumers", phase_end).finish(&mut self.consumers, &mut incomplete).await;
        phase_end += flush;
        for (name, flush) in std::mem::take(&mut self.flushes) {
            let phase = Phase::begin("draining", name, phase_end);
            match timeout_at(phase_end, flush(phase.remaining())).await {
                Ok(Ok(())) => phase.log_end("drained"),
                Ok(Err(error)) => incomplete.push(format!("{name}: {error}")),
                Err(_) => incomplete.push(format!("{name}: not flushed in time")),
            }
        }
        let duration_ms = milliseconds(started_at.elapsed());
        if incomplete.is_empty() {
            tracing::info!(duration_ms, "drained");
            return Ok(());
        }
        let reasons = incomplete.join("; ");
        tracing::warn!(duration_ms, reasons = reasons.as_str(), "the drain did not complete, exiting anyway");
        Err(Failure::failed(format!("the drain did not complete: {reasons}")))
    }
}

/// One phase of a start or of a drain. It logs its limit when it begins, and its duration when it has succeeded.
pub(crate) struct Phase {
    name: &'static str,
    started_at: Instant,
    pub(crate) end: Instant,
}

impl Phase {
    /// Begins a phase and logs what the process is `doing` with what: "draining consumers".
    pub(crate) fn begin(doing: &str, name: &'static str, end: Instant) -> Self {
        let phase = Self { name, started_at: Instant::now(), end };
        tracing::info!(phase = name, limit_ms = milliseconds(phase.remaining()), "{doing} {name}");
        phase
    }

    fn remaining(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    /// Logs the end of a phase that succeeded: "consumers drained".
    pub(crate) fn log_end(&self, done: &str) {
        let Self { name, started_at, .. } = self;
        tracing::info!(phase = name, duration_ms = milliseconds(started_at.elapsed()), "{name} {done}");
    }

    /// Waits for all parts of this phase. At the limit it aborts the rest and adds the phase to `incomplete`.
    async fn finish(self, parts: &mut JoinSet<PartEnd>, incomplete: &mut Vec<String>) {
        let (name, before) = (self.name, incomplete.len());
        loop {
            match timeout_at(self.end, parts.join_next()).await {
                Ok(None) if incomplete.len() == before => return self.log_end("drained"),
                Ok(None) => return,
                Ok(Some(Ok((_, _, Ok(()))))) => {}
                Ok(Some(Ok((part, _, Err(error))))) => incomplete.push(format!("{part}: {error}")),
                Ok(Some(Err(panic))) => incomplete.push(format!("{name}: {panic}")),
                Err(_) => {
                    incomplete.push(format!("{name}: not drained in time"));
                    return parts.shutdown().await;
                }
            }
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn part_failed(name: &str, error: impl Into<BoxError>) -> Failure {
    Failure::failed(PartFailed { name: name.to_owned(), source: error.into() })
}

/// A part of the process failed.
#[derive(Debug, thiserror::Error)]
#[error("{name} failed: {source}")]
struct PartFailed {
    name: String,
    source: BoxError,
}
