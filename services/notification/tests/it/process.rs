//! One process of notification: the real service as a task. Several may run on one store and in one group.

use std::net::SocketAddr;

use chassis::{Failure, Listeners, Shutdown};
use notification::config::Config;
use testkit::http::request;
use tokio::task::JoinHandle;

use crate::harness::TIMEOUT;

pub(crate) struct Process {
    address: SocketAddr,
    shutdown: Shutdown,
    service: JoinHandle<Result<(), Failure>>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

impl Process {
    /// Starts a process and waits until it is ready.
    pub(crate) async fn start(config: &Config) -> Self {
        let listeners = Listeners::local(&[]).await.unwrap();
        let (address, ops) = (listeners.http.local_addr().unwrap(), listeners.ops.local_addr().unwrap());
        let shutdown = Shutdown::new();
        let service = telemetry::spawn(notification::run(config.clone(), listeners, shutdown.clone()));
        let process = Self { address, shutdown, service };
        testkit::eventually("notification to be ready", TIMEOUT, || async move {
            (request(ops, "GET", "/readyz", &[]).await?.0 == 200).then_some(())
        })
        .await;
        process
    }

    /// Sends a request with these headers.
    pub(crate) async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(String, String)],
    ) -> (u16, serde_json::Value) {
        request(self.address, method, path, headers).await.unwrap()
    }

    /// Shuts the process down in an orderly way.
    pub(crate) async fn stop(mut self) {
        self.shutdown.trigger();
        let ended = (&mut self.service).await.unwrap();
        assert!(ended.is_ok(), "{:?}", ended.map_err(|failure| failure.describe()));
    }

    /// Stops the process at an arbitrary point, as SIGKILL does.
    pub(crate) async fn kill(mut self) {
        self.service.abort();
        let ended = (&mut self.service).await;
        assert!(ended.is_err_and(|error| error.is_cancelled()), "it had already ended");
    }
}
