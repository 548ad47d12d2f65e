//! `pitboss ready HOST:PORT`: checks readiness at one service's ops port.
//!
//! It is the health check in `docker-compose.kafka.yml`, because the image has no curl. It runs every few seconds in every
//! container, so it is one blocking request and starts no async runtime.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use crate::output::Output;

/// Deadline for connecting and for each read. The service answers from memory.
const DEADLINE: Duration = Duration::from_secs(2);
/// Maximum number of bytes that are read of the answer.
const ANSWER_BYTES_MAX: u64 = 16 * 1024;

/// Which service.
#[derive(Debug, Args)]
pub struct ReadyArgs {
    /// The service's ops port: 127.0.0.1:8130 is the gateway's
    #[arg(value_name = "HOST:PORT")]
    address: String,
}

/// Requests `/readyz`. Exit code 0 if the service is ready, 1 if it is not. The reason goes to standard error.
///
/// # Errors
/// When there is no answer.
pub fn run(args: &ReadyArgs, output: &Output) -> Result<ExitCode> {
    let address = args.address.as_str();
    let (status, body) = ask(address).with_context(|| format!("no answer at {address}"))?;
    if status == 200 {
        return Ok(ExitCode::SUCCESS);
    }
    output.problem(&format!("not ready ({status}): {}", body.trim()));
    Ok(ExitCode::FAILURE)
}

fn ask(address: &str) -> Result<(u16, String)> {
    let resolved = address.to_socket_addrs().context("an address looks like 127.0.0.1:8130")?.next();
    let mut stream = TcpStream::connect_timeout(&resolved.context("the name has no address")?, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    // Written in one piece, because `write!` on a socket sends each part of the text separately.
    stream.write_all(
        format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut answer = BufReader::new(stream.take(ANSWER_BYTES_MAX));
    let mut line = String::new();
    answer.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).context("not an HTTP answer")?;
    let mut rest = String::new();
    answer.read_to_string(&mut rest)?;
    let body = rest.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn answering(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let _read = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        address.to_string()
    }

    #[test]
    fn status_and_reason_are_read() {
        let up = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        assert_eq!(ask(&up).unwrap(), (200, "ok".to_owned()));
        let down =
            answering("HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n\r\nkafka: no assignment");
        assert_eq!(ask(&down).unwrap(), (503, "kafka: no assignment".to_owned()));
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        assert!(ask(&answering("hello")).is_err());
        assert!(ask("no-port").unwrap_err().to_string().contains("looks like"));
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(ask(&closed.to_string()).is_err());
    }
}
