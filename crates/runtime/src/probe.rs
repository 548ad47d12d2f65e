//! Readiness probes. The platform's parts get a real request of their own protocol: an open port or elapsed time proves nothing.
//!
//! The requests are a few bytes each and written by hand, so that the supervisor needs no client of Kafka, MongoDB or Redis.

mod mongo;

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::part::Probe;

/// Deadline for an answer. A slower part is not ready to be used.
pub const ANSWER_DEADLINE: Duration = Duration::from_secs(2);

/// Maximum length of an answer. The rest is not read.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Probes a part once.
///
/// # Errors
/// The reason why the part is not ready.
pub async fn check(probe: &Probe) -> Result<(), String> {
    match tokio::time::timeout(ANSWER_DEADLINE, check_without_limit(probe)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} s", ANSWER_DEADLINE.as_secs())),
    }
}

async fn check_without_limit(probe: &Probe) -> Result<(), String> {
    match probe {
        Probe::Running => Ok(()),
        Probe::Tcp { address } => connect(address).await.map(drop),
        Probe::Http { address, path } => http(address, path).await,
        Probe::Kafka { address } => kafka(address).await,
        Probe::Mongo { address } => mongo::check(address).await,
        Probe::Redis { address } => redis(address).await,
    }
}

async fn connect(address: &str) -> Result<TcpStream, String> {
    TcpStream::connect(address).await.map_err(|e| format!("no connection to {address}: {e}"))
}

async fn http(address: &str, path: &str) -> Result<(), String> {
    let mut stream = connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX as u64).read_to_end(&mut answer).await.map_err(broken)?;
    parse_http(&answer)
}

fn parse_http(answer: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split_whitespace().nth(1).unwrap_or("no status");
    match status {
        "200" => Ok(()),
        _ => Err(format!("{status} {}", body.lines().map(str::trim).collect::<Vec<_>>().join(" "))),
    }
}

/// Sends a metadata request without topics. A broker that answers it and names a broker has joined its cluster.
async fn kafka(address: &str) -> Result<(), String> {
    const METADATA: u16 = 3;
    const VERSION: u16 = 1;
    let mut request = Vec::new();
    request.extend(METADATA.to_be_bytes());
    request.extend(VERSION.to_be_bytes());
    request.extend(1_u32.to_be_bytes()); // correlation id
    request.extend(7_u16.to_be_bytes());
    request.extend(b"pitboss"); // client id
    request.extend(0_u32.to_be_bytes()); // no topics
    let mut framed = (request.len() as u32).to_be_bytes().to_vec();
    framed.append(&mut request);

    let mut stream = connect(address).await?;
    stream.write_all(&framed).await.map_err(broken)?;
    let length = stream.read_u32().await.map_err(broken)? as usize;
    let mut answer = vec![0; length.min(ANSWER_BYTES_MAX)];
    stream.read_exact(&mut answer).await.map_err(broken)?;
    match answer.get(4..8) {
        Some([0, 0, 0, 0]) => Err("the broker has not joined its cluster yet".to_owned()),
        Some(_) => Ok(()),
        None => Err("the broker's answer is too short".to_owned()),
    }
}

async fn redis(address: &str) -> Result<(), String> {
    let mut stream = connect(address).await?;
    stream.write_all(b"PING\r\n").await.map_err(broken)?;
    let mut answer = [0; 64];
    let length = stream.read(&mut answer).await.map_err(broken)?;
    let answer = answer.get(..length).unwrap_or_default();
    match answer == b"+PONG\r\n" {
        true => Ok(()),
        false => Err(format!("the answer to PING is {}", String::from_utf8_lossy(answer).trim())),
    }
}

fn broken(error: std::io::Error) -> String {
    format!("the connection failed: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_status_200_is_ready() {
        assert_eq!(parse_http(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"), Ok(()));
        let not_yet = parse_http(b"HTTP/1.1 503 Service Unavailable\r\n\r\nkafka: false\n");
        assert_eq!(not_yet, Err("503 kafka: false".to_owned()));
        assert!(parse_http(b"").is_err());
        assert!(parse_http(b"SSH-2.0-OpenSSH").is_err());
    }

    #[tokio::test]
    async fn closed_port_is_not_ready() {
        let port = crate::ports::free_row(1).unwrap();
        let address = format!("127.0.0.1:{port}");
        for probe in [
            Probe::Tcp { address: address.clone() },
            Probe::Kafka { address: address.clone() },
            Probe::Mongo { address: address.clone() },
            Probe::Redis { address: address.clone() },
            Probe::Http { address: address.clone(), path: "/readyz".to_owned() },
        ] {
            assert!(check(&probe).await.unwrap_err().contains(&address));
        }
    }
}
