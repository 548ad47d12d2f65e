//! Port on 127.0.0.1 with the figures of a watching audit, in Prometheus' text format.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Largest request.
const REQUEST_BYTES_MAX: usize = 8_192;
/// Deadline of a request and its answer. Requests are answered one after the other, so a slow client delays the next one so long.
const REQUEST_DEADLINE: Duration = Duration::from_secs(2);
/// Pause after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Opens the port.
///
/// # Errors
/// When another program has it.
pub(super) async fn open(port: u16) -> Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    listener.with_context(|| format!("cannot open port {port} of 127.0.0.1 for --metrics-port"))
}

/// Answers requests until it is dropped.
pub(super) async fn serve(listener: TcpListener) -> Infallible {
    let port = listener.local_addr().map_or(0, |address| address.port());
    loop {
        match listener.accept().await {
            // A client that hangs up, or that is too slow, gets no answer.
            Ok((stream, _)) => drop(tokio::time::timeout(REQUEST_DEADLINE, answer(stream, port)).await),
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn answer(mut stream: TcpStream, port: u16) -> std::io::Result<()> {
    let (mut head, mut chunk) = (Vec::new(), [0_u8; 1_024]);
    while !head.ends_with(b"\r\n\r\n") {
        let read = stream.read(&mut chunk).await?;
        if read == 0 || head.len() + read > REQUEST_BYTES_MAX {
            return Ok(());
        }
        head.extend_from_slice(chunk.get(..read).unwrap_or_default());
    }
    let (status, body) = response(&String::from_utf8_lossy(&head), port);
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await?;
    stream.shutdown().await
}

/// Returns status and body of the answer to a request. Only this listener's own host names are answered.
fn response(head: &str, port: u16) -> (&'static str, String) {
    let mut lines = head.split("\r\n");
    let mut request = lines.next().unwrap_or_default().split(' ');
    let (method, path) = (request.next().unwrap_or_default(), request.next().unwrap_or_default());
    let host = |line: &str| -> Option<String> {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("host").then(|| value.trim().to_ascii_lowercase())
    };
    let hosts: Vec<String> = lines.filter_map(host).collect();
    let own = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
    match hosts.as_slice() {
        [host] if own.contains(host) => {}
        [_] => return ("421 Misdirected Request", "unknown host\n".to_owned()),
        _ => return ("400 Bad Request", "expected one host\n".to_owned()),
    }
    match (method, path) {
        ("GET", "/metrics") => ("200 OK", telemetry::metric::render_prometheus()),
        ("GET", _) => ("404 Not Found", "the figures are at /metrics\n".to_owned()),
        _ => ("405 Method Not Allowed", "only GET is allowed\n".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(request: &str, hosts: &[&str]) -> &'static str {
        let hosts: String = hosts.iter().map(|host| format!("Host: {host}\r\n")).collect();
        response(&format!("{request} HTTP/1.1\r\n{hosts}Accept: */*\r\n\r\n"), 8_199).0
    }

    #[test]
    fn only_own_hosts_are_answered() {
        for host in ["127.0.0.1:8199", "localhost:8199", "LOCALHOST:8199"] {
            assert_eq!(status("GET /metrics", &[host]), "200 OK", "{host}");
        }
        for host in ["evil.example", "127.0.0.1", "127.0.0.1:8100", ""] {
            assert_eq!(status("GET /metrics", &[host]), "421 Misdirected Request", "{host}");
        }
        assert_eq!(status("GET /metrics", &[]), "400 Bad Request");
        assert_eq!(status("GET /metrics", &["localhost:8199", "localhost:8199"]), "400 Bad Request");
    }

    #[test]
    fn other_paths_and_methods_are_refused() {
        assert_eq!(status("GET /", &["localhost:8199"]), "404 Not Found");
        assert_eq!(status("POST /metrics", &["localhost:8199"]), "405 Method Not Allowed");
    }

    #[tokio::test]
    async fn figures_are_served_over_http() {
        let listener = open(0).await.unwrap();
        let address = listener.local_addr().unwrap();
        let request = format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\n\r\n");
        let ask = async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            text
        };
        let text = tokio::select! {
            text = ask => text,
            never = serve(listener) => match never {},
        };
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert!(text.contains("# TYPE pitboss_telemetry_drops_total counter"), "{text}");
    }
}
