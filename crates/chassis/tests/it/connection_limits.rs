//! Clients that send nothing, send slowly or do not read cannot keep other clients out.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    routing::{get, post},
};
use chassis::{config::Http, http::Json};
use serde_json::Value;
use telemetry::propagation::TrustPolicy;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Longer than anything here may take, so a test that reaches it has failed.
const LONG: Duration = Duration::from_secs(60);

struct Server {
    address: SocketAddr,
    /// Number of `/work` requests in progress, and the semaphore that lets them finish.
    working: Arc<AtomicUsize>,
    release: Arc<Semaphore>,
    /// Number of `/endless` responses that were aborted.
    aborted: Arc<AtomicUsize>,
    _stop: DropGuard,
}

/// Increments the counter when it is dropped.
struct CountOnDrop(Arc<AtomicUsize>);

impl Drop for CountOnDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Limits so long that only the rule under test can close a connection.
fn long_limits() -> Http {
    let ms = 600_000;
    let http = Http::at("127.0.0.1:0".parse().expect("an address"));
    Http {
        request_deadline_ms: ms,
        header_deadline_ms: ms,
        first_header_deadline_ms: ms,
        stall_deadline_ms: ms,
        bytes_per_s_min: 1_000_000_000,
        ..http
    }
}

async fn serve(http: Http) -> Server {
    crate::init_telemetry();
    let (working, release) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let aborted = Arc::new(AtomicUsize::new(0));
    let endless = {
        let aborted = Arc::clone(&aborted);
        move || async move {
            let ended = CountOnDrop(aborted);
            Body::from_stream(futures::stream::repeat_with(move || {
                let _held = &ended;
                Ok::<_, Infallible>(Bytes::from_static(&[7; 1 << 14]))
            }))
        }
    };
    let work = {
        let (working, release) = (Arc::clone(&working), Arc::clone(&release));
        move || async move {
            working.fetch_add(1, Ordering::SeqCst);
            release.acquire().await.expect("open").forget();
            "done"
        }
    };
    let routes = Router::new()
        .route("/", get(|| async { "here" }))
        .route("/work", get(work))
        .route("/body", post(|Json(_): Json<Value>| async { "read" }))
        .route("/endless", get(endless));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let router = chassis::http::router(routes, &http, TrustPolicy::inside());
    let stop = CancellationToken::new();
    telemetry::spawn(chassis::http::serve(listener, router, http, stop.clone()));
    Server { address, working, release, aborted, _stop: stop.drop_guard() }
}

impl Server {
    async fn open(&self, bytes: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.expect("connects");
        stream.write_all(bytes.as_bytes()).await.expect("writes");
        stream
    }

    fn head(&self, request: &str) -> String {
        format!("{request} HTTP/1.1\r\nhost: {}\r\n", self.address)
    }

    /// Returns `true` if a normal client gets a response.
    async fn answers(&self) -> bool {
        let client = reqwest::Client::builder().no_proxy().timeout(LONG).build().expect("a client");
        let answer = client.get(format!("http://{}/", self.address)).send().await;
        answer.is_ok_and(|answer| answer.status().as_u16() == 200)
    }

    async fn until_working(&self, wanted: usize) {
        testkit::eventually("requests in progress", LONG, || async {
            (self.working.load(Ordering::SeqCst) == wanted).then_some(())
        })
        .await;
    }
}

/// Status of the answer on this connection, or `None` if it is closed without an answer.
async fn status(stream: &mut TcpStream) -> Option<u16> {
    let mut answer = [0; 12];
    tokio::time::timeout(LONG, stream.read_exact(&mut answer))
        .await
        .expect("closed or answered in time")
        .ok()?;
    String::from_utf8_lossy(&answer).rsplit(' ').next()?.parse().ok()
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    tokio::time::timeout(LONG, stream.read_to_end(&mut rest)).await.is_ok()
}

#[tokio::test]
async fn waiting_client_is_evicted_for_new_client() {
    let server = serve(Http { connections_max: 8, ..long_limits() }).await;
    let idle_after_an_answer = format!("{}\r\n", server.head("GET /"));
    let post = server.head("POST /body");
    let body = format!("{post}content-type: application/json\r\ncontent-length: 100\r\n\r\n{{");
    let never_reads = format!("{}\r\n", server.head("GET /endless"));
    for (kind, bytes) in [
        ("silent", String::new()),
        ("half a head", "GET / HTTP/1.1\r\nhos".to_owned()),
        ("half a body", body),
        ("an answer that is not read", never_reads),
        ("idle after an answer", idle_after_an_answer),
    ] {
        let mut held = Vec::new();
        for _ in 0..3 * 8 {
            let mut stream = server.open(&bytes).await;
            if kind.starts_with("idle") {
                assert_eq!(status(&mut stream).await, Some(200));
            }
            held.push(stream);
        }
        assert!(server.answers().await, "{kind}");
        assert!(is_closed(&mut held[0]).await, "{kind}: the oldest was not evicted");
    }
}

#[tokio::test]
async fn new_client_waits_while_all_places_are_busy() {
    let server = serve(Http { connections_max: 3, ..long_limits() }).await;
    let mut busy = Vec::new();
    for _ in 0..3 {
        busy.push(server.open(&format!("{}\r\n", server.head("GET /work"))).await);
    }
    server.until_working(3).await;
    let mut next = server.open(&format!("{}\r\n", server.head("GET /"))).await;
    let early = tokio::time::timeout(Duration::from_millis(200), next.read_u8()).await;
    assert!(early.is_err(), "it was answered although every slot had a request in progress");
    server.release.add_permits(3);
    for stream in &mut busy {
        assert_eq!(status(stream).await, Some(200));
    }
    // A connection whose request was answered is idle now and is evicted.
    assert_eq!(status(&mut next).await, Some(200));
}

#[tokio::test]
async fn connections_per_address_are_limited() {
    let server = serve(Http { connections_loopback_max: 2, ..long_limits() }).await;
    let mut silent = server.open("").await;
    let mut busy = server.open(&format!("{}\r\n", server.head("GET /work"))).await;
    server.until_working(1).await;
    let mut second = server.open(&format!("{}\r\n", server.head("GET /work"))).await;
    server.until_working(2).await;
    assert!(is_closed(&mut silent).await, "the oldest waiting connection of the address was not evicted");
    let mut third = server.open("").await;
    assert!(is_closed(&mut third).await, "both of its slots have requests in progress");
    server.release.add_permits(2);
    assert_eq!((status(&mut busy).await, status(&mut second).await), (Some(200), Some(200)));
}

#[tokio::test]
async fn missing_or_partial_head_closes_connection() {
    // Long enough for a head that is written right after the connection was opened
    let server = serve(Http { first_header_deadline_ms: 1_500, ..long_limits() }).await;
    let mut answered = server.open(&format!("{}\r\n", server.head("GET /"))).await;
    assert_eq!(status(&mut answered).await, Some(200));
    for bytes in ["", "GET / HTTP/1.1\r\nhost:"] {
        assert!(is_closed(&mut server.open(bytes).await).await);
    }
    // Much older than those two, and idle, but it is served again.
    let mut rest = [0; 4_096];
    drop(answered.try_read(&mut rest));
    answered.write_all(format!("{}\r\n", server.head("GET /")).as_bytes()).await.expect("still open");
    let read = tokio::time::timeout(LONG, answered.read(&mut rest)).await.expect("in time").expect("read");
    assert!(String::from_utf8_lossy(&rest[..read]).contains("200 OK"));
    // A connection with a part of a further head is not idle.
    answered.write_all(b"GET / HT").await.expect("still open");
    assert!(is_closed(&mut answered).await);
}

#[tokio::test]
async fn idle_connection_is_closed_after_deadline() {
    let server = serve(Http { header_deadline_ms: 300, ..long_limits() }).await;
    let mut answered = server.open(&format!("{}\r\n", server.head("GET /"))).await;
    assert_eq!(status(&mut answered).await, Some(200));
    assert!(is_closed(&mut answered).await);
}

#[tokio::test]
async fn slow_body_returns_408() {
    let server = serve(Http { stall_deadline_ms: 300, ..long_limits() }).await;
    let post = server.head("POST /body");
    let head = format!("{post}content-type: application/json\r\ncontent-length: 5000\r\n\r\n{{");
    let mut slow = server.open(&head).await;
    let (mut read, mut write) = slow.split();
    let trickling = async {
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if write.write_all(b" ").await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let mut answer = [0; 12];
    tokio::select! {
        read = tokio::time::timeout(LONG, read.read_exact(&mut answer)) => drop(read.expect("in time").expect("an answer")),
        () = trickling => {}
    }
    assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 408");
    let whole = format!("{post}content-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}");
    assert_eq!(status(&mut server.open(&whole).await).await, Some(200), "a fast client is answered");
}

#[tokio::test]
async fn response_to_slow_reader_is_aborted() {
    let server = serve(Http { stall_deadline_ms: 300, ..long_limits() }).await;
    let mut slow = server.open(&format!("{}\r\n", server.head("GET /endless"))).await;
    let mut some = [0; 1_024];
    let slow_reading = async {
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if slow.read(&mut some).await.unwrap_or(0) == 0 {
                std::future::pending::<()>().await;
            }
        }
    };
    let aborted = testkit::eventually("the response to be aborted", LONG, || async {
        (server.aborted.load(Ordering::SeqCst) == 1).then_some(())
    });
    tokio::select! {
        () = slow_reading => {}
        () = aborted => {}
    }
}
