//! Listeners of a process.
//!
//! They are bound outside `run` and passed in, so that a test can start the real service in its own process, on free ports.

use std::{collections::BTreeMap, io, net::SocketAddr};

use tokio::net::TcpListener;

use crate::{Failure, config::ServiceConfig};

/// The listeners of one process, bound but not yet served.
#[derive(Debug)]
pub struct Edges {
    /// The service's own HTTP interface.
    pub http: TcpListener,
    /// Liveness, readiness, metrics, version.
    pub ops: TcpListener,
    /// Further listeners of the service, by name ([`ServiceConfig::more_addresses`]).
    pub more: BTreeMap<&'static str, TcpListener>,
}

impl Edges {
    /// Binds the configured addresses.
    ///
    /// # Errors
    /// [`Failure::Missing`] with the address and its setting, when an address cannot be bound.
    pub async fn bind<C: ServiceConfig>(config: &C) -> Result<Self, Failure> {
        let mut more = BTreeMap::new();
        for (name, address) in config.more_addresses() {
            more.insert(name, bind(name, address).await?);
        }
        Ok(Self {
            http: bind("http.address", config.http().address).await?,
            ops: bind("ops.address", config.ops().address).await?,
            more,
        })
    }

    /// Binds free loopback ports, for tests.
    pub async fn local(more: &[&'static str]) -> io::Result<Self> {
        let mut named = BTreeMap::new();
        for name in more {
            named.insert(*name, TcpListener::bind("127.0.0.1:0").await?);
        }
        Ok(Self {
            http: TcpListener::bind("127.0.0.1:0").await?,
            ops: TcpListener::bind("127.0.0.1:0").await?,
            more: named,
        })
    }

    /// Removes and returns a further listener, to be served by [`crate::Life::serve_on`] or by the service itself.
    ///
    /// # Errors
    /// When the configuration's `more_addresses` does not name it, which is a bug in the service.
    pub fn take(&mut self, name: &str) -> Result<TcpListener, Failure> {
        self.more.remove(name).ok_or_else(|| Failure::failed(format!("no listener is named {name}")))
    }
}

async fn bind(setting: &str, address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address)
        .await
        .map_err(|error| Failure::missing(format!("cannot listen on {address} ({setting})"), error))
}
