//! Where a process touches the world: its listeners.
//!
//! They are made outside `run` and handed in, so that a test starts the real service in its own process, on free ports.

use std::{collections::BTreeMap, io, net::SocketAddr};

use tokio::net::TcpListener;

use crate::{Failure, config::ServiceConfig};

/// The listeners of one process, bound and not yet served.
#[derive(Debug)]
pub struct Edges {
    /// The service's own HTTP interface.
    pub http: TcpListener,
    /// Liveness, readiness, metrics, version.
    pub ops: TcpListener,
    /// What else the service listens on, by name ([`ServiceConfig::more_addresses`]).
    pub more: BTreeMap<&'static str, TcpListener>,
}

impl Edges {
    /// Binds what the configuration names.
    ///
    /// # Errors
    /// [`Failure::Missing`] with the address and its setting, when one cannot be had.
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

    /// Free ports of this machine, for tests.
    ///
    /// # Errors
    /// When the machine has none to give.
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

    /// Takes a further listener out, to be served by [`crate::Life::serve_on`] or by the service itself.
    ///
    /// # Errors
    /// When the configuration's `more_addresses` does not name it: a mistake in the service.
    pub fn take(&mut self, name: &str) -> Result<TcpListener, Failure> {
        self.more.remove(name).ok_or_else(|| Failure::failed(format!("no listener is named {name}")))
    }
}

async fn bind(setting: &str, address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address)
        .await
        .map_err(|error| Failure::missing(format!("cannot listen on {address} ({setting})"), error))
}
