//! Sends a report to Sentry, within a few attempts. The async runtime exists only while it sends and has no worker threads.

use std::time::Duration;

use http::StatusCode;
use http::header::CONTENT_ENCODING;
use sentry::types::Dsn;
use tokio::runtime::Builder;

use crate::tls;
use crate::transport::{self, Limits};

/// Pauses before the attempts. The first one is made at once, and all of them together take half a minute at most.
pub(super) const ATTEMPTS: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(200),
    Duration::from_millis(800),
    Duration::from_secs(2),
    Duration::from_secs(5),
];

/// One attempt, of five seconds at most.
pub(super) const ONCE: [Duration; 1] = [Duration::ZERO];

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// Sentry has it.
    Accepted,
    /// Sentry does not want it, and would not take it later either.
    Refused,
    /// It may be sent later.
    Failed,
}

/// Sends an envelope. It blocks until it is accepted or refused, or until the last attempt has failed.
pub(super) fn send(dsn: &str, envelope: &[u8], pauses: &[Duration]) -> Sent {
    let Ok(dsn) = dsn.parse::<Dsn>() else { return Sent::Failed };
    let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return Sent::Failed };
    tls::install_crypto();
    runtime.block_on(attempts(&dsn, envelope, pauses))
}

async fn attempts(dsn: &Dsn, envelope: &[u8], pauses: &[Duration]) -> Sent {
    let limits = Limits::default();
    let Ok(client) = transport::client(dsn, &limits) else { return Sent::Failed };
    let compressed = transport::gzip(envelope);
    for pause in pauses {
        tokio::time::sleep(*pause).await;
        let request = client.post(dsn.envelope_api_url());
        let request = match &compressed {
            Some(small) => request.header(CONTENT_ENCODING, "gzip").body(small.clone()),
            None => request.body(envelope.to_vec()),
        };
        match request.send().await.map(|response| response.status()) {
            Ok(status) if status.is_success() => return Sent::Accepted,
            Ok(status) if is_final(status) => return Sent::Refused,
            // The next attempt follows. It does no harm if the report arrives twice, because it has an id
            Ok(_) | Err(_) => {}
        }
    }
    Sent::Failed
}

/// Returns true if a later attempt would be refused as well.
fn is_final(status: StatusCode) -> bool {
    status.is_client_error() && !matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// Answers one request after the other with these statuses. Returns its DSN and the number of requests that it got.
    fn server(statuses: &'static [&'static str]) -> (String, std::thread::JoinHandle<usize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let dsn = format!("http://key@{}/7", listener.local_addr().unwrap());
        let serves = move || {
            let mut answered = 0;
            for status in statuses {
                let (mut client, _) = listener.accept().unwrap();
                let (mut request, mut piece) = (Vec::new(), [0; 4_096]);
                while !is_complete(&request) {
                    let length = client.read(&mut piece).unwrap();
                    assert!(length > 0, "the request ends early");
                    request.extend_from_slice(&piece[..length]);
                }
                let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
                assert!(text.starts_with("post /api/7/envelope/ "), "{text}");
                assert!(text.contains("sentry_key=key") && text.contains("content-encoding: gzip"), "{text}");
                write!(client, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                    .unwrap();
                answered += 1;
            }
            answered
        };
        (dsn, std::thread::spawn(serves))
    }

    fn is_complete(request: &[u8]) -> bool {
        let Some(end) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return false };
        let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).unwrap();
        request.len() >= end + 4 + length.trim().parse::<usize>().unwrap()
    }

    #[test]
    fn failed_attempt_is_repeated() {
        let (dsn, server) = server(&["503 Busy", "200 OK"]);
        assert_eq!(send(&dsn, b"{}\n", &ATTEMPTS), Sent::Accepted);
        assert_eq!(server.join().unwrap(), 2);
    }

    #[test]
    fn refused_report_is_not_repeated() {
        let (dsn, server) = server(&["413 Too Large"]);
        assert_eq!(send(&dsn, b"{}\n", &ATTEMPTS), Sent::Refused);
        assert_eq!(server.join().unwrap(), 1);
        assert!(is_final(StatusCode::FORBIDDEN) && !is_final(StatusCode::TOO_MANY_REQUESTS));
        assert!(!is_final(StatusCode::BAD_GATEWAY));
    }

    #[test]
    fn nothing_is_sent_without_an_address() {
        assert_eq!(send("nonsense", b"{}\n", &ATTEMPTS), Sent::Failed);
        assert_eq!(send("http://key@127.0.0.1:1/7", b"{}\n", &ONCE), Sent::Failed);
    }
}
