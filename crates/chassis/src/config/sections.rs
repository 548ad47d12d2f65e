//! Configuration sections that every service has.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use telemetry::TraceLifecycle;
use validator::{Validate, ValidationError};

use super::Secret;
use crate::http::Hosts;

/// `[http]`: address and limits of the service's own interface.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
pub struct Http {
    /// Address to listen on.
    pub address: SocketAddr,
    /// Largest request body. A bet is about 100 bytes.
    #[serde(default = "body_bytes_max")]
    #[validate(range(min = 1, max = 67_108_864))]
    pub body_bytes_max: usize,
    /// Time limit for handling a request. A request that exceeds it is answered with 503.
    #[serde(default = "request_deadline_ms")]
    #[validate(range(min = 1, max = 600_000))]
    pub request_deadline_ms: u64,
    /// Time limit of an idle connection between two requests.
    #[serde(default = "header_deadline_ms")]
    #[validate(range(min = 1, max = 600_000))]
    pub header_deadline_ms: u64,
    /// Time limit for sending a request's headers. It starts with the connection for the first request, and with the first byte
    /// for every further one.
    #[serde(default = "first_header_deadline_ms")]
    #[validate(range(min = 1, max = 600_000))]
    pub first_header_deadline_ms: u64,
    /// Total time that a client may stall while it sends a body or reads an answer, besides the time that it earns through
    /// [`Http::bytes_per_s_min`].
    #[serde(default = "stall_deadline_ms")]
    #[validate(range(min = 1, max = 600_000))]
    pub stall_deadline_ms: u64,
    /// Slowest rate at which a client may send a body or read an answer.
    #[serde(default = "bytes_per_s_min")]
    #[validate(range(min = 1))]
    pub bytes_per_s_min: u64,
    /// Limit of open connections. At the limit, the connection that has waited longest for its client is closed. If none waits
    /// for its client, new connections wait in the kernel's queue.
    #[serde(default = "connections_max")]
    #[validate(range(min = 1, max = 100_000))]
    pub connections_max: usize,
    /// Limit of connections for one address (for one /64 network in IPv6).
    #[serde(default = "connections_per_address_max")]
    #[validate(range(min = 1, max = 100_000))]
    pub connections_per_address_max: usize,
    /// Limit of connections from this machine. Other services and the load generator run there, so the default is not less than
    /// [`Http::connections_max`].
    #[serde(default = "connections_loopback_max")]
    #[validate(range(min = 1, max = 100_000))]
    pub connections_loopback_max: usize,
    /// Host names of this process besides 127.0.0.1, localhost and `[::1]` with the listener's own port. They apply to all its
    /// listeners. A request for another host is answered with 421, a request for no host or several hosts with 400.
    #[serde(default)]
    pub hosts: Hosts,
}

impl Http {
    /// The default settings for an address.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        Self {
            address,
            body_bytes_max: body_bytes_max(),
            request_deadline_ms: request_deadline_ms(),
            header_deadline_ms: header_deadline_ms(),
            first_header_deadline_ms: first_header_deadline_ms(),
            stall_deadline_ms: stall_deadline_ms(),
            bytes_per_s_min: bytes_per_s_min(),
            connections_max: connections_max(),
            connections_per_address_max: connections_per_address_max(),
            connections_loopback_max: connections_loopback_max(),
            hosts: Hosts::default(),
        }
    }

    /// [`Http::request_deadline_ms`] as a duration.
    #[must_use]
    pub fn request_deadline(&self) -> Duration {
        Duration::from_millis(self.request_deadline_ms)
    }

    /// [`Http::header_deadline_ms`] as a duration.
    #[must_use]
    pub fn header_deadline(&self) -> Duration {
        Duration::from_millis(self.header_deadline_ms)
    }
}

/// `[ops]`: liveness, readiness, metrics, version and profiles, on a separate listener for this machine and its containers only.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Ops {
    /// Address to listen on.
    pub address: SocketAddr,
}

/// `[start]`: time limit of a start.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
pub struct Start {
    /// Time in which a process opens its listeners and prepares its document store. It retries while the store is not available,
    /// and exits with 69 at the limit. `./pitboss up` waits for 60 s until all services are ready.
    #[serde(default = "start_deadline_ms")]
    #[validate(range(min = 100, max = 600_000))]
    pub deadline_ms: u64,
}

impl Start {
    /// Divides [`Start::deadline_ms`] among the phases.
    #[must_use]
    pub fn budget(&self) -> StartBudget {
        let twentieth = Duration::from_millis(self.deadline_ms) / 20;
        StartBudget { listeners: twentieth * 2, resources: twentieth * 18 }
    }
}

impl Default for Start {
    fn default() -> Self {
        Self { deadline_ms: start_deadline_ms() }
    }
}

/// Time limits of the phases of a start, in their order. They add up to [`Start::deadline_ms`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartBudget {
    /// The configured addresses are bound.
    pub listeners: Duration,
    /// What the service cannot work without becomes available: its document store with the indexes.
    pub resources: Duration,
}

/// `[drain]`: orderly shutdown.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
pub struct Drain {
    /// Time from the signal to the last flush. It must be shorter than the time after which the supervisor kills the process, and
    /// at least twice what a consumer may take to stop (4 s by default), else a service with a consumer does not start.
    #[serde(default = "deadline_ms")]
    #[validate(range(min = 100, max = 600_000))]
    pub deadline_ms: u64,
}

impl Drain {
    /// Divides [`Drain::deadline_ms`] among the phases.
    #[must_use]
    pub fn budget(&self) -> Budget {
        let twentieth = Duration::from_millis(self.deadline_ms) / 20;
        Budget { listeners: twentieth * 7, consumers: twentieth * 10, flush: twentieth * 3 }
    }
}

/// `[faults]`: failures on cue, for drills. Without these settings none can be armed.
#[derive(Clone, Debug, Default, Deserialize, Serialize, Validate)]
pub struct FaultsConfig {
    /// File of the armed faults. It is read again whenever it changes.
    #[serde(default)]
    pub file: Option<PathBuf>,
    /// Key that signs the faults of one request, the same for all services. While it is empty, no request can carry a fault.
    #[serde(default)]
    #[validate(custom(function = "empty_or_long"))]
    pub secret: Secret,
    /// Faults are counted as applied and have no effect. It serves to find evidence that does not depend on its fault.
    #[serde(default)]
    pub ineffective: bool,
}

/// `[debug]`: errors that an operator causes on purpose ([`crate::debug`]).
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct DebugConfig {
    /// The debug endpoints exist. Without it they are answered as any unknown path.
    #[serde(default)]
    pub enabled: bool,
}

/// `[telemetry]`: what a process tells Sentry about itself.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
pub struct TelemetryConfig {
    /// Interval at which a process that consumes records checks in at the monitor of its group. Sentry reports the group a minute
    /// after a missed check-in. It counts in whole minutes, so a shorter interval than 60 is not reported earlier.
    #[serde(default = "check_in_interval_s")]
    #[validate(range(min = 10, max = 86_400))]
    pub check_in_interval_s: u64,
    /// Form in which spans are sent: `static` as transactions, `stream` as spans, of which those of one trace share an envelope.
    #[serde(default)]
    pub trace_lifecycle: TraceLifecycle,
    /// Sends sessions of the process and of its requests, from which Sentry computes the health of a release.
    #[serde(default = "sessions")]
    pub sessions: bool,
    /// Starts the program a second time, as the process that reports native crashes of this one ([`telemetry::crash`]). It has an
    /// effect only with a DSN.
    #[serde(default = "crash_reports")]
    pub crash_reports: bool,
    /// Folder of crash reports that have not been sent yet. A relative path is below the working directory of the process. It is
    /// created at the first crash, for the owner only.
    #[serde(default = "telemetry::crash::default_folder")]
    pub crash_folder: PathBuf,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self {
            check_in_interval_s: check_in_interval_s(),
            trace_lifecycle: TraceLifecycle::default(),
            sessions: sessions(),
            crash_reports: crash_reports(),
            crash_folder: telemetry::crash::default_folder(),
        }
    }
}

/// A short key could be guessed. An empty one disables the faults of one request.
fn empty_or_long(secret: &Secret) -> Result<(), ValidationError> {
    if secret.is_empty() || secret.expose().len() >= 32 {
        return Ok(());
    }
    Err(ValidationError::new("length").with_message("at least 32 bytes are needed, or an empty value".into()))
}

/// Time limits of the phases of a drain, in their order. They add up to [`Drain::deadline_ms`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Open requests are answered and connections are closed.
    pub listeners: Duration,
    /// Consumers finish the records that they hold, commit and leave their groups. Background work stops.
    pub consumers: Duration,
    /// Publishes that are not acknowledged yet, and files, are flushed.
    pub flush: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self { deadline_ms: deadline_ms() }
    }
}

fn body_bytes_max() -> usize {
    64 * 1024
}

fn request_deadline_ms() -> u64 {
    10_000
}

fn header_deadline_ms() -> u64 {
    60_000
}

fn first_header_deadline_ms() -> u64 {
    10_000
}

fn stall_deadline_ms() -> u64 {
    5_000
}

/// The rate of a dial-up modem.
fn bytes_per_s_min() -> u64 {
    4 * 1024
}

fn connections_max() -> usize {
    1_024
}

fn connections_per_address_max() -> usize {
    64
}

fn connections_loopback_max() -> usize {
    100_000
}

fn start_deadline_ms() -> u64 {
    30_000
}

fn deadline_ms() -> u64 {
    10_000
}

fn check_in_interval_s() -> u64 {
    60
}

fn sessions() -> bool {
    true
}

/// Native code is linked into every service (librdkafka, TLS, compression), and its crash leaves no other trace.
fn crash_reports() -> bool {
    true
}
