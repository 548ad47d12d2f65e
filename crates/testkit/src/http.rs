//! HTTP requests over plain TCP, each on a new connection with exactly the given headers.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Sends a request without a body. Returns the status and the JSON body, which is null for other content.
///
/// A `host` header is added if there is none. `None` means that there was no complete response.
pub async fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(String, String)],
) -> Option<(u16, Value)> {
    let (status, body) = exchange(address, method, path, headers).await?;
    Some((status, serde_json::from_str(&body).unwrap_or_default()))
}

async fn exchange(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(String, String)],
) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let mut head = format!("{method} {path} HTTP/1.1\r\ncontent-length: 0\r\nconnection: close\r\n");
    if headers.iter().all(|(name, _)| name != "host") {
        head.push_str(&format!("host: {address}\r\n"));
    }
    for (name, value) in headers {
        head.extend([name.as_str(), ": ", value.as_str(), "\r\n"]);
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await.ok()?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await.ok()?;
    let (head, body) = response.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// Sends a `GET` request without further headers.
pub async fn get(address: SocketAddr, path: &str) -> Option<(u16, Value)> {
    request(address, "GET", path, &[]).await
}

/// Sends a `GET` request without further headers. Returns the body as text.
pub async fn text(address: SocketAddr, path: &str) -> Option<String> {
    exchange(address, "GET", path, &[]).await.map(|(_, body)| body)
}
