//! A service in the process of a test: it is started, becomes ready and is stopped.

use std::net::SocketAddr;

use chassis::{Failure, Listeners, Shutdown};
use serde_json::Value;
use tokio::task::JoinHandle;

/// A running service. Dropping it requests the shutdown.
#[derive(Debug)]
pub struct Running {
    /// Address of its own HTTP interface.
    pub http: SocketAddr,
    /// Address of its ops listener.
    pub ops: SocketAddr,
    shutdown: Shutdown,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

impl Running {
    /// Starts a service by its function `run`, and waits until it is ready.
    ///
    /// # Panics
    /// When it ends before, or is not ready in time.
    pub async fn start<C, R, F>(run: R, config: C, listeners: Listeners) -> Self
    where
        R: FnOnce(C, Listeners, Shutdown) -> F,
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let running = Self::spawn(run, config, listeners);
        running.ready().await;
        running
    }

    /// Starts a service by its function `run`, and does not wait.
    ///
    /// # Panics
    /// When a listener has no address.
    #[must_use]
    pub fn spawn<C, R, F>(run: R, config: C, listeners: Listeners) -> Self
    where
        R: FnOnce(C, Listeners, Shutdown) -> F,
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let http = listeners.http.local_addr().expect("an address");
        let ops = listeners.ops.local_addr().expect("an address");
        let shutdown = Shutdown::new();
        let running = run(config, listeners, shutdown.clone());
        let task = telemetry::spawn(async move {
            if let Err(failure) = running.await {
                panic!("the service failed: {}", failure.describe());
            }
        });
        Self { http, ops, shutdown, task }
    }

    /// Waits until it is ready.
    ///
    /// # Panics
    /// When it ends before, or is not ready in time.
    pub async fn ready(&self) {
        crate::eventually("the service to be ready", crate::READY_MAX, || async {
            assert!(!self.task.is_finished(), "the service ended before it was ready");
            (crate::http::get(self.ops, "/readyz").await?.0 == 200).then_some(())
        })
        .await;
    }

    /// Sends a request without a body to its own HTTP interface, as [`crate::http::request`] does.
    ///
    /// # Panics
    /// When there is no complete response.
    pub async fn request(&self, method: &str, path: &str, headers: &[(String, String)]) -> (u16, Value) {
        crate::http::request(self.http, method, path, headers).await.expect("a complete response")
    }

    /// Requests the shutdown.
    pub fn shut_down(&self) {
        self.shutdown.trigger();
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// When it failed.
    pub async fn ended(mut self) {
        (&mut self.task).await.expect("an orderly shutdown");
    }

    /// Shuts it down in an orderly way.
    ///
    /// # Panics
    /// When it failed.
    pub async fn stop(self) {
        self.shut_down();
        self.ended().await;
    }

    /// Stops it at an arbitrary point, as SIGKILL does.
    ///
    /// # Panics
    /// When it had already ended.
    pub async fn kill(mut self) {
        self.task.abort();
        let ended = (&mut self.task).await;
        assert!(ended.is_err_and(|error| error.is_cancelled()), "it had already ended");
    }
}

#[cfg(test)]
mod tests {
    use chassis::Lifecycle;

    use super::*;

    async fn run(is_broken: bool, listeners: Listeners, shutdown: Shutdown) -> Result<(), Failure> {
        let lifecycle = Lifecycle::start(listeners, shutdown);
        if is_broken { Err(Failure::failed("no broker")) } else { lifecycle.run().await }
    }

    #[tokio::test]
    async fn started_service_runs_until_stopped() {
        let service = Running::start(run, false, Listeners::local(&[]).await.unwrap()).await;
        assert!(!service.task.is_finished());
        service.stop().await;
    }

    #[tokio::test]
    #[should_panic(expected = "the service ended before it was ready")]
    async fn failure_at_start_panics() {
        Running::start(run, true, Listeners::local(&[]).await.unwrap()).await;
    }

    #[tokio::test]
    #[should_panic(expected = "an orderly shutdown")]
    async fn failure_is_no_orderly_shutdown() {
        Running::spawn(run, true, Listeners::local(&[]).await.unwrap()).stop().await;
    }
}
