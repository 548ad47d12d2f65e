//! Listeners of a process.
//!
//! They are bound outside `run` and passed in, so that a test can start the real service in its own process, on free ports.

use std::{collections::BTreeMap, io, net::SocketAddr};

use ::faults::Faults;
use tokio::net::TcpListener;

use crate::{
    Failure,
    config::{Common, DebugConfig, Drain, FaultsConfig, Http, Ops, ServiceConfig, Start, TelemetryConfig},
    faults,
};

/// The listeners of one process, bound but not yet served.
#[derive(Debug)]
pub struct Listeners {
    /// The service's own HTTP interface.
    pub http: TcpListener,
    /// Liveness, readiness, metrics, version.
    pub ops: TcpListener,
    /// Further listeners of the service, by name ([`ServiceConfig::more_addresses`]).
    pub more: BTreeMap<&'static str, TcpListener>,
    /// Limits of the listeners, of the start and of the shutdown.
    pub common: Common,
    /// The faults that an operator arms. A test may replace them.
    pub faults: Faults,
}

impl Listeners {
    /// Binds the configured addresses.
    ///
    /// # Errors
    /// [`Failure::Missing`] with the address and its setting, when an address cannot be bound.
    pub async fn bind(common: Common, config: &impl ServiceConfig) -> Result<Self, Failure> {
        let mut more = BTreeMap::new();
        for (name, address) in config.more_addresses() {
            more.insert(name, bind(name, address).await?);
        }
        Ok(Self {
            http: bind("http.address", common.http.address).await?,
            ops: bind("ops.address", common.ops.address).await?,
            more,
            faults: faults::watch(&common.faults),
            common,
        })
    }

    /// Binds free loopback ports for tests, with time limits that a busy machine does not reach.
    pub async fn local(more: &[&'static str]) -> io::Result<Self> {
        let free = || TcpListener::bind("127.0.0.1:0");
        let mut named = BTreeMap::new();
        for name in more {
            named.insert(*name, free().await?);
        }
        let (http, ops) = (free().await?, free().await?);
        let common = Common {
            http: Http {
                request_deadline_ms: 120_000,
                header_deadline_ms: 600_000,
                first_header_deadline_ms: 120_000,
                stall_deadline_ms: 120_000,
                ..Http::at(http.local_addr()?)
            },
            ops: Ops { address: ops.local_addr()? },
            start: Start { deadline_ms: 600_000 },
            drain: Drain { deadline_ms: 60_000 },
            faults: FaultsConfig::default(),
            debug: DebugConfig::default(),
            telemetry: TelemetryConfig::default(),
        };
        Ok(Self { http, ops, more: named, common, faults: Faults::none() })
    }

    /// Removes and returns a further listener, to be served by [`crate::Lifecycle::serve_on`] or by the service itself.
    ///
    /// # Errors
    /// When the configuration's `more_addresses` does not name it, which is a bug in the service.
    pub fn take(&mut self, name: &str) -> Result<TcpListener, Failure> {
        self.more.remove(name).ok_or_else(|| Failure::failed(format!("no such listener: {name}")))
    }
}

async fn bind(setting: &str, address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address)
        .await
        .map_err(|error| Failure::missing(format!("cannot listen on {address} ({setting})"), error))
}
