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

struct Edge {
    address: SocketAddr,
    /// Number of `/work` requests in progress, and the semaphore that lets them finish.
    working: Arc<AtomicUsize>,
    release: Arc<Semaphore>,
    /// Number of `/endless` answers that have ended.
    broken_off: Arc<AtomicUsize>,
    _stop: DropGuard,
}

/// Counts its own drop.
struct Ended(Arc<AtomicUsize>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Limits of a listener that are so long that only the rule under test can close a connection.
fn patient() -> Http {
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

async fn served(http: Http) -> Edge {
    crate::telemetry_up();
    let (working, release) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let broken_off = Arc::new(AtomicUsize::new(0));
    let endless = {
        let broken_off = Arc::clone(&broken_off);
        move || async move {
            let ended = Ended(broken_off);
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
    Edge { address, working, release, broken_off, _stop: stop.drop_guard() }
}

impl Edge {
    async fn open(&self, bytes: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.expect("connects");
        stream.write_all(bytes.as_bytes()).await.expect("writes");
        stream
    }

    fn head(&self, request: &str) -> String {
        format!("{request} HTTP/1.1\r\nhost: {}\r\n", self.address)
    }

    /// Returns `true` if a well-behaved client is answered now.
    async fn answers(&self) -> bool {
        let client = reqwest::Client::builder().no_proxy().timeout(LONG).build().expect("a client");
        let answer = client.get(format!("http://{}/", self.address)).send().await;
        answer.is_ok_and(|answer| answer.status().as_u16() == 200)
    }

    async fn until_working(&self, wanted: usize) {
        testkit::eventually("requests to be worked on", LONG, || async {
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
async fn a_full_house_of_clients_that_are_waited_for_lets_everybody_in() {
    let edge = served(Http { connections_max: 8, ..patient() }).await;
    let idle_after_an_answer = format!("{}\r\n", edge.head("GET /"));
    let body =
        format!("{}content-type: application/json\r\ncontent-length: 100\r\n\r\n{{", edge.head("POST /body"));
    let never_reads = format!("{}\r\n", edge.head("GET /endless"));
    for (kind, bytes) in [
        ("silent", String::new()),
        ("half a head", "GET / HTTP/1.1\r\nhos".to_owned()),
        ("half a body", body),
        ("an answer that is not read", never_reads),
        ("idle after an answer", idle_after_an_answer),
    ] {
        let mut held = Vec::new();
        for _ in 0..3 * 8 {
            let mut stream = edge.open(&bytes).await;
            if kind.starts_with("idle") {
                assert_eq!(status(&mut stream).await, Some(200));
            }
            held.push(stream);
        }
        assert!(edge.answers().await, "{kind}");
        assert!(is_closed(&mut held[0]).await, "{kind}: the oldest made room");
    }
}

#[tokio::test]
async fn a_house_full_of_work_makes_the_next_one_wait_and_no_work_is_lost() {
    let edge = served(Http { connections_max: 3, ..patient() }).await;
    let mut busy = Vec::new();
    for _ in 0..3 {
        busy.push(edge.open(&format!("{}\r\n", edge.head("GET /work"))).await);
    }
    edge.until_working(3).await;
    let mut next = edge.open(&format!("{}\r\n", edge.head("GET /"))).await;
    let early = tokio::time::timeout(Duration::from_millis(200), next.read_u8()).await;
    assert!(early.is_err(), "it was answered although every place was at work");
    edge.release.add_permits(3);
    for stream in &mut busy {
        assert_eq!(status(stream).await, Some(200));
    }
    // A connection that has been answered is idle now and makes room.
    assert_eq!(status(&mut next).await, Some(200));
}

#[tokio::test]
async fn an_address_has_its_share_and_no_more() {
    let edge = served(Http { connections_loopback_max: 2, ..patient() }).await;
    let mut silent = edge.open("").await;
    let mut busy = edge.open(&format!("{}\r\n", edge.head("GET /work"))).await;
    edge.until_working(1).await;
    let mut second = edge.open(&format!("{}\r\n", edge.head("GET /work"))).await;
    edge.until_working(2).await;
    assert!(is_closed(&mut silent).await, "its own oldest silent connection made room");
    let mut third = edge.open("").await;
    assert!(is_closed(&mut third).await, "both of its places are at work");
    edge.release.add_permits(2);
    assert_eq!((status(&mut busy).await, status(&mut second).await), (Some(200), Some(200)));
}

#[tokio::test]
async fn a_first_head_that_does_not_come_has_its_own_deadline() {
    let edge = served(Http { first_header_deadline_ms: 300, ..patient() }).await;
    let mut answered = edge.open(&format!("{}\r\n", edge.head("GET /"))).await;
    assert_eq!(status(&mut answered).await, Some(200));
    for bytes in ["", "GET / HTTP/1.1\r\nhost:"] {
        assert!(is_closed(&mut edge.open(bytes).await).await);
    }
    // Much older than those two, and idle, but it is served again.
    let mut rest = [0; 4_096];
    drop(answered.try_read(&mut rest));
    answered.write_all(format!("{}\r\n", edge.head("GET /")).as_bytes()).await.expect("still open");
    let read = tokio::time::timeout(LONG, answered.read(&mut rest)).await.expect("in time").expect("read");
    assert!(String::from_utf8_lossy(&rest[..read]).contains("200 OK"));
    // A further head that begins and does not end is not an idle connection.
    answered.write_all(b"GET / HT").await.expect("still open");
    assert!(is_closed(&mut answered).await);
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_its_time() {
    let edge = served(Http { header_deadline_ms: 300, ..patient() }).await;
    let mut answered = edge.open(&format!("{}\r\n", edge.head("GET /"))).await;
    assert_eq!(status(&mut answered).await, Some(200));
    assert!(is_closed(&mut answered).await);
}

#[tokio::test]
async fn a_body_that_trickles_is_a_408() {
    let edge = served(Http { stall_deadline_ms: 300, ..patient() }).await;
    let head =
        format!("{}content-type: application/json\r\ncontent-length: 5000\r\n\r\n[", edge.head("POST /body"));
    let mut slow = edge.open(&head).await;
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
    let whole =
        format!("{}content-type: application/json\r\ncontent-length: 2\r\n\r\n[]", edge.head("POST /body"));
    assert_eq!(status(&mut edge.open(&whole).await).await, Some(200), "who sends it at once is answered");
}

#[tokio::test]
async fn an_answer_that_is_hardly_read_is_broken_off() {
    let edge = served(Http { stall_deadline_ms: 300, ..patient() }).await;
    let mut slow = edge.open(&format!("{}\r\n", edge.head("GET /endless"))).await;
    let mut some = [0; 1_024];
    let hardly_reading = async {
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if slow.read(&mut some).await.unwrap_or(0) == 0 {
                std::future::pending::<()>().await;
            }
        }
    };
    let broken_off = testkit::eventually("the answer to be broken off", LONG, || async {
        (edge.broken_off.load(Ordering::SeqCst) == 1).then_some(())
    });
    tokio::select! {
        () = hardly_reading => {}
        () = broken_off => {}
    }
}
