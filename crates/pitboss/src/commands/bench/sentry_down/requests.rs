//! Requests of Sentry clients on one connection, and their answers.

use std::io::{Error, ErrorKind, Result};

use contracts::parts::sentry_projects;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Largest head of a request.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Largest body. A sender's whole queue is smaller.
const BODY_BYTES_MAX: usize = 16 << 20;
/// Room for a head of usual size, so that one read takes it.
const READ_BYTES: usize = 2 << 10;
/// End of a head.
const HEAD_END: &[u8] = b"\r\n\r\n";

/// Answer to an envelope that was taken.
pub(super) const TAKEN: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";

/// One envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// Name of the project in its path.
    pub(super) project: String,
    /// The envelope, perhaps compressed.
    pub(super) body: Vec<u8>,
}

/// Reads the requests of a connection one after the other.
#[derive(Debug)]
pub(super) struct Requests {
    stream: TcpStream,
    /// What was read and belongs to no request yet.
    read: Vec<u8>,
}

impl Requests {
    /// Begins with the first request.
    pub(super) fn of(stream: TcpStream) -> Self {
        Self { stream, read: Vec::new() }
    }

    /// Reads the next request. `None` if the client has closed the connection. If this is cancelled, nothing is lost.
    ///
    /// # Errors
    /// When the connection breaks, or when the request is too large or has no length.
    pub(super) async fn next(&mut self) -> Result<Option<Request>> {
        let head_bytes = loop {
            let end = self.read.windows(HEAD_END.len()).position(|window| window == HEAD_END);
            if let Some(end) = end {
                break end + HEAD_END.len();
            }
            if self.read.len() > HEAD_BYTES_MAX {
                return Err(invalid("the head is too large"));
            }
            self.read.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Ok(None);
            }
        };
        let head = String::from_utf8_lossy(self.read.get(..head_bytes).unwrap_or_default()).into_owned();
        let body_bytes = body_bytes(&head)?;
        while self.read.len() < head_bytes + body_bytes {
            self.read.reserve(head_bytes + body_bytes - self.read.len());
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Ok(None);
            }
        }
        let rest = self.read.split_off(head_bytes + body_bytes);
        let body = self.read.split_off(head_bytes);
        self.read = rest;
        Ok(Some(Request { project: project(&head), body }))
    }

    /// Answers the last request.
    pub(super) async fn answer(&mut self, answer: &[u8]) -> Result<()> {
        self.stream.write_all(answer).await
    }
}

fn invalid(why: &'static str) -> Error {
    Error::new(ErrorKind::InvalidData, why)
}

/// Length of the body, which Sentry's senders always name.
fn body_bytes(head: &str) -> Result<usize> {
    let named = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    match named {
        Some(bytes) if bytes <= BODY_BYTES_MAX => Ok(bytes),
        Some(_) => Err(invalid("the body is too large")),
        None => Err(invalid("the body has no length")),
    }
}

/// Name of the project in `POST /api/<number>/envelope/`, or the number if no project has it.
fn project(head: &str) -> String {
    let number = head.split('/').nth(2).unwrap_or_default();
    let projects = sentry_projects();
    let known = projects.iter().find(|(id, _)| id.to_string() == number);
    known.map_or(number, |(_, name)| *name).to_owned()
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn post(project_id: u32, body: &str) -> String {
        format!(
            "POST /api/{project_id}/envelope/ HTTP/1.1\r\nhost: x\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    /// Both ends of a connection.
    async fn connected() -> (TcpStream, Requests) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, Requests::of(listener.accept().await.unwrap().0))
    }

    #[tokio::test]
    async fn requests_are_read_one_after_the_other() {
        let (mut client, mut requests) = connected().await;
        let three = post(3, "first") + &post(4, "") + &post(99, "third\r\n\r\n");
        client.write_all(three.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        for (project, body) in [("game", "first"), ("payment", ""), ("99", "third\r\n\r\n")] {
            let expected = Request { project: project.to_owned(), body: body.into() };
            assert_eq!(requests.next().await.unwrap(), Some(expected));
        }
        assert_eq!(requests.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn cancelled_read_loses_nothing() {
        let (mut client, mut requests) = connected().await;
        let whole = post(3, "an envelope in two parts");
        let (head, rest) = whole.split_at(whole.len() - 4);
        client.write_all(head.as_bytes()).await.unwrap();
        tokio::select! {
            biased;
            request = requests.next() => panic!("{request:?} is not complete"),
            () = tokio::task::yield_now() => {}
        }
        client.write_all(rest.as_bytes()).await.unwrap();
        let request = requests.next().await.unwrap().expect("a request");
        assert_eq!(request.body, b"an envelope in two parts");
    }

    #[tokio::test]
    async fn request_without_a_bound_is_refused() {
        for head in ["POST / HTTP/1.1\r\n\r\n", "POST / HTTP/1.1\r\ncontent-length: 99999999\r\n\r\n"] {
            let (mut client, mut requests) = connected().await;
            client.write_all(head.as_bytes()).await.unwrap();
            assert!(requests.next().await.is_err(), "{head}");
        }
        let (mut client, mut requests) = connected().await;
        client.write_all(&vec![b'x'; HEAD_BYTES_MAX + 1]).await.unwrap();
        assert!(requests.next().await.is_err());
    }
}
