//! Starts all of telemetry once per process, and shuts it down within a deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanLimits, TracerProviderBuilder};
use sentry::integrations::contexts::ContextIntegration;
use sentry::integrations::tracing::{BreadcrumbLayer, ErrorLayer, LogLayer};
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use crate::bridge::Bridge;
use crate::config::{About, Config};
use crate::frames::AttachFrames;
use crate::sampling::{self, Sampler};
use crate::sampling_context::{self, Identity};
use crate::transport::Transport;
use crate::writer::{self, Factory, SdkTransport};
use crate::{attributes, flags, lifecycle, logs, metric, process, profiler, report, sessions, steps, tls};

/// Reason why telemetry could not start.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// All invalid values of the configuration.
    #[error("invalid telemetry configuration: {}", .0.join("; "))]
    Invalid(Vec<String>),
    /// Telemetry is process-wide and already runs.
    #[error("telemetry is already initialised in this process")]
    AlreadyInitialised,
    /// A thread or a client could not be created.
    #[error("cannot start telemetry: {0}")]
    Failed(String),
}

/// Running telemetry. A process must call [`Telemetry::shutdown`] on it as its last action.
#[must_use = "without shutdown the last seconds are lost"]
pub struct Telemetry {
    client: Option<Arc<sentry::Client>>,
    transport: Option<Arc<Transport>>,
    provider: SdkTracerProvider,
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Telemetry").field("sending", &self.transport.is_some()).finish()
    }
}

static STARTED: AtomicBool = AtomicBool::new(false);

/// Starts telemetry for this process. Call it first in `main`, before other threads run.
pub fn init(config: Config) -> Result<Telemetry, InitError> {
    let parsed = check(&config)?;
    if STARTED.swap(true, Ordering::SeqCst) {
        return Err(InitError::AlreadyInitialised);
    }
    process::started();
    tls::install_crypto();
    sampling_context::set_identity(Identity {
        public_key: parsed.dsn.as_ref().map(|dsn| dsn.public_key().to_owned()),
        org_id: parsed.dsn.as_ref().and_then(|dsn| sampling_context::org_of_host(dsn.host())),
        release: config.release.clone(),
        environment: config.environment.clone(),
    });
    sampling::set_rate(config.traces_sample_rate);
    lifecycle::set(config.trace_lifecycle);
    profiler::set_share(config.profiles_sample_rate);

    let transport = match &parsed.dsn {
        Some(dsn) => Some(Transport::start(dsn, &config.transport).map_err(InitError::Failed)?),
        None => None,
    };
    let mut builder = provider(&config);
    let mut client = None;
    if let (Some(transport), Some(dsn)) = (&transport, &parsed.dsn) {
        let (writer, jobs) = writer::channel();
        let bridge = Bridge::start(writer.clone());
        builder = builder.with_span_processor(bridge.clone());
        profiler::set_up(writer.clone(), config.profile_session_sample_rate, config.profile_lifecycle);
        jobs.spawn(About::of(&config), Arc::clone(transport), move |now| bridge.sweep(now))
            .map_err(InitError::Failed)?;
        client = Some(sentry_client(&config, dsn, SdkTransport { writer, transport: Arc::clone(transport) }));
    }
    let provider = builder.build();
    if client.is_some() {
        sentry::Hub::main().bind_client(client.clone());
        report::install_panic_hook();
        metric::start_exporting();
    }
    if let Some(client) = client.as_ref().filter(|_| config.sessions) {
        sessions::start_process(client, &config.release, &config.environment);
    }
    install_subscriber(&config, parsed.filter, &provider)?;
    Ok(Telemetry { client, transport, provider })
}

struct Parsed {
    dsn: Option<sentry::types::Dsn>,
    filter: EnvFilter,
}

fn check(config: &Config) -> Result<Parsed, InitError> {
    let mut problems = config.problems.clone();
    let dsn = config.dsn.as_deref().and_then(|dsn| match dsn.parse() {
        Ok(dsn) => Some(dsn),
        Err(_) if problems.iter().any(|problem| problem.contains("DSN")) => None,
        Err(_) => {
            problems.push("the DSN is invalid: expected http://key@host:port/project".to_owned());
            None
        }
    });
    let filter = EnvFilter::try_new(&config.log_filter).unwrap_or_else(|error| {
        problems.push(format!("the log filter {:?} is not valid: {error}", config.log_filter));
        EnvFilter::default()
    });
    if problems.is_empty() { Ok(Parsed { dsn, filter }) } else { Err(InitError::Invalid(problems)) }
}

fn provider(config: &Config) -> TracerProviderBuilder {
    let limits = SpanLimits {
        max_attributes_per_span: 64,
        max_events_per_span: 0,
        max_links_per_span: 128,
        max_attributes_per_event: 0,
        max_attributes_per_link: 8,
    };
    SdkTracerProvider::builder()
        .with_sampler(Sampler::new(config.traces_sample_rate))
        .with_span_limits(limits)
}

fn sentry_client(config: &Config, dsn: &sentry::types::Dsn, transport: SdkTransport) -> Arc<sentry::Client> {
    let options = sentry::ClientOptions::new()
        .dsn(&dsn.to_string())
        .release(config.release.clone())
        .environment(config.environment.clone())
        .server_name(config.service.clone())
        // Chosen one by one: the SDK's panic hook blocks, its stack traces need much memory, its debug images contain paths
        .default_integrations(false)
        .attach_stacktrace(false)
        .send_default_pii(false)
        .max_breadcrumbs(50)
        .add_integration(AttachFrames { in_app: config.in_app.clone() })
        .add_integration(process::AttachProcess { release: config.release.clone() })
        .add_integration(ContextIntegration::new().add_os(true).add_rust(true).add_device(false))
        .add_integration(report::LinkErrors)
        .add_integration(flags::AttachFlags)
        .add_integration(steps::AttachSteps)
        .before_send_log(report::link_log)
        .before_send_metric(report::link_metric)
        // A session begins with each request and not with the client. Their sums are sent, and the process has one of its own
        .auto_session_tracking(false)
        .session_mode(sentry::SessionMode::Request)
        .transport(Factory(Arc::new(transport)));
    Arc::new(sentry::Client::with_options(options))
}

fn is_event(metadata: &Metadata<'_>) -> bool {
    metadata.is_event()
}

/// Targets that log errors for transient reasons. Their events are log lines and breadcrumbs but not issues.
const NOT_ISSUES: [&str; 6] = ["rdkafka", "librdkafka", "mongodb", "hyper", "pprof", report::REPORTED_TARGET];

fn is_issue(metadata: &Metadata<'_>) -> bool {
    metadata.is_event()
        && *metadata.level() == Level::ERROR
        && !NOT_ISSUES.iter().any(|target| metadata.target().starts_with(target))
}

/// Accepts events for Sentry's logs. Third-party crates log much at the level of information, so theirs begin at warnings.
fn is_log(metadata: &Metadata<'_>) -> bool {
    if !metadata.is_event() {
        return false;
    }
    let level = if NOT_ISSUES[..5].iter().any(|target| metadata.target().starts_with(target)) {
        Level::WARN
    } else {
        Level::INFO
    };
    *metadata.level() <= level
}

/// Accepts only spans with a `sentry.op`.
fn is_span_of_ours(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.fields().field(attributes::SENTRY_OP).is_some()
}

fn install_subscriber(
    config: &Config,
    filter: EnvFilter,
    provider: &SdkTracerProvider,
) -> Result<(), InitError> {
    let lines = logs::Format { service: config.service.clone(), format: config.log_format };
    let otel = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("pitboss"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false);
    tracing_subscriber::registry()
        .with(otel.with_filter(filter_fn(is_span_of_ours)))
        // The filter excludes spans, because the layer would format the fields of each one although they are never printed
        .with(
            fmt::layer()
                .event_format(lines)
                .with_writer(logs::Scrubbed)
                .with_filter(filter_fn(is_event).and(filter)),
        )
        .with(BreadcrumbLayer::new().with_filter(filter_fn(is_log)))
        .with(LogLayer::new().with_filter(filter_fn(is_log)))
        .with(ErrorLayer::new().with_filter(filter_fn(is_issue)))
        .try_init()
        .map_err(|error| InitError::Failed(format!("a subscriber is installed already: {error}")))
}

impl Telemetry {
    /// Sends what is pending, for at most `deadline_ms`, and counts the rest as dropped. Returns true if everything was sent.
    pub async fn shutdown(self, deadline_ms: u64) -> bool {
        let (done, finished) = tokio::sync::oneshot::channel();
        let work = move || {
            let all = self.shutdown_blocking(deadline_ms);
            // The receiver is gone if the caller was cancelled
            done.send(all).ok();
        };
        if std::thread::Builder::new().name("telemetry-shutdown".to_owned()).spawn(work).is_err() {
            return false;
        }
        finished.await.unwrap_or(false)
    }

    /// Does the same for programs without an async runtime.
    pub fn shutdown_blocking(self, deadline_ms: u64) -> bool {
        let deadline = Instant::now() + Duration::from_millis(deadline_ms);
        let Self { client, transport, provider } = self;
        metric::export_sums();
        sessions::end_process();
        // The last chunk must not take the time of errors and transactions. A sampler that still begins would take all of it
        profiler::stop(left(deadline) / 2);
        // The bridge stops accepting spans and sends those it has
        let bridged = provider.shutdown_with_timeout(left(deadline)).is_ok();
        let closed = client.is_none_or(|client| client.close(Some(left(deadline))));
        let sent = transport.is_none_or(|transport| transport.stop(left(deadline)));
        bridged && closed && sent
    }

    /// Sends what is pending without shutting down, for tests and tools.
    pub fn flush_blocking(&self, deadline_ms: u64) -> bool {
        let deadline = Instant::now() + Duration::from_millis(deadline_ms);
        let bridged = self.provider.force_flush().is_ok();
        bridged && self.client.as_ref().is_none_or(|client| client.flush(Some(left(deadline))))
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}
