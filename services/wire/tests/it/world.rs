//! A running proxy and its flag file.

use std::net::SocketAddr;
use std::time::Duration;

use chassis::Listeners;
use faults::{FaultId, Scope};
use testkit::faults::Flags;
use testkit::service::Running;
use tokio::net::{TcpListener, TcpStream};
use wire::config::{Config, WIRE, WireConfig};

pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) address: SocketAddr,
    flags: Flags,
    service: Running,
}

impl World {
    /// Starts a proxy on a free port.
    pub(crate) async fn start(upstream: &str) -> Self {
        Self::start_with(upstream, |_| {}).await
    }

    /// Starts a proxy on a free port with a changed configuration.
    pub(crate) async fn start_with(upstream: &str, change: impl FnOnce(&mut WireConfig)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::start_on(listener, upstream, change).await
    }

    pub(crate) async fn start_on(
        listener: TcpListener,
        upstream: &str,
        change: impl FnOnce(&mut WireConfig),
    ) -> Self {
        let flags = Flags::scoped("wire", &[]);
        let address = listener.local_addr().unwrap();
        let mut listeners = Listeners { faults: flags.faults(), ..Listeners::local(&[]).await.unwrap() };
        listeners.more.insert(WIRE, listener);
        let mut wire = WireConfig {
            address,
            upstream: upstream.to_owned(),
            connections_max: 64,
            connect_deadline_ms: 60_000,
            stall_deadline_ms: 600_000,
            read_deadline_ms: 600_000,
            drain_deadline_ms: 60_000,
        };
        change(&mut wire);
        let service = Running::spawn(wire::run, Config { wire }, listeners);
        Self { address, flags, service }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Arms one fault for all traffic and waits until the proxy has read it.
    pub(crate) async fn arm(&self, id: FaultId, values: &[(&str, i64)]) {
        self.flags.change(&[(id, Scope::All, values)]);
        self.wait_for("the fault to be armed", || !self.flags.faults().armed().is_empty()).await;
    }

    /// Disarms all faults and waits until the proxy has read it.
    pub(crate) async fn disarm(&self) {
        self.flags.change(&[]);
        self.wait_for("the fault to be disarmed", || self.flags.faults().armed().is_empty()).await;
    }

    /// Returns how often the proxy applied the fault.
    pub(crate) fn applied(&self, id: FaultId) -> u64 {
        self.flags.applied(id)
    }

    pub(crate) async fn wait_for(&self, what: &str, is_true: impl Fn() -> bool) {
        testkit::eventually(what, TIMEOUT, || async { is_true().then_some(()) }).await;
    }

    /// Requests the shutdown.
    pub(crate) fn stop(&self) {
        self.service.shut_down();
    }

    /// Waits until the proxy has ended without an error.
    pub(crate) async fn ended(self) {
        self.service.ended().await;
    }
}
