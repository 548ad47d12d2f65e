//! Access rules and quotas, by requests that librdkafka's safe interface lacks.
//!
//! The requests are written by hand in the oldest version that brokers from 4.0 on accept. They take milliseconds, while Kafka's
//! own tool takes seconds of a JVM.

mod protocol;

use std::time::Duration;

use contracts::Topic;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::DisturbError;
use crate::config::Config;
use protocol::{Answer, Body, Request};

/// Deadline for the answer to one request.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);
/// Maximum length of an answer. Ours have less than a kilobyte.
const ANSWER_BYTES_MAX: u32 = 64 * 1_024;

const DENYING: &str = "denying access to a topic";
const PERMITTING: &str = "removing access rules of a topic";
const LIMITING: &str = "changing the quota of a client";

/// Codes of Kafka's access rules.
const TOPIC: i8 = 2;
const LITERAL: i8 = 3;
const ANY: i8 = 1;
const ALL_OPERATIONS: i8 = 2;
const WRITE: i8 = 4;
const DENY: i8 = 2;
const ALLOW: i8 = 3;

pub(super) async fn deny_writing(config: &Config, topic: Topic) -> Result<(), DisturbError> {
    let answer = exchange(config, DENYING, &denial(&config.names().physical(topic.name()))).await?;
    Answer::new(&answer).results_of_creation().map_err(|failure| failure.of(DENYING))
}

pub(super) async fn permit_everything(config: &Config, topic: Topic) -> Result<(), DisturbError> {
    let answer = exchange(config, PERMITTING, &removal(&config.names().physical(topic.name()))).await?;
    Answer::new(&answer).results_of_removal().map_err(|failure| failure.of(PERMITTING))
}

pub(super) async fn limit_producing(
    config: &Config,
    client_id: &str,
    bytes_per_s: Option<u32>,
) -> Result<(), DisturbError> {
    let answer = exchange(config, LIMITING, &quota(client_id, bytes_per_s)).await?;
    Answer::new(&answer).result_of_quota().map_err(|failure| failure.of(LIMITING))
}

/// A topic with any rule denies everything that no rule allows, so reading has to be allowed beside the denial.
fn denial(topic: &str) -> Request {
    let mut body = Body::default();
    body.i32(2);
    for (operation, permission) in [(ALL_OPERATIONS, ALLOW), (WRITE, DENY)] {
        body.i8(TOPIC);
        body.text(topic);
        body.i8(LITERAL);
        body.text("User:*");
        body.text("*"); // from every host
        body.i8(operation);
        body.i8(permission);
    }
    Request { api_key: 30, version: 1, body }
}

fn removal(topic: &str) -> Request {
    let mut body = Body::default();
    body.i32(1);
    body.i8(TOPIC);
    body.text(topic);
    body.i8(LITERAL);
    body.null(); // of every principal
    body.null(); // from every host
    body.i8(ANY);
    body.i8(ANY);
    Request { api_key: 31, version: 1, body }
}

fn quota(client_id: &str, bytes_per_s: Option<u32>) -> Request {
    let mut body = Body::default();
    body.i32(1); // one entry …
    body.i32(1); // … of one entity
    body.text("client-id");
    body.text(client_id);
    body.i32(1); // … with one change
    body.text("producer_byte_rate");
    body.f64(bytes_per_s.map_or(0.0, f64::from));
    body.bool(bytes_per_s.is_none()); // removed
    body.bool(false); // not only validated
    Request { api_key: 49, version: 0, body }
}

/// Sends one request over a connection of its own, and returns the answer without its head.
async fn exchange(config: &Config, doing: &'static str, request: &Request) -> Result<Vec<u8>, DisturbError> {
    let no_answer = |reason: String| DisturbError::NoAnswer { doing, reason };
    let address = config.bootstrap_servers.split(',').next().unwrap_or_default().trim();
    let framed = request.framed(&config.client_id);
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(&framed).await?;
        let length = stream.read_u32().await?;
        if length > ANSWER_BYTES_MAX {
            return Err(std::io::Error::other(format!("the answer has {length} bytes")));
        }
        let _correlation_id = stream.read_u32().await?;
        let mut answer = Vec::new();
        stream.take(u64::from(length.saturating_sub(4))).read_to_end(&mut answer).await?;
        Ok(answer)
    };
    match tokio::time::timeout(ANSWER_DEADLINE, exchange).await {
        Ok(answer) => answer.map_err(|error| no_answer(error.to_string())),
        Err(_) => Err(no_answer(format!("nothing within {} s", ANSWER_DEADLINE.as_secs()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(request: &Request) -> Vec<u8> {
        request.framed("c")
    }

    /// Length, api key, version, correlation id and client id of a request with this body.
    fn with_head(api_key: u8, version: u8, body: &[u8]) -> Vec<u8> {
        let length = u8::try_from(11 + body.len()).unwrap();
        let head = [0, 0, 0, length, 0, api_key, 0, version, 0, 0, 0, 1, 0, 1, b'c'];
        [head.as_slice(), body].concat()
    }

    #[test]
    fn denial_has_the_bytes_of_the_protocol() {
        let rule = |operation, permission| {
            let head = [2, 0, 1, b't', 3, 0, 6];
            [head.as_slice(), b"User:*", &[0, 1, b'*', operation, permission]].concat()
        };
        let body = [vec![0, 0, 0, 2], rule(2, 3), rule(4, 2)].concat();
        assert_eq!(bytes(&denial("t")), with_head(30, 1, &body));
    }

    #[test]
    fn removal_has_the_bytes_of_the_protocol() {
        let body = [0, 0, 0, 1, 2, 0, 1, b't', 3, 0xff, 0xff, 0xff, 0xff, 1, 1];
        assert_eq!(bytes(&removal("t")), with_head(31, 1, &body));
    }

    #[test]
    fn quota_has_the_bytes_of_the_protocol() {
        let quota_of = |value: f64, removed: u8| {
            let value = value.to_be_bytes();
            let parts: [&[u8]; 7] = [
                &[0, 0, 0, 1, 0, 0, 0, 1, 0, 9],
                b"client-id",
                &[0, 1, b'g', 0, 0, 0, 1, 0, 18],
                b"producer_byte_rate",
                &value,
                &[removed],
                &[0],
            ];
            with_head(49, 0, &parts.concat())
        };
        assert_eq!(bytes(&quota("g", Some(1_000))), quota_of(1_000.0, 0));
        assert_eq!(bytes(&quota("g", None)), quota_of(0.0, 1));
    }

    #[tokio::test]
    async fn closed_port_is_reported() {
        // Bound, but not listening, so that no other process can take the port
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let bootstrap_servers = socket.local_addr().unwrap().to_string();
        let config = Config { bootstrap_servers, ..Config::default() };
        let error = permit_everything(&config, Topic::BetsEvents).await.unwrap_err();
        assert!(matches!(error, DisturbError::NoAnswer { .. }), "{error}");
    }
}
