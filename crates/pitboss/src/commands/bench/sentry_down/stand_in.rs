//! A small receiver of telemetry in Sentry's place, in this process: it takes all envelopes, or fails as it is told.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use runtime::receiver::Receiver;
use serde::Serialize;
use serde_json::Value;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};

use super::requests::{Request, Requests, TAKEN};
use crate::load_generator::losses::add_report;

/// Length of the queue of connections that are not accepted yet.
const BACKLOG: u32 = 128;
/// Largest number of connections. The services of a platform open fewer.
const CONNECTIONS_MAX: usize = 256;
/// Pause after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// Answer of a receiver whose limit is reached. The senders wait for these seconds, as in the fault `sentry.down`.
const LIMITED: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 5\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
/// Type of a client report, as it is written in an envelope.
const CLIENT_REPORT: &str = "client_report";

/// What the receiver does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// It takes each envelope.
    Healthy,
    /// Nothing listens at its port, so connections are refused.
    Dead,
    /// It reads each request and does not answer.
    Hung,
    /// It answers each request with 429.
    Limited,
}

/// Envelopes that arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Received {
    /// Envelopes that were read.
    pub(super) requests: u64,
    /// Those of them that were taken: answered with 200.
    pub(super) taken: u64,
    /// Lost items that the client reports in these name, by project, reason and category.
    pub(super) client_reports: BTreeMap<String, u64>,
}

/// A running receiver. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct StandIn {
    port: NonZeroU16,
    mode: watch::Sender<Mode>,
    received: Arc<Mutex<Received>>,
    /// Owns the port of a dead receiver, and does not listen.
    silent: Option<TcpSocket>,
}

/// The receiver as its connections see it.
#[derive(Clone, Debug)]
struct Server {
    mode: watch::Receiver<Mode>,
    received: Arc<Mutex<Received>>,
}

impl StandIn {
    /// Starts a receiver at a free port of 127.0.0.1.
    pub(super) fn start(mode: Mode) -> Result<Self> {
        let (socket, port) = bound().context("cannot bind a port for a receiver of telemetry")?;
        let mut stand_in =
            Self { port, mode: watch::Sender::new(mode), received: Arc::default(), silent: Some(socket) };
        if mode != Mode::Dead {
            stand_in.listen()?;
        }
        Ok(stand_in)
    }

    /// Lets it take envelopes from now on. Requests that it did not answer until now break.
    pub(super) fn recover(&mut self) -> Result<()> {
        self.mode.send_replace(Mode::Healthy);
        self.listen()
    }

    /// The receiver for the services of a platform.
    pub(super) const fn receiver(&self) -> Receiver {
        Receiver::Port(self.port)
    }

    /// What has arrived so far.
    pub(super) fn received(&self) -> Received {
        locked(&self.received).clone()
    }

    fn listen(&mut self) -> Result<()> {
        let Some(socket) = self.silent.take() else { return Ok(()) };
        let listener = socket.listen(BACKLOG).context("cannot listen for telemetry")?;
        let server = Server { mode: self.mode.subscribe(), received: Arc::clone(&self.received) };
        // It ends by itself, when the sender of its mode is dropped.
        drop(telemetry::spawn(server.accept(listener)));
        Ok(())
    }
}

/// A socket with a port of its own that does not listen.
fn bound() -> io::Result<(TcpSocket, NonZeroU16)> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let port = NonZeroU16::new(socket.local_addr()?.port());
    Ok((socket, port.ok_or_else(|| io::Error::other("the socket has no port"))?))
}

fn locked(received: &Mutex<Received>) -> MutexGuard<'_, Received> {
    // Consistent after every statement, so a panic in another thread does not damage it.
    received.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for the end of the receiver.
async fn ended(mode: &mut watch::Receiver<Mode>) {
    while mode.changed().await.is_ok() {}
}

impl Server {
    /// Accepts connections until the receiver ends.
    async fn accept(mut self, listener: TcpListener) {
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            // Nothing closes the semaphore. Its connections end with the receiver, so this does not wait for ever.
            let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = ended(&mut self.mode) => return,
            };
            match accepted {
                Ok((stream, _)) => {
                    let server = self.clone();
                    drop(telemetry::spawn(async move {
                        // A client that breaks its connection is no concern of the others.
                        drop(server.serve(stream).await);
                        drop(place);
                    }));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    /// Answers the requests of one connection, as the mode says.
    async fn serve(mut self, stream: TcpStream) -> io::Result<()> {
        let mut requests = Requests::of(stream);
        loop {
            let request = tokio::select! {
                request = requests.next() => request?,
                () = ended(&mut self.mode) => return Ok(()),
            };
            let Some(request) = request else { return Ok(()) };
            locked(&self.received).requests += 1;
            let mode = *self.mode.borrow_and_update();
            match mode {
                Mode::Healthy => {
                    requests.answer(TAKEN).await?;
                    locked(&self.received).take(&request);
                }
                Mode::Limited => requests.answer(LIMITED).await?,
                Mode::Hung | Mode::Dead => {
                    // Until it recovers, or until the client gives up.
                    tokio::select! {
                        _ = self.mode.changed() => {}
                        _ = requests.next() => {}
                    }
                    return Ok(());
                }
            }
        }
    }
}

impl Received {
    /// Counts an envelope that was taken, and adds its client reports.
    fn take(&mut self, request: &Request) {
        self.taken += 1;
        // A compressed envelope is no text. Senders compress none that is as small as a report.
        let Ok(envelope) = std::str::from_utf8(&request.body) else { return };
        if !envelope.contains(CLIENT_REPORT) {
            return;
        }
        let lines: Vec<&str> = envelope.lines().collect();
        for pair in lines.windows(2) {
            let [header, payload] = [0, 1].map(|line: usize| {
                pair.get(line).and_then(|text| serde_json::from_str::<Value>(text).ok()).unwrap_or_default()
            });
            if header["type"] == CLIENT_REPORT {
                add_report(&mut self.client_reports, &request.project, &payload);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;

    /// A client that waits so long for an answer.
    fn client(deadline: Duration) -> reqwest::Client {
        drop(rustls::crypto::ring::default_provider().install_default());
        reqwest::Client::builder().no_proxy().timeout(deadline).build().unwrap()
    }

    async fn post(stand_in: &StandIn, client: &reqwest::Client, body: &str) -> reqwest::Result<StatusCode> {
        let url = format!("http://127.0.0.1:{}/api/3/envelope/", stand_in.port);
        Ok(client.post(url).body(body.to_owned()).send().await?.status())
    }

    /// Waits for a condition.
    async fn until(holds: impl Fn() -> bool) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while !holds() {
            assert!(tokio::time::Instant::now() < deadline, "the condition does not hold");
            tokio::task::yield_now().await;
        }
    }

    fn report(quantity: u64) -> String {
        let item = telemetry::transport::client_report([("network_error", "span", quantity)]).unwrap();
        format!("{{}}\n{item}")
    }

    #[tokio::test]
    async fn healthy_receiver_counts_reports() {
        let stand_in = StandIn::start(Mode::Healthy).unwrap();
        let client = client(Duration::from_secs(10));
        for body in [report(3), "{}\n{\"type\":\"event\"}\n{}\n".to_owned(), report(4)] {
            assert_eq!(post(&stand_in, &client, &body).await.unwrap(), StatusCode::OK);
        }
        // The last envelope is counted after its answer.
        until(|| stand_in.received().taken == 3).await;
        let received = stand_in.received();
        assert_eq!(received.requests, 3);
        assert_eq!(received.client_reports, BTreeMap::from([("game network_error span".to_owned(), 7)]));
    }

    #[tokio::test]
    async fn dead_receiver_refuses_until_it_recovers() {
        let mut stand_in = StandIn::start(Mode::Dead).unwrap();
        let client = client(Duration::from_secs(10));
        assert!(post(&stand_in, &client, "{}\n").await.unwrap_err().is_connect());
        stand_in.recover().unwrap();
        assert_eq!(post(&stand_in, &client, "{}\n").await.unwrap(), StatusCode::OK);
        assert_eq!(stand_in.received().requests, 1);
    }

    #[tokio::test]
    async fn hung_receiver_reads_and_does_not_answer() {
        let mut stand_in = StandIn::start(Mode::Hung).unwrap();
        let impatient = client(Duration::from_millis(300));
        assert!(post(&stand_in, &impatient, "{}\n").await.unwrap_err().is_timeout());
        assert_eq!((stand_in.received().requests, stand_in.received().taken), (1, 0));
        // A request that still waits breaks, and the next one is taken.
        let client = client(Duration::from_secs(10));
        let waiting = post(&stand_in, &client, "{}\n");
        let recover = async {
            until(|| stand_in.received().requests == 2).await;
            stand_in.mode.send_replace(Mode::Healthy);
        };
        let (broken, ()) = tokio::join!(waiting, recover);
        assert!(!broken.unwrap_err().is_timeout());
        stand_in.recover().unwrap();
        assert_eq!(post(&stand_in, &client, "{}\n").await.unwrap(), StatusCode::OK);
    }

    #[tokio::test]
    async fn limited_receiver_answers_429_and_counts_no_report() {
        let mut stand_in = StandIn::start(Mode::Limited).unwrap();
        let client = client(Duration::from_secs(10));
        assert_eq!(post(&stand_in, &client, &report(9)).await.unwrap(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(stand_in.received().client_reports, BTreeMap::new());
        stand_in.recover().unwrap();
        assert_eq!(post(&stand_in, &client, &report(2)).await.unwrap(), StatusCode::OK);
        until(|| !stand_in.received().client_reports.is_empty()).await;
        let expected = BTreeMap::from([("game network_error span".to_owned(), 2)]);
        assert_eq!(stand_in.received().client_reports, expected);
    }

    #[tokio::test]
    async fn dropped_receiver_refuses_connections() {
        let stand_in = StandIn::start(Mode::Healthy).unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, stand_in.port.get()));
        drop(stand_in);
        until(|| std::net::TcpStream::connect(address).is_err()).await;
    }
}
