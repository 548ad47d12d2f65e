//! The versions of the programs Pitboss runs, read from the one file that has them: `deploy/versions.toml`.

use std::sync::LazyLock;

use serde::Deserialize;

/// All of the file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Versions {
    /// The broker.
    pub kafka: Kafka,
    /// The document store.
    pub mongo: Mongo,
    /// The cache.
    pub redis: Redis,
    /// The Java that runs the broker.
    pub java: Java,
    /// What tests use of Python.
    pub python: Python,
    /// The system in the image of our programs.
    pub debian: Debian,
    /// The toolchain.
    pub rust: Rust,
}

/// The broker and what it needs beside it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kafka {
    /// Apache Kafka.
    pub version: String,
    /// The Scala it is built with, part of its artifact's name.
    pub scala: String,
    /// The logging binding, which the artifacts do not bring along.
    pub log4j_slf4j_impl: String,
    /// The plugin of Maven that fetches all of it.
    pub maven_dependency_plugin: String,
    /// The container image.
    pub image: String,
}

/// The document store.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mongo {
    /// The oldest `mongod` that will do.
    pub minimum: String,
    /// The crate that is built where no `mongod` is at hand.
    pub secantus_mdb: String,
    /// The container image.
    pub image: String,
}

/// The cache.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    /// The oldest server that will do.
    pub minimum: String,
    /// The container image.
    pub image: String,
}

/// Java.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Java {
    /// The oldest that will do.
    pub minimum: String,
}

/// Python packages, for tests only.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Python {
    /// Sentry's own ingestion library.
    pub sentry_relay: String,
    /// An SDK of another language.
    pub sentry_sdk: String,
    /// What makes the SDK compress with br.
    pub brotli: String,
}

/// The system in the image of our programs.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Debian {
    /// The container image.
    pub image: String,
}

/// The toolchain, as in `rust-toolchain.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rust {
    /// The toolchain.
    pub version: String,
    /// The container image that builds the services.
    pub image: String,
}

static VERSIONS: LazyLock<Versions> = LazyLock::new(|| {
    toml::from_str(include_str!("../../../deploy/versions.toml"))
        .expect("deploy/versions.toml is compiled in and read by a test of this crate")
});

/// The versions.
pub fn versions() -> &'static Versions {
    &VERSIONS
}
