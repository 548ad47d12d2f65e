//! Configuration of wire. Its own defaults are in `defaults.toml`, those of shared sections in their crates.

use std::net::SocketAddr;
use std::time::Duration;

use chassis::config::ServiceConfig;
use serde::{Deserialize, Serialize};
use validator::Validate;

use crate::pipe::Deadlines;

/// Name of the clients' listener among the listeners of the process ([`chassis::Listeners`]).
pub const WIRE: &str = "wire.address";

/// All settings of wire.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
pub struct Config {
    /// The proxy and its limits.
    #[validate(nested)]
    pub wire: WireConfig,
}

/// `[wire]`: the proxy and its limits.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
pub struct WireConfig {
    /// Address to listen on.
    pub address: SocketAddr,
    /// The broker, as `host:port`.
    #[validate(custom(function = "chassis::config::host_and_port"))]
    pub upstream: String,
    /// Largest number of clients at a time. A further one is disconnected at once.
    #[validate(range(min = 1, max = 10_000))]
    pub connections_max: usize,
    /// Time limit of connecting to the broker.
    #[validate(range(min = 10, max = 60_000))]
    pub connect_deadline_ms: u64,
    /// Longest time that a peer may take to accept the bytes of one buffer.
    #[validate(range(min = 10, max = 600_000))]
    pub stall_deadline_ms: u64,
    /// Longest time that a peer may take to send more of a frame that it began, and a client to begin its first request.
    #[validate(range(min = 10, max = 600_000))]
    pub read_deadline_ms: u64,
    /// Longest time for the answers that clients wait for at a shutdown. It must be within the listeners' share of a drain.
    #[validate(range(min = 10, max = 600_000))]
    pub drain_deadline_ms: u64,
}

impl WireConfig {
    pub(crate) fn connect_deadline(&self) -> Duration {
        Duration::from_millis(self.connect_deadline_ms)
    }

    pub(crate) fn deadlines(&self) -> Deadlines {
        Deadlines {
            stall: Duration::from_millis(self.stall_deadline_ms),
            read: Duration::from_millis(self.read_deadline_ms),
        }
    }

    pub(crate) fn drain_deadline(&self) -> Duration {
        Duration::from_millis(self.drain_deadline_ms)
    }
}

impl ServiceConfig for Config {
    fn more_addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        vec![(WIRE, self.wire.address)]
    }

    /// Each client has a second connection, which leads to the broker.
    fn more_connections_max(&self) -> usize {
        self.wire.connections_max.saturating_mul(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_connections_count_for_file_limit() {
        let environment = [("PITBOSS__WIRE__CONNECTIONS_MAX".to_owned(), "70".to_owned())];
        let config: Config =
            chassis::config::load(include_str!("defaults.toml"), None, environment.into()).unwrap();
        assert_eq!(config.more_connections_max(), 140);
    }

    #[test]
    fn upstream_without_port_is_refused() {
        let environment = [("PITBOSS__WIRE__UPSTREAM".to_owned(), "kafka".to_owned())];
        let loaded = chassis::config::load::<Config>(include_str!("defaults.toml"), None, environment.into());
        assert_eq!(loaded.expect_err("refused").lines(), ["wire.upstream: is not host:port"]);
    }
}
