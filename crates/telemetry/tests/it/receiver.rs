//! A plain HTTP server over `std::net` with a separate envelope parser, which records what arrives.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

/// Behaviour of the server.
#[derive(Debug, Clone)]
pub(crate) enum Behaviour {
    /// 200 to everything.
    Normal,
    /// Reads the request and never responds.
    Hung,
    /// This status and these header lines.
    Answer(u16, String),
    /// 200, but only after this time.
    Slow(Duration),
    /// The first request gets this response, all others get 200.
    First(Box<Behaviour>),
}

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) request_line: String,
    pub(crate) headers: Vec<(String, String)>,
    /// After decompression.
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers_named(name).first().copied()
    }

    /// Every header of that name, in the order of arrival.
    pub(crate) fn headers_named(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }
}

/// An item with the header of its envelope.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) envelope: Value,
    pub(crate) header: Value,
    pub(crate) payload: Value,
}

pub(crate) struct Receiver {
    port: u16,
    received: Arc<Mutex<Vec<Received>>>,
    connections: Arc<AtomicUsize>,
    at_once_max: Arc<AtomicUsize>,
    closing: Arc<AtomicBool>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        // Wakes the acceptor
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

#[derive(Clone)]
struct Shared {
    received: Arc<Mutex<Vec<Received>>>,
    behaviour: Behaviour,
    at_once: Arc<AtomicUsize>,
    at_once_max: Arc<AtomicUsize>,
    closing: Arc<AtomicBool>,
}

impl Receiver {
    pub(crate) fn start(behaviour: Behaviour) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), behaviour)
    }

    pub(crate) fn on(listener: TcpListener, behaviour: Behaviour) -> Self {
        let port = listener.local_addr().unwrap().port();
        let shared = Shared {
            received: Arc::default(),
            behaviour,
            at_once: Arc::default(),
            at_once_max: Arc::default(),
            closing: Arc::default(),
        };
        let connections = Arc::new(AtomicUsize::new(0));
        let receiver = Self {
            port,
            received: Arc::clone(&shared.received),
            connections: Arc::clone(&connections),
            at_once_max: Arc::clone(&shared.at_once_max),
            closing: Arc::clone(&shared.closing),
        };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.closing.load(Ordering::SeqCst) {
                    return;
                }
                connections.fetch_add(1, Ordering::SeqCst);
                let shared = shared.clone();
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        receiver
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn dsn(&self) -> String {
        dsn(&self.address())
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn at_once_max(&self) -> usize {
        self.at_once_max.load(Ordering::SeqCst)
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    pub(crate) fn items(&self) -> Vec<Item> {
        self.received().iter().flat_map(|request| parse_envelope(&request.body)).collect()
    }

    pub(crate) fn items_of(&self, kind: &str) -> Vec<Item> {
        self.items().into_iter().filter(|item| item.header["type"] == kind).collect()
    }

    pub(crate) fn transactions(&self) -> Vec<Item> {
        self.items_of("transaction")
    }

    /// The only transaction of that name.
    pub(crate) fn transaction(&self, name: &str) -> Item {
        let mut found: Vec<Item> =
            self.transactions().into_iter().filter(|item| item.payload["transaction"] == name).collect();
        assert_eq!(found.len(), 1, "transactions named {name}");
        found.remove(0)
    }

    /// All losses in client reports: reason, category, quantity.
    pub(crate) fn reported_losses(&self) -> Vec<(String, String, u64)> {
        let reports = self.items_of("client_report");
        let entries =
            reports.iter().flat_map(|report| report.payload["discarded_events"].as_array().unwrap().clone());
        entries
            .map(|entry| {
                let text = |name: &str| entry[name].as_str().unwrap().to_owned();
                (text("reason"), text("category"), entry["quantity"].as_u64().unwrap())
            })
            .collect()
    }

    pub(crate) fn reported(&self, reason: &str, category: &str) -> u64 {
        let losses = self.reported_losses();
        losses.iter().filter(|(r, c, _)| r == reason && c == category).map(|(_, _, quantity)| quantity).sum()
    }
}

/// The DSN of project 3 on a server.
pub(crate) fn dsn(address: &str) -> String {
    format!("http://0123456789abcdef0123456789abcdef@{address}/3")
}

fn serve(stream: TcpStream, shared: &Shared) {
    stream.set_nodelay(true).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader) {
        let now = shared.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        shared.at_once_max.fetch_max(now, Ordering::SeqCst);
        let behaviour = match (&shared.behaviour, keep(request, shared)) {
            (Behaviour::First(first), 1) => Behaviour::clone(first),
            (behaviour, _) => behaviour.clone(),
        };
        let (status, lines) = match behaviour {
            Behaviour::Normal | Behaviour::First(_) => (200, String::new()),
            Behaviour::Answer(status, lines) => (status, lines),
            Behaviour::Slow(wait) => {
                std::thread::sleep(wait);
                (200, String::new())
            }
            Behaviour::Hung => loop {
                if shared.closing.load(Ordering::SeqCst) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            },
        };
        shared.at_once.fetch_sub(1, Ordering::SeqCst);
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 2\r\n{lines}\r\n{{}}");
        if writer.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// Stores the request and returns the number of requests so far.
fn keep(request: Received, shared: &Shared) -> usize {
    let mut received = shared.received.lock().unwrap();
    received.push(request);
    received.len()
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut request_line = String::new();
    if reader.read_line(&mut request_line).ok()? == 0 {
        return None;
    }
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let header = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    // Without a length there is no body, as in a GET
    let length: usize = header("content-length").map_or(Some(0), |text| text.parse().ok())?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    if header("content-encoding").as_deref() == Some("gzip") {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(body.as_slice()).read_to_end(&mut plain).unwrap();
        body = plain;
    }
    Some(Received { request_line: request_line.trim_end().to_owned(), headers, body })
}

/// Strict parser: a wrong length, or a line that is not JSON, fails the test.
pub(crate) fn parse_envelope(body: &[u8]) -> Vec<Item> {
    let (line, mut rest) = split_line(body);
    let envelope: Value = serde_json::from_slice(line).expect("the envelope's header is JSON");
    let mut items = Vec::new();
    while !rest.is_empty() {
        let (line, after) = split_line(rest);
        let header: Value = serde_json::from_slice(line).expect("an item's header is JSON");
        let length = usize::try_from(header["length"].as_u64().expect("an item states its length")).unwrap();
        let payload = &after[..length];
        assert_eq!(after.get(length).copied(), Some(b'\n'), "the stated length is right");
        rest = &after[length + 1..];
        items.push(Item {
            envelope: envelope.clone(),
            header,
            payload: serde_json::from_slice(payload).expect("JSON"),
        });
    }
    items
}

fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').expect("a line ends");
    (&bytes[..end], &bytes[end + 1..])
}

/// The spans of a transaction as JSON, its root included.
pub(crate) fn spans_of(transaction: &Item) -> Vec<Value> {
    let mut root = transaction.payload["contexts"]["trace"].clone();
    root["description"] = transaction.payload["transaction"].clone();
    root["start_timestamp"] = transaction.payload["start_timestamp"].clone();
    root["timestamp"] = transaction.payload["timestamp"].clone();
    let mut spans = vec![root];
    spans.extend(transaction.payload["spans"].as_array().unwrap().iter().cloned());
    spans
}

/// The only span with that op in a transaction.
pub(crate) fn span_with_op(transaction: &Item, op: &str) -> Value {
    let mut found: Vec<Value> = spans_of(transaction).into_iter().filter(|span| span["op"] == op).collect();
    assert_eq!(found.len(), 1, "spans with op {op} in {}", transaction.payload);
    found.remove(0)
}
