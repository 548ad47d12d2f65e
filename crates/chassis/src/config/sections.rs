//! The sections that every service has.

use std::{net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};
use validator::Validate;

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
    /// How long a client may take to send its headers, idle time between two requests included.
    #[serde(default = "header_deadline_ms")]
    #[validate(range(min = 1, max = 600_000))]
    pub header_deadline_ms: u64,
    /// How many connections are open at a time; further ones wait in the kernel's queue.
    #[serde(default = "connections_max")]
    #[validate(range(min = 1, max = 100_000))]
    pub connections_max: usize,
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
            connections_max: connections_max(),
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

fn connections_max() -> usize {
    1_024
}

fn deadline_ms() -> u64 {
    8_000
}
