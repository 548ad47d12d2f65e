//! `pitboss ready HOST:PORT`: checks readiness at one service's ops port.
//!
//! It is the health check in `docker-compose.kafka.yml`, because the image has no curl. It runs every few seconds in every
//! container, so it is one blocking request and starts no async runtime.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::json;

use crate::commands::Context;

/// Deadline for connecting and for each read. The service answers from memory.
const DEADLINE: Duration = Duration::from_secs(2);
/// Maximum number of bytes that are read of the answer.
const ANSWER_BYTES_MAX: u64 = 16 * 1024;

/// Arguments of `ready`.
#[derive(Debug, Args)]
pub struct ReadyArgs {
    /// Address of the service's ops port, such as 127.0.0.1:8130 for the gateway
    #[arg(value_name = "HOST:PORT")]
    address: String,
}

impl ReadyArgs {
    /// Requests `/readyz`. Exit code 0 if the service is ready, 1 if it is not.
    ///
    /// The reason goes to standard error, with `--json` to standard output.
    pub fn run(&self, context: &Context) -> Result<ExitCode> {
        let address = self.address.as_str();
        let (status, body) = request(address).with_context(|| format!("no answer from {address}"))?;
        let (ready, body) = (status == 200, body.trim());
        if context.output.json {
            let reason = (!ready).then_some(body);
            let result = json!({ "address": address, "ready": ready, "status": status, "reason": reason });
            context.output.line(&result.to_string());
        } else if !ready {
            context.output.problem(&format!("not ready ({status}): {body}"), 1);
        }
        Ok(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn request(address: &str) -> Result<(u16, String)> {
    let resolved =
        address.to_socket_addrs().context("invalid address: expected one like 127.0.0.1:8130")?.next();
    let mut stream =
        TcpStream::connect_timeout(&resolved.context("the host name has no address")?, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    // Written in one piece, because `write!` on a socket sends each part of the text separately.
    stream.write_all(
        format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut answer = BufReader::new(stream.take(ANSWER_BYTES_MAX));
    let mut line = String::new();
    answer.read_line(&mut line)?;
    let status =
        line.split(' ').nth(1).and_then(|code| code.parse().ok()).context("the answer is not HTTP")?;
    let mut rest = String::new();
    answer.read_to_string(&mut rest)?;
    let body = rest.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn server(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _read = stream.read(&mut [0; 1024]).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        address.to_string()
    }

    #[test]
    fn answer_has_status_and_reason() {
        let up = server("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        assert_eq!(request(&up).unwrap(), (200, "ok".to_owned()));
        let down =
            server("HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n\r\nkafka: no assignment");
        assert_eq!(request(&down).unwrap(), (503, "kafka: no assignment".to_owned()));
    }

    #[test]
    fn invalid_or_missing_answer_is_an_error() {
        assert!(request(&server("hello")).is_err());
        assert!(request("no-port").unwrap_err().to_string().contains("expected one like"));
        let closed = runtime::ports::free_row(1).unwrap();
        assert!(request(&format!("127.0.0.1:{closed}")).is_err());
    }
}
