//! One process of notification: the real service as a task. Several may run on one store and in one group.

use std::net::SocketAddr;

use chassis::{Edges, Failure, Shutdown};
use notification::config::Config;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;

use crate::harness::PATIENCE;

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
        let edges = Edges::local(&[]).await.unwrap();
        let (address, ops) = (edges.http.local_addr().unwrap(), edges.ops.local_addr().unwrap());
        let shutdown = Shutdown::new();
        let service = telemetry::spawn(notification::run(config.clone(), edges, shutdown.clone()));
        let process = Self { address, shutdown, service };
        testkit::eventually("notification to be ready", PATIENCE, || async move {
            (ask(ops, "GET", "/readyz", &[]).await?.0 == 200).then_some(())
        })
        .await;
        process
    }

    /// Sends a request with these headers.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(String, String)],
    ) -> (u16, serde_json::Value) {
        ask(self.address, method, path, headers).await.unwrap()
    }

    /// Shuts the process down in an orderly way.
    pub(crate) async fn end(mut self) {
        self.shutdown.trigger();
        let ended = (&mut self.service).await.unwrap();
        assert!(ended.is_ok(), "{:?}", ended.map_err(|failure| failure.story()));
    }

    /// Stops the process at an arbitrary point, as SIGKILL does.
    pub(crate) async fn die(mut self) {
        self.service.abort();
        let ended = (&mut self.service).await;
        assert!(ended.is_err_and(|error| error.is_cancelled()), "it had ended by itself");
    }
}

async fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(String, String)],
) -> Option<(u16, serde_json::Value)> {
    let mut stream = tokio::net::TcpStream::connect(address).await.ok()?;
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\n{headers}content-length: 0\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, serde_json::from_str(body).unwrap_or_default()))
}
