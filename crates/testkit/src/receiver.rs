//! Plain TCP server that receives the data for Sentry.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// Accepts envelopes like a Sentry server, without further checks.
#[derive(Debug)]
pub struct Receiver {
    /// Address for the DSN.
    pub address: std::net::SocketAddr,
    items: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Receiver {
    /// Starts the server, which runs until the process exits.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let items: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
        let kept = Arc::clone(&items);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || serve(stream.expect("a connection"), &kept));
            }
        });
        Self { address, items }
    }

    /// Returns the type and the payload of each item received so far.
    ///
    /// # Panics
    /// When a connection was broken in the middle of an envelope.
    #[must_use]
    pub fn items(&self) -> Vec<(String, Value)> {
        self.items.lock().expect("not poisoned").clone()
    }
}

fn serve(mut stream: TcpStream, kept: &Mutex<Vec<(String, Value)>>) {
    let mut received = Vec::new();
    loop {
        let Some((head_end, length, is_gzip)) = head(&received) else {
            if !read_more(&mut stream, &mut received) {
                return;
            }
            continue;
        };
        while received.len() < head_end + length {
            if !read_more(&mut stream, &mut received) {
                return;
            }
        }
        let body: Vec<u8> = received.drain(..head_end + length).skip(head_end).collect();
        let body = if is_gzip { gunzip(&body) } else { body };
        kept.lock().expect("not poisoned").extend(items_of(&body));
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").expect("answered");
    }
}

fn read_more(stream: &mut TcpStream, received: &mut Vec<u8>) -> bool {
    let mut chunk = [0_u8; 65_536];
    let count = stream.read(&mut chunk).unwrap_or(0);
    received.extend_from_slice(&chunk[..count]);
    count > 0
}

/// Returns the end of the request's head, the length of its body, and whether the body is compressed.
fn head(received: &[u8]) -> Option<(usize, usize, bool)> {
    let end = received.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&received[..end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"))?.trim().parse().ok()?;
    Some((end, length, head.contains("content-encoding: gzip")))
}

fn gunzip(body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(body).read_to_end(&mut plain).expect("gzip");
    plain
}

fn items_of(envelope: &[u8]) -> Vec<(String, Value)> {
    let line_end = |from: &[u8]| from.iter().position(|byte| *byte == b'\n').unwrap_or(from.len());
    let mut rest = &envelope[(line_end(envelope) + 1).min(envelope.len())..];
    let mut items = Vec::new();
    while !rest.is_empty() {
        let end = line_end(rest);
        let Ok(header) = serde_json::from_slice::<Value>(&rest[..end]) else { break };
        rest = &rest[(end + 1).min(rest.len())..];
        let length =
            header["length"].as_u64().map_or_else(|| line_end(rest), |n| usize::try_from(n).expect("small"));
        let payload = serde_json::from_slice(&rest[..length]).unwrap_or(Value::Null);
        items.push((header["type"].as_str().unwrap_or_default().to_owned(), payload));
        rest = &rest[(length + 1).min(rest.len())..];
    }
    items
}
