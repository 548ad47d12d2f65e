//! A proxy between a client and the broker that damages fetch responses. Other kinds of damage would affect other tests. It
//! replaces the broker's address in responses with its own, so the client stays on it.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use std::collections::HashSet;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Kafka's API key of a fetch request.
const FETCH: i16 = 1;
const HOST: &[u8] = b"127.0.0.1";

/// A proxy that runs until the test ends.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    damages: Arc<AtomicBool>,
}

impl Proxy {
    /// Starts a proxy to `broker` that changes a byte of every `marker` in a fetched batch.
    pub(crate) async fn start(broker: &str, marker: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let broker: SocketAddr = broker.parse().expect("one broker with a numeric address");
        let damages = Arc::new(AtomicBool::new(true));
        let is_on = Arc::clone(&damages);
        telemetry::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let connection = Connection { marker, is_on: Arc::clone(&is_on), from: broker, to: address };
                telemetry::spawn(async move { connection.forward(client).await.ok() });
            }
        });
        Self { address, damages }
    }

    /// Ends the damage. Later responses pass unchanged.
    pub(crate) fn heal(&self) {
        self.damages.store(false, Ordering::SeqCst);
    }
}

struct Connection {
    marker: &'static [u8],
    is_on: Arc<AtomicBool>,
    from: SocketAddr,
    to: SocketAddr,
}

impl Connection {
    async fn forward(self, client: TcpStream) -> io::Result<()> {
        let server = TcpStream::connect(self.from).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let fetches: Arc<Mutex<HashSet<i32>>> = Arc::default();
        let requested = Arc::clone(&fetches);
        let there = telemetry::spawn(async move {
            while let Ok(frame) = read(&mut from_client).await {
                if let [api_high, api_low, _, _, a, b, c, d, ..] = frame[..]
                    && i16::from_be_bytes([api_high, api_low]) == FETCH
                {
                    requested.lock().expect("not poisoned").insert(i32::from_be_bytes([a, b, c, d]));
                }
                write(&mut to_server, &frame).await?;
            }
            to_server.shutdown().await
        });
        while let Ok(mut frame) = read(&mut from_server).await {
            let is_fetch = frame
                .first_chunk()
                .is_some_and(|id| fetches.lock().expect("not poisoned").remove(&i32::from_be_bytes(*id)));
            self.readdress(&mut frame);
            if is_fetch && self.is_on.load(Ordering::SeqCst) {
                damage(&mut frame, self.marker);
            }
            write(&mut to_client, &frame).await?;
        }
        there.abort();
        Ok(())
    }

    fn readdress(&self, frame: &mut [u8]) {
        let broker = [HOST, &i32::from(self.from.port()).to_be_bytes()].concat();
        let proxy = [HOST, &i32::from(self.to.port()).to_be_bytes()].concat();
        for start in positions(frame, &broker) {
            frame[start..start + proxy.len()].copy_from_slice(&proxy);
        }
    }
}

fn damage(frame: &mut [u8], marker: &[u8]) {
    for start in positions(frame, marker) {
        frame[start] ^= 0x20;
    }
}

fn positions(frame: &[u8], wanted: &[u8]) -> Vec<usize> {
    let found = frame.windows(wanted.len()).enumerate().filter(|(_, window)| *window == wanted);
    found.map(|(start, _)| start).collect()
}

async fn read(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let length = stream.read_u32().await?;
    let mut frame = vec![0; usize::try_from(length).unwrap_or(0)];
    stream.read_exact(&mut frame).await?;
    Ok(frame)
}

async fn write(stream: &mut (impl tokio::io::AsyncWrite + Unpin), frame: &[u8]) -> io::Result<()> {
    let mut whole = Vec::with_capacity(frame.len() + 4);
    whole.extend_from_slice(&u32::try_from(frame.len()).unwrap_or(0).to_be_bytes());
    whole.extend_from_slice(frame);
    stream.write_all(&whole).await
}
