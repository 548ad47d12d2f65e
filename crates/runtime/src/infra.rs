//! Third-party servers: how each is obtained, configured and started.

mod jars;
pub mod kafka;
pub mod mongo;
pub mod redis;
pub mod spotlight;

use contracts::parts::{Part, Ports};
use contracts::versions::versions;

use crate::tools::{self, Finding, examine};
use crate::{Layout, PartSpec, RuntimeError};

/// Ports of the three servers.
#[derive(Clone, Copy, Debug)]
pub struct InfraPorts {
    /// The broker's listener for clients.
    pub kafka: u16,
    /// The broker's controller.
    pub kafka_controller: u16,
    /// The broker's listener for the proxy `wire`.
    pub kafka_wire: u16,
    /// The proxy, which the broker advertises at that listener.
    pub wire: u16,
    /// The document store.
    pub mongo: u16,
    /// The cache.
    pub redis: u16,
}

impl From<Ports> for InfraPorts {
    fn from(ports: Ports) -> Self {
        Self {
            kafka: ports.kafka(),
            kafka_controller: ports.kafka_controller(),
            kafka_wire: ports.kafka_wire(),
            wire: ports.wire(),
            mongo: ports.mongo(),
            redis: ports.redis(),
        }
    }
}

impl InfraPorts {
    /// Free ports, for the servers of a test run. Some servers bind theirs much later, such as the proxy that a test starts.
    ///
    /// # Errors
    /// When there are no free ports.
    pub fn free() -> Result<Self, RuntimeError> {
        let base = crate::ports::free_row(6)?;
        let port = |n: u16| base.saturating_add(n);
        Ok(Self {
            kafka: port(0),
            kafka_controller: port(1),
            kafka_wire: port(2),
            wire: port(3),
            mongo: port(4),
            redis: port(5),
        })
    }

    /// Bootstrap servers for Kafka clients.
    #[must_use]
    pub fn kafka_bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.kafka)
    }

    /// Bootstrap servers for Kafka clients behind the proxy.
    #[must_use]
    pub fn wire_bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.wire)
    }

    /// Address of the broker's listener for the proxy.
    #[must_use]
    pub fn wire_upstream(&self) -> String {
        format!("127.0.0.1:{}", self.kafka_wire)
    }

    /// URI for MongoDB drivers. The server is a single node, even where it reports a replica set of one.
    #[must_use]
    pub fn mongo_uri(&self) -> String {
        format!("mongodb://127.0.0.1:{}/?directConnection=true", self.mongo)
    }

    /// URL for Redis clients.
    #[must_use]
    pub fn redis_url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.redis)
    }
}

/// Prepares each server for its first start, and describes all three.
pub async fn prepare(layout: &Layout, ports: InfraPorts) -> Result<Vec<PartSpec>, RuntimeError> {
    Ok(vec![
        kafka::prepare(layout, ports.into()).await?,
        mongo::prepare(layout, ports.mongo)?,
        redis::prepare(layout, ports.redis)?,
    ])
}

/// Names of the three servers.
#[must_use]
pub fn names() -> Vec<String> {
    [Part::Kafka, Part::Mongo, Part::Redis].map(|p| p.as_str().to_owned()).to_vec()
}

/// Examines every tool that the next `up` needs. A program that was fetched before needs no fetcher.
#[must_use]
pub fn examine_tools(layout: &Layout) -> Vec<Finding> {
    let wanted = versions();
    let mut findings = vec![
        examine(tools::CARGO, None),
        examine(tools::CC, None),
        examine(tools::MAKE, None),
        examine(tools::JAVA, Some(&wanted.java.minimum)),
        examine(tools::REDIS, Some(&wanted.redis.minimum)),
    ];
    if !kafka::is_fetched(layout) {
        findings.push(examine(tools::MAVEN, None));
    }
    if tools::locate(&tools::MONGOD).is_some() {
        findings.push(examine(tools::MONGOD, Some(&wanted.mongo.minimum)));
    }
    if mongo::find(layout).is_none() {
        findings.push(examine(tools::CMAKE, None));
        findings.push(examine(tools::CXX, None));
    }
    findings
}
