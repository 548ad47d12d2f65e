//! The broker that a command works on: its option, its address, and the error when it does not answer.

use std::fmt::Display;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use runtime::RuntimeError;
use runtime::infra::InfraPorts;
use tokio::net::TcpStream;

use crate::commands::Context;

/// Time limit for a connection to one address.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// Port of an address that names none.
const DEFAULT_PORT: u16 = 9_092;

/// Option that selects the broker.
#[derive(Clone, Debug, Default, Args)]
pub struct BrokerArgs {
    /// Address of another broker [default: the broker of this platform]
    #[arg(long, global = true, value_name = "HOST:PORT", visible_alias = "brokers")]
    pub bootstrap_servers: Option<String>,
}

impl BrokerArgs {
    /// Selects a broker by its address.
    #[must_use]
    pub fn named(bootstrap_servers: &str) -> Self {
        Self { bootstrap_servers: Some(bootstrap_servers.to_owned()) }
    }

    /// Returns the configuration of a client of the broker, which accepts connections.
    ///
    /// A checkout is needed only if no address is given.
    ///
    /// # Errors
    /// When there is neither an address nor a checkout, or no address accepts a connection (exit code 69).
    pub async fn open(&self, context: &Context, client_id: &str) -> Result<bus::Config> {
        let bootstrap_servers = match &self.bootstrap_servers {
            Some(named) => named.clone(),
            None => InfraPorts::from(context.checkout()?.ports()?).kafka_bootstrap(),
        };
        let config =
            bus::Config { bootstrap_servers, client_id: client_id.to_owned(), ..bus::Config::default() };
        let mut refused = "it names no address".to_owned();
        let addresses: Vec<String> = addresses(&config.bootstrap_servers).collect();
        for address in addresses {
            match tokio::time::timeout(CONNECT_DEADLINE, TcpStream::connect(&address)).await {
                Ok(Ok(_)) => return Ok(config),
                Ok(Err(error)) => refused = error.to_string(),
                Err(_) => refused = format!("no connection within {} s", CONNECT_DEADLINE.as_secs()),
            }
        }
        Err(no_answer(&config, &refused).into())
    }
}

/// Returns the error of a request: that the broker does not answer (exit code 69), or else the error itself.
#[must_use]
pub fn failed(config: &bus::Config, error: bus::ClientError) -> anyhow::Error {
    if error.is_unreachable() { no_answer(config, &error).into() } else { error.into() }
}

/// Returns the error for a broker that does not answer (exit code 69).
fn no_answer(config: &bus::Config, reason: &impl Display) -> RuntimeError {
    let what = format!("Kafka does not answer at {} ({reason})", config.bootstrap_servers);
    let advice = "start the platform with ./pitboss up, or name a broker with --bootstrap-servers".to_owned();
    RuntimeError::Missing { what, advice }
}

/// Returns the addresses of a list of brokers as librdkafka reads it: a protocol and a port are optional.
fn addresses(bootstrap_servers: &str) -> impl Iterator<Item = String> {
    bootstrap_servers.split(',').map(str::trim).filter(|server| !server.is_empty()).map(|server| {
        let address = server.split_once("://").map_or(server, |(_, address)| address);
        let host = address.rsplit_once(']').map_or(address, |(_, after)| after);
        if host.contains(':') { address.to_owned() } else { format!("{address}:{DEFAULT_PORT}") }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_by_librdkafka() {
        let listed = "127.0.0.1:8120, PLAINTEXT://b, [::1]:1,[::1],";
        let expected = ["127.0.0.1:8120", "b:9092", "[::1]:1", "[::1]:9092"];
        assert_eq!(addresses(listed).collect::<Vec<_>>(), expected);
    }
}
