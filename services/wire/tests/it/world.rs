//! A running proxy and its flag file.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use chassis::{Listeners, Shutdown};
use faults::{Armed, FaultId, Faults, Options, Scope, State, Values};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use wire::config::{Config, WIRE, WireConfig};

pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) faults: Faults,
    flag_file: PathBuf,
    shutdown: Shutdown,
    running: JoinHandle<Result<(), String>>,
    _folder: TempDir,
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
        let folder = tempfile::tempdir().unwrap();
        let flag_file = folder.path().join("faults.json");
        let faults = Faults::watch(Options {
            file: flag_file.clone(),
            service: "wire",
            release: "test".to_owned(),
            secret: Vec::new(),
        });
        let address = listener.local_addr().unwrap();
        let mut listeners = Listeners { faults: faults.clone(), ..Listeners::local(&[]).await.unwrap() };
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
        let shutdown = Shutdown::new();
        let running = wire::run(Config { wire }, listeners, shutdown.clone());
        let running = telemetry::spawn(async move { running.await.map_err(|failure| failure.describe()) });
        Self { address, faults, flag_file, shutdown, running, _folder: folder }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Arms one fault for all traffic and waits until the proxy has read it.
    pub(crate) async fn arm(&self, id: FaultId, values: &[(&str, i64)]) {
        let values = Values::new(id, values.iter().copied()).unwrap();
        let armed = Armed { id, scope: Scope::All, values, expires_at_ms: None };
        State { armed: vec![armed], ..State::default() }.write(&self.flag_file).unwrap();
        self.wait_for("the fault to be armed", || !self.faults.armed().is_empty()).await;
    }

    /// Disarms all faults and waits until the proxy has read it.
    pub(crate) async fn disarm(&self) {
        State::default().write(&self.flag_file).unwrap();
        self.wait_for("the fault to be disarmed", || self.faults.armed().is_empty()).await;
    }

    /// Returns how often the proxy applied the fault.
    pub(crate) fn applied(&self, id: FaultId) -> u64 {
        let applied = self.faults.applied();
        applied.into_iter().find(|(applied, _)| *applied == id).map_or(0, |(_, count)| count)
    }

    pub(crate) async fn wait_for(&self, what: &str, is_true: impl Fn() -> bool) {
        testkit::eventually(what, TIMEOUT, || async { is_true().then_some(()) }).await;
    }

    /// Requests the shutdown.
    pub(crate) fn stop(&self) {
        self.shutdown.trigger();
    }

    /// Waits until the proxy has ended without an error.
    pub(crate) async fn ended(self) {
        self.running.await.unwrap().unwrap();
    }
}
