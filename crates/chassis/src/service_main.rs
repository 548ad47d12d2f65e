//! Runs a service from `main` to the exit code: configuration → telemetry → listeners → run → flush.

use std::{future::Future, process::ExitCode, sync::OnceLock, time::Duration};

use contracts::Part;
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, timeout_at},
};

use crate::{
    Failure, Listeners, Shutdown,
    config::{self, Drain, Loaded, ServiceConfig, Sources, TelemetryConfig},
    descriptors,
    lifecycle::Phase,
    ops::{self, Identity},
    runtime_metrics,
};

/// One worker, because a service waits most of the time. A second one is often woken only to find that the first has taken the
/// task. With two, a bet took 300 context switches instead of 240. Long computations (passwords) have their own threads.
const WORKER_THREADS: usize = 1;
/// Threads for file and password work. With the default of 512 there could be 512 stacks.
const BLOCKING_THREADS_MAX: usize = 8;
/// Time limit for sending the last telemetry envelopes.
const TELEMETRY_FLUSH_MS: u64 = 2_000;
/// Time limit for blocking work that hangs. It must not delay the exit.
const BLOCKING_WORK_MS: u64 = 200;
/// Longest time from the end of the drain to the exit of the process.
pub const EXIT_MS_MAX: u64 = TELEMETRY_FLUSH_MS + BLOCKING_WORK_MS;

/// Description of a program, passed by its `main`.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    part: Part,
    version: &'static str,
    defaults: &'static str,
}

impl Service {
    /// The part, the version (`env!("CARGO_PKG_VERSION")`) and the embedded defaults (`include_str!("defaults.toml")`).
    #[must_use]
    pub const fn new(part: Part, version: &'static str, defaults: &'static str) -> Self {
        Self { part, version, defaults }
    }
}

static IDENTITY: OnceLock<Identity> = OnceLock::new();

/// Identity of this process, or a placeholder in a test that starts services itself.
pub(crate) fn identity() -> Identity {
    IDENTITY.get().cloned().unwrap_or(Identity {
        service: "test",
        version: env!("CARGO_PKG_VERSION"),
        release: None,
    })
}

/// Complete `main` of a service: loads the configuration, starts telemetry, binds, runs, drains and reports the result.
///
/// Exit codes: 0 shut down as requested, 1 failed, 64 bad configuration, 69 a required resource is missing.
pub fn main<C, R, F>(service: Service, run: R) -> ExitCode
where
    C: ServiceConfig,
    R: FnOnce(C, Listeners, Shutdown) -> F,
    F: Future<Output = Result<(), Failure>>,
{
    // Before anything else: a program that was started as the reporter of another process is no service, and must read, bind and
    // report nothing of one.
    if let Some(code) = telemetry::crash::report_if_asked() {
        return code;
    }
    let name = service.part.as_str();
    match try_main(service, run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // The failure goes to stderr as well as to the log, because telemetry may not be up yet or already be down.
            print_error(&format!("{name}: {}", failure.describe()));
            ExitCode::from(&failure)
        }
    }
}

fn try_main<C, R, F>(service: Service, run: R) -> Result<(), Failure>
where
    C: ServiceConfig,
    R: FnOnce(C, Listeners, Shutdown) -> F,
    F: Future<Output = Result<(), Failure>>,
{
    let name = service.part.as_str();
    let config: Loaded<C> =
        config::load_from(&Sources::of_process(service.defaults)).map_err(Failure::Configuration)?;
    let connections_max = config.common.http.connections_max.saturating_add(ops::CONNECTIONS_MAX);
    descriptors::raise_limit_for(connections_max.saturating_add(config.own.more_connections_max()))?;
    let telemetry_config = telemetry::Config {
        trace_lifecycle: config.common.telemetry.trace_lifecycle,
        sessions: config.common.telemetry.sessions,
        ..telemetry::Config::from_env(name)
    };
    let identity =
        Identity { service: name, version: service.version, release: Some(telemetry_config.release.clone()) };
    // Set once per process. A second `main` in one process is not supported.
    IDENTITY.get_or_init(|| identity);
    // Before any thread exists, because threads inherit the hub that is current when they first use it.
    let telemetry = telemetry::init(telemetry_config.clone())?;
    let _crash_reporter = crash_reporter(&config.common.telemetry, &telemetry_config);
    let _watchdog = telemetry::watchdog::start()
        .map_err(|error| Failure::missing("cannot start the watchdog's thread", error))?;
    let runtime = runtime().map_err(|error| Failure::missing("cannot start the async runtime", error))?;
    telemetry::set_runtime(runtime.handle().clone());
    let outcome = runtime.block_on(async {
        let outcome = bind_and_run(name, config, run).await;
        if let Err(failure) = &outcome {
            telemetry::sessions::process_crashed();
            tracing::error!(service = name, exit_code = failure.exit_code(), "{}", failure.describe());
        }
        telemetry.shutdown(TELEMETRY_FLUSH_MS).await;
        outcome
    });
    runtime.shutdown_timeout(Duration::from_millis(BLOCKING_WORK_MS));
    outcome
}

/// Starts the process that reports native crashes of this one. Without it the service works as usual.
fn crash_reporter(
    settings: &TelemetryConfig,
    config: &telemetry::Config,
) -> Option<telemetry::crash::CrashReporter> {
    if !settings.crash_reports {
        return None;
    }
    telemetry::crash::start(config, &settings.crash_folder).unwrap_or_else(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        tracing::warn!(error = %error, cause, "native crashes of this process will not be reported");
        None
    })
}

async fn bind_and_run<C, R, F>(name: &'static str, config: Loaded<C>, run: R) -> Result<(), Failure>
where
    C: ServiceConfig,
    R: FnOnce(C, Listeners, Shutdown) -> F,
    F: Future<Output = Result<(), Failure>>,
{
    let Loaded { common, own } = config;
    tracing::debug!(
        service = name,
        config = %config::redacted(&own),
        common = %config::redacted(&common),
        "configuration"
    );
    let shutdown = Shutdown::new();
    watch_signals(shutdown.clone(), &common.drain)
        .map_err(|error| Failure::missing("cannot watch signals", error))?;
    telemetry::spawn(runtime_metrics::run());
    let phase = Phase::begin("opening the", "listeners", Instant::now() + common.start.budget().listeners);
    let listeners = timeout_at(phase.end, Listeners::bind(common, &own))
        .await
        .map_err(|late| Failure::missing("cannot open the listeners in time (start.deadline_ms)", late))??;
    phase.log_end("ready");
    tracing::info!(
        service = name,
        http.address = %listeners.common.http.address,
        ops.address = %listeners.common.ops.address,
        process.id = std::process::id(),
        "listening",
    );
    run(own, listeners, shutdown).await
}

fn runtime() -> std::io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_name("worker")
        .enable_all()
        .build()
}

/// The first SIGTERM or SIGINT requests shutdown. The second one exits immediately.
fn watch_signals(shutdown: Shutdown, drain: &Drain) -> std::io::Result<()> {
    let deadline_ms = drain.deadline_ms;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    telemetry::spawn(async move {
        let name = next_signal(&mut terminate, &mut interrupt).await;
        tracing::info!(signal = name, deadline_ms, "shutting down");
        shutdown.trigger();
        let name = next_signal(&mut terminate, &mut interrupt).await;
        tracing::warn!(signal = name, "exiting immediately because of a second signal");
        std::process::exit(1);
    });
    Ok(())
}

async fn next_signal(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

#[expect(
    clippy::print_stderr,
    reason = "stderr is the only output before telemetry starts and after it stops"
)]
fn print_error(line: &str) {
    eprintln!("{line}");
}
