//! Versions of the programs that Pitboss runs, from their only source, `deploy/versions.toml`.

use std::sync::LazyLock;

use serde::Deserialize;

/// The content of the file.
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
    /// Python packages for tests.
    pub python: Python,
    /// Sentry's Spotlight and what it needs.
    pub spotlight: Spotlight,
    /// The base system of the service images.
    pub debian: Debian,
    /// The toolchain.
    pub rust: Rust,
}

/// The broker and its dependencies.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kafka {
    /// Apache Kafka.
    pub version: String,
    /// The Scala version in the artifact's name.
    pub scala: String,
    /// The logging binding, which the artifacts do not include.
    pub log4j_slf4j_impl: String,
    /// The Maven plugin that downloads the artifacts.
    pub maven_dependency_plugin: String,
    /// The container image.
    pub image: String,
}

/// The document store.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mongo {
    /// The oldest supported `mongod`.
    pub minimum: String,
    /// The crate that is built if no `mongod` is installed.
    pub secantus_mdb: String,
    /// The container image.
    pub image: String,
}

/// The cache.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    /// The oldest supported server.
    pub minimum: String,
    /// The container image.
    pub image: String,
}

/// Java.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Java {
    /// The oldest supported version.
    pub minimum: String,
}

/// Python packages, for tests only.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Python {
    /// Sentry's own ingestion library.
    pub sentry_relay: String,
    /// Sentry's SDK for Python, as an SDK of another language.
    pub sentry_sdk: String,
    /// The package that lets the SDK compress with br.
    pub brotli: String,
}

/// Sentry's Spotlight, for `up --spotlight` only.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spotlight {
    /// The package `@spotlightjs/spotlight`.
    pub version: String,
    /// The oldest supported Node.js.
    pub node_minimum: String,
    /// The oldest supported npm.
    pub npm_minimum: String,
}

/// The base system of the service images.
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

/// The versions from the compiled-in file.
pub fn versions() -> &'static Versions {
    &VERSIONS
}
