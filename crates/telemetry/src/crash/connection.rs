//! The socket between a process and its reporter, in the protocol of the crate `minidumper`.
//!
//! That crate's server looks ten times in a hundred milliseconds whether it shall stop. This one waits in the kernel: an idle service
//! pays nothing for its reporter (ADR 7). It accepts one client, which must be its parent, and closes the listener.

use std::io;
use std::time::{Duration, Instant};

use crash_context::CrashContext;
use uds::{UnixSeqpacketConn, UnixSeqpacketListener, UnixSocketAddr};

use super::work::{MESSAGE, Message};

/// Prefix of the name of a socket without a file.
const ABSTRACT: &str = "abstract:";
/// Longest wait for the client. A client that died before it connected must not leave its reporter behind.
const CLIENT_MAX: Duration = Duration::from_secs(10);
/// Longest message: a crash context has less than 4 KiB.
const MESSAGE_BYTES_MAX: usize = 16 * 1_024;
/// Length of the header: kind and length of what follows.
const HEADER_BYTES: usize = 8;

/// Kinds of messages. Those of the client's own begin at `USER`.
const CRASH: u32 = 0;
const CRASH_ACK: u32 = 1;
const PING: u32 = 2;
const PONG: u32 = 3;
const USER: u32 = 4;

/// The connection with the process.
pub(super) struct Connection {
    socket: UnixSeqpacketConn,
    process_id: u32,
}

/// A process that has crashed and waits in its signal handler.
pub(super) struct Crashed {
    pub(super) context: CrashContext,
    pub(super) message: Message,
}

impl Connection {
    /// Binds the socket and waits for the process.
    pub(super) fn accept(name: &str, process_id: u32) -> io::Result<Self> {
        let name = name.strip_prefix(ABSTRACT).ok_or(io::ErrorKind::InvalidInput)?;
        let listener = UnixSeqpacketListener::bind_unix_addr(&UnixSocketAddr::from_abstract(name)?)?;
        let until = Instant::now() + CLIENT_MAX;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            listener.set_timeout(Some(left))?;
            let (socket, _) = listener.accept_unix_addr()?;
            // Every local process can see the name, and the kernel says who connects
            let peer = socket.initial_peer_credentials()?.pid();
            if peer.is_some_and(|peer| peer.get() == process_id) {
                return Ok(Self { socket, process_id });
            }
        }
    }

    /// Waits until the process crashes. `None` when it has ended without a crash.
    pub(super) fn wait(&self) -> io::Result<Option<Crashed>> {
        let mut message = Message::default();
        let mut buffer = vec![0; MESSAGE_BYTES_MAX];
        loop {
            let length = match self.socket.recv(&mut buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error),
            };
            let Some((kind, payload)) = buffer.get(..length).and_then(split) else { return Ok(None) };
            match kind {
                CRASH => return self.crashed(payload, message).map(Some),
                PING => self.send(PONG)?,
                kind if kind.checked_sub(USER) == Some(MESSAGE) => message = Message::parse(payload),
                _ => {}
            }
        }
    }

    fn crashed(&self, payload: &[u8], message: Message) -> io::Result<Crashed> {
        // A copy, because the context is read in place and needs the alignment of an allocation
        let payload = payload.to_vec();
        let context = CrashContext::from_bytes(&payload).ok_or(io::ErrorKind::InvalidData)?;
        if u32::try_from(context.pid) != Ok(self.process_id) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(Crashed { context, message })
    }

    /// Lets the crashed process end by its signal.
    pub(super) fn release(self) -> io::Result<()> {
        self.send(CRASH_ACK)
    }

    fn send(&self, kind: u32) -> io::Result<()> {
        self.socket.send(&header(kind)).map(drop)
    }
}

/// A header without a payload.
fn header(kind: u32) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(&kind.to_ne_bytes());
    header
}

/// Kind and payload of a message. `None` for the empty message, which is the end of the connection.
fn split(message: &[u8]) -> Option<(u32, &[u8])> {
    let (kind, rest) = message.split_first_chunk::<4>()?;
    let (_length, payload) = rest.split_first_chunk::<4>()?;
    Some((u32::from_ne_bytes(*kind), payload))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crash::work;

    fn connected() -> (UnixSeqpacketConn, Connection) {
        let (client, socket) = UnixSeqpacketConn::pair().unwrap();
        (client, Connection { socket, process_id: std::process::id() })
    }

    fn message(kind: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap();
        [kind.to_ne_bytes().as_slice(), &length.to_ne_bytes(), payload].concat()
    }

    #[test]
    fn end_of_the_process_is_the_end_of_the_connection() {
        let (client, connection) = connected();
        drop(client);
        assert!(connection.wait().unwrap().is_none());
    }

    #[test]
    fn pings_are_answered() {
        let (client, connection) = connected();
        client.send(&message(PING, &[])).unwrap();
        client.send(&message(99, b"unknown")).unwrap();
        let waits = std::thread::spawn(move || connection.wait().map(|crashed| crashed.is_none()));
        let mut answer = [0; HEADER_BYTES];
        assert_eq!(client.recv(&mut answer).unwrap(), HEADER_BYTES);
        assert_eq!(answer, header(PONG));
        drop(client);
        assert!(waits.join().unwrap().unwrap());
    }

    #[test]
    fn crash_of_another_process_or_size_is_refused() {
        for context in [vec![0; 10], vec![0; size_of::<CrashContext>()]] {
            let (client, connection) = connected();
            client.send(&message(USER + MESSAGE, &work::of_thread(1))).unwrap();
            client.send(&message(CRASH, &context)).unwrap();
            let Err(error) = connection.wait() else { panic!("accepted {} bytes", context.len()) };
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
    }

    #[test]
    fn only_the_parent_may_connect() {
        let own = std::process::id();
        let name = format!("pitboss-test-{own}-{}", uuid::Uuid::new_v4().simple());
        let address = UnixSocketAddr::from_abstract(&name).unwrap();
        let accepts = std::thread::spawn(move || Connection::accept(&format!("{ABSTRACT}{name}"), own));
        let client = loop {
            match UnixSeqpacketConn::connect_unix_addr(&address) {
                Ok(client) => break client,
                Err(_) => std::thread::yield_now(),
            }
        };
        let connection = accepts.join().unwrap().unwrap();
        drop(client);
        assert!(connection.wait().unwrap().is_none());
        assert!(Connection::accept("path:/tmp/other", own).is_err());
    }
}
