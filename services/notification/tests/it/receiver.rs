//! Plain TCP server that receives the data for Sentry. It expects uncompressed bodies.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    items: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Receiver {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let items: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
        let kept = Arc::clone(&items);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || serve(stream.unwrap(), &kept));
            }
        });
        Self { address, items }
    }

    /// Returns the payload of each transaction so far.
    pub(crate) fn transactions(&self) -> Vec<Value> {
        let items = self.items.lock().unwrap();
        items.iter().filter(|(kind, _)| kind == "transaction").map(|(_, payload)| payload.clone()).collect()
    }
}

fn serve(mut stream: TcpStream, kept: &Mutex<Vec<(String, Value)>>) {
    let mut received = Vec::new();
    loop {
        let whole = head(&received).map(|(end, length)| (end, end + length));
        let Some((end, whole)) = whole.filter(|(_, whole)| received.len() >= *whole) else {
            let mut chunk = [0_u8; 65_536];
            let count = stream.read(&mut chunk).unwrap_or(0);
            if count == 0 {
                return;
            }
            received.extend_from_slice(&chunk[..count]);
            continue;
        };
        let request: Vec<u8> = received.drain(..whole).collect();
        kept.lock().unwrap().extend(items_of(&request[end..]));
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").unwrap();
    }
}

/// Returns the end of a request's head and the length of its body, or `None` until the head is complete.
fn head(received: &[u8]) -> Option<(usize, usize)> {
    let end = received.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&received[..end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"))?.trim().parse().ok()?;
    Some((end, length))
}

/// Returns the kind and the payload of each item of an envelope.
fn items_of(envelope: &[u8]) -> Vec<(String, Value)> {
    let line_end = |from: &[u8]| from.iter().position(|byte| *byte == b'\n').unwrap_or(from.len());
    let mut rest = &envelope[(line_end(envelope) + 1).min(envelope.len())..];
    let mut items = Vec::new();
    while !rest.is_empty() {
        let end = line_end(rest);
        let Ok(header) = serde_json::from_slice::<Value>(&rest[..end]) else { break };
        rest = &rest[(end + 1).min(rest.len())..];
        let length =
            header["length"].as_u64().map_or_else(|| line_end(rest), |n| usize::try_from(n).unwrap());
        let payload = serde_json::from_slice(&rest[..length]).unwrap_or_default();
        items.push((header["type"].as_str().unwrap_or_default().to_owned(), payload));
        rest = &rest[(length + 1).min(rest.len())..];
    }
    items
}
