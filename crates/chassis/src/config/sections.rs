//! The sections that every service has.

use std::{net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};
use validator::Validate;

use crate::http::Hosts;

/// `[http]`: the service's own interface and its bounds.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
pub struct Http {
    /// Where to listen.
    pub address: SocketAddr,
    /// The largest body of a request; a bet is about 100 bytes.
    #[serde(default = "body_bytes_max")]
    #[validate(range(min = 1, max = 67_108_864))]
    pub body_bytes_max: usize,
    /// How long a request may be worked on before it is answered with 503.
    #[serde(default = "request_deadline_ms")]
    #[validate(range(min = 1, max = 600_000))]
    pub request_deadline_ms: u64,
    /// How long a connection may be idle between two requests.
    #[serde(default = "header_deadline_ms")]
    #[validate(range(min = 1, max = 600_000))]
    pub header_deadline_ms: u64,
    /// How long a client may take to send a request's headers: the first one's from the moment it connects, a further one's from
    /// its first byte.
    #[serde(default = "first_header_deadline_ms")]
    #[validate(range(min = 1, max = 600_000))]
    pub first_header_deadline_ms: u64,
    /// How long a client may let us wait in all while it sends a body or reads an answer, besides what
    /// [`Http::bytes_per_s_min`] earns it.
    #[serde(default = "stall_deadline_ms")]
    #[validate(range(min = 1, max = 600_000))]
    pub stall_deadline_ms: u64,
    /// The slowest rate at which a client may send a body or read an answer.
    #[serde(default = "bytes_per_s_min")]
    #[validate(range(min = 1))]
    pub bytes_per_s_min: u64,
    /// How many connections are open at a time. When all are taken, the one that has waited longest for its client makes room;
    /// when none waits for its client, new ones wait in the kernel's queue.
    #[serde(default = "connections_max")]
    #[validate(range(min = 1, max = 100_000))]
    pub connections_max: usize,
    /// How many of them one address may have (one /64 network, in IPv6).
    #[serde(default = "connections_per_address_max")]
    #[validate(range(min = 1, max = 100_000))]
    pub connections_per_address_max: usize,
    /// How many of them this machine may have. The services behind and the load generator are there, so by default it is not less
    /// than [`Http::connections_max`].
    #[serde(default = "connections_loopback_max")]
    #[validate(range(min = 1, max = 100_000))]
    pub connections_loopback_max: usize,
    /// The names that this process is reached by, besides 127.0.0.1, localhost and `[::1]` with the listener's own port; they hold
    /// for all of its listeners. A request for any other host is answered with 421, one for none or several with 400.
    #[serde(default)]
    pub hosts: Hosts,
}

impl Http {
    /// The defaults at an address.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        Self {
            address,
            body_bytes_max: body_bytes_max(),
            request_deadline_ms: request_deadline_ms(),
            header_deadline_ms: header_deadline_ms(),
            first_header_deadline_ms: first_header_deadline_ms(),
            stall_deadline_ms: stall_deadline_ms(),
            bytes_per_s_min: bytes_per_s_min(),
            connections_max: connections_max(),
            connections_per_address_max: connections_per_address_max(),
            connections_loopback_max: connections_loopback_max(),
            hosts: Hosts::default(),
        }
    }

    /// [`Http::request_deadline_ms`] as a duration.
    #[must_use]
    pub fn request_deadline(&self) -> Duration {
        Duration::from_millis(self.request_deadline_ms)
    }

    /// [`Http::header_deadline_ms`] as a duration.
    #[must_use]
    pub fn header_deadline(&self) -> Duration {
        Duration::from_millis(self.header_deadline_ms)
    }
}

/// `[ops]`: liveness, readiness, metrics and version, on a listener of its own that is never published.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Ops {
    /// Where to listen.
    pub address: SocketAddr,
}

/// `[drain]`: the orderly end.
#[derive(Clone, Debug, Deserialize, Serialize, Validate)]
pub struct Drain {
    /// From the signal to the last flush. The supervisor kills a little later, so it must be the shorter of the two.
    #[serde(default = "deadline_ms")]
    #[validate(range(min = 100, max = 600_000))]
    pub deadline_ms: u64,
}

impl Drain {
    /// [`Drain::deadline_ms`] as a duration.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_ms)
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self { deadline_ms: deadline_ms() }
    }
}

fn body_bytes_max() -> usize {
    64 * 1024
}

fn request_deadline_ms() -> u64 {
    10_000
}

fn header_deadline_ms() -> u64 {
    60_000
}

fn first_header_deadline_ms() -> u64 {
    10_000
}

fn stall_deadline_ms() -> u64 {
    5_000
}

/// A telephone line of the last century.
fn bytes_per_s_min() -> u64 {
    4 * 1024
}

fn connections_max() -> usize {
    1_024
}

fn connections_per_address_max() -> usize {
    64
}

fn connections_loopback_max() -> usize {
    100_000
}

fn deadline_ms() -> u64 {
    8_000
}
