//! Checks that the document store accepts writes, and initiates its replica set.
//!
//! A `mongod` that is to be a replica set of one waits until it receives its member list once. Only its starter can know when it
//! accepts that, so the probe sends it when the server reports that it waits. The compose file's health check does the same.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{ANSWER_BYTES_MAX, broken, connect};
use crate::infra::mongo::REPLICA_SET;

pub(super) async fn check(address: &str) -> Result<(), String> {
    let hello = send(address, &[int32("hello", 1)]).await?;
    if has(&hello, &boolean("isWritablePrimary", true)) {
        return Ok(());
    }
    // The server reports this in place of its members when it has none, or is not among them.
    if has(&hello, &boolean("isreplicaset", true)) {
        initiate_replica_set(address).await?;
    }
    Err("the server does not accept writes yet".to_owned())
}

async fn initiate_replica_set(address: &str) -> Result<(), String> {
    let member = nested(DOCUMENT, "0", &[int32("_id", 0), text("host", address)]);
    let set = [text("_id", REPLICA_SET), int32("version", 1), nested(ARRAY, "members", &[member])];
    let result = send(address, &[nested(DOCUMENT, "replSetInitiate", &set)]).await?;
    if has(&result, &text("codeName", "AlreadyInitialized")) {
        // It was initiated at another port, so its one member is no longer this server.
        send(address, &[nested(DOCUMENT, "replSetReconfig", &set), boolean("force", true)]).await?;
    }
    Ok(())
}

/// Sends a command to the database `admin` and returns the answer.
async fn send(address: &str, command: &[Vec<u8>]) -> Result<Vec<u8>, String> {
    let command = [command, &[text("$db", "admin")]].concat();
    let mut stream = connect(address).await?;
    stream.write_all(&message(&command)).await.map_err(broken)?;
    let length = stream.read_u32_le().await.map_err(broken)? as usize;
    let mut answer = vec![0; length.saturating_sub(4).min(ANSWER_BYTES_MAX)];
    stream.read_exact(&mut answer).await.map_err(broken)?;
    Ok(answer)
}

/// Encodes a command as OP_MSG.
fn message(elements: &[Vec<u8>]) -> Vec<u8> {
    const OP_MSG: u32 = 2013;
    let body = [vec![0; 5], document(elements)].concat(); // flags and the kind of the one section
    let header = [body.len() as u32 + 16, 1, 0, OP_MSG].map(u32::to_le_bytes).concat();
    [header, body].concat()
}

const TEXT: u8 = 0x02;
const DOCUMENT: u8 = 0x03;
const ARRAY: u8 = 0x04;
const BOOLEAN: u8 = 0x08;
const INT32: u8 = 0x10;

fn document(elements: &[Vec<u8>]) -> Vec<u8> {
    let elements = elements.concat();
    [&(elements.len() as u32 + 5).to_le_bytes(), elements.as_slice(), &[0]].concat()
}

fn element(kind: u8, name: &str, value: &[u8]) -> Vec<u8> {
    [&[kind], name.as_bytes(), &[0], value].concat()
}

fn nested(kind: u8, name: &str, elements: &[Vec<u8>]) -> Vec<u8> {
    element(kind, name, &document(elements))
}

fn int32(name: &str, value: i32) -> Vec<u8> {
    element(INT32, name, &value.to_le_bytes())
}

fn boolean(name: &str, value: bool) -> Vec<u8> {
    element(BOOLEAN, name, &[u8::from(value)])
}

fn text(name: &str, value: &str) -> Vec<u8> {
    let length = (value.len() as u32 + 1).to_le_bytes();
    element(TEXT, name, &[length.as_slice(), value.as_bytes(), &[0]].concat())
}

fn has(answer: &[u8], element: &[u8]) -> bool {
    answer.windows(element.len()).any(|w| w == element)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::mpsc;

    use super::*;

    /// Server that sends these answers one after the other, and the requests that it received.
    fn server(answers: Vec<Vec<u8>>) -> (String, mpsc::Receiver<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sender, requests) = mpsc::sync_channel(8);
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut length = [0; 4];
                stream.read_exact(&mut length).unwrap();
                let mut request = vec![0; u32::from_le_bytes(length) as usize - 4];
                stream.read_exact(&mut request).unwrap();
                sender.send(request).unwrap();
                stream.write_all(&message(&[answer])).unwrap();
            }
        });
        (address, requests)
    }

    #[tokio::test]
    async fn only_a_server_that_accepts_writes_is_ready() {
        for (writes, ready) in [(true, true), (false, false)] {
            let (address, requests) = server(vec![boolean("isWritablePrimary", writes)]);
            assert_eq!(check(&address).await.is_ok(), ready);
            let hello = message(&[int32("hello", 1), text("$db", "admin")]);
            assert_eq!(requests.try_iter().collect::<Vec<_>>(), [hello[4..].to_vec()]);
        }
    }

    #[tokio::test]
    async fn waiting_replica_set_is_initiated() {
        let waits = || boolean("isreplicaset", true);
        let (address, requests) = server(vec![waits(), int32("ok", 1), boolean("isWritablePrimary", true)]);
        assert!(check(&address).await.is_err(), "it must elect itself first");
        let last = requests.try_iter().last().unwrap();
        assert!(has(&last, b"\x03replSetInitiate\0") && has(&last, &text("host", &address)));
        assert_eq!(check(&address).await, Ok(()));

        let (address, requests) =
            server(vec![waits(), text("codeName", "AlreadyInitialized"), int32("ok", 1)]);
        assert!(check(&address).await.is_err());
        let sent: Vec<_> = requests.try_iter().collect();
        assert_eq!(sent.len(), 3);
        assert!(has(&sent[2], b"\x03replSetReconfig\0") && has(&sent[2], &text("host", &address)));
        assert!(has(&sent[2], &boolean("force", true)));
    }

    #[test]
    fn message_matches_the_protocol() {
        let expected = b"\x33\0\0\0\x01\0\0\0\0\0\0\0\xdd\x07\0\0\0\0\0\0\0\
                         \x1e\0\0\0\x10ping\0\x01\0\0\0\x02$db\0\x06\0\0\0admin\0\0";
        let message = message(&[int32("ping", 1), text("$db", "admin")]);
        assert_eq!(message, expected);
    }
}
