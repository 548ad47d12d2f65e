//! Settings with generous time-outs, for tests that are not about a time-out.
//!
//! Production gives up early, so that a player can retry. With its time-outs, a test fails whenever the machine is busy: a
//! document store that needs more than two seconds for one "hello" loses every operation in flight. This module builds settings
//! of `store` and `chassis` in their serialised form. Unit tests of these crates can use that too, although testkit links another
//! copy of the crate under test, with other types.

use std::net::SocketAddr;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Time-out for reaching a server, and for one cache access as a whole.
const CONNECT_MS: u64 = 60_000;
/// Time-out of one operation of the document store, or of one request.
const OPERATION_MS: u64 = 120_000;
/// Time-out of an idle connection: the largest allowed value.
const IDLE_MS: u64 = 600_000;

/// Returns a `store::mongo::Config` for this run's document store, with its own database.
///
/// # Panics
/// When the test was not started by `./pitboss test`, or a setting was renamed.
#[must_use]
pub fn mongo<C: DeserializeOwned + Serialize>(prefix: &str) -> C {
    build(&json!({
        "uri": crate::mongo(),
        "database": crate::unique(prefix),
        "server_selection_timeout_ms": CONNECT_MS,
        "connect_timeout_ms": CONNECT_MS,
        "operation_timeout_ms": OPERATION_MS,
    }))
}

/// Returns a `store::redis::Config` for this run's cache.
///
/// # Panics
/// When the test was not started by `./pitboss test`, or a setting was renamed.
#[must_use]
pub fn redis<C: DeserializeOwned + Serialize>() -> C {
    build(&json!({ "url": crate::redis(), "operation_timeout_ms": CONNECT_MS }))
}

/// Returns a `chassis::config::Http` at this address.
///
/// # Panics
/// When a setting was renamed.
#[must_use]
pub fn http<C: DeserializeOwned + Serialize>(address: SocketAddr) -> C {
    build(&json!({
        "address": address,
        "request_deadline_ms": OPERATION_MS,
        "header_deadline_ms": IDLE_MS,
        "first_header_deadline_ms": OPERATION_MS,
        "stall_deadline_ms": OPERATION_MS,
    }))
}

/// Returns such settings of the document store as environment variables, for a service that reads its configuration with
/// `chassis::config::load`.
///
/// # Panics
/// When the test was not started by `./pitboss test`.
#[must_use]
pub fn environment(prefix: &str) -> [(&'static str, String); 5] {
    [
        ("PITBOSS__MONGO__URI", crate::mongo()),
        ("PITBOSS__MONGO__DATABASE", crate::unique(prefix)),
        ("PITBOSS__MONGO__SERVER_SELECTION_TIMEOUT_MS", CONNECT_MS.to_string()),
        ("PITBOSS__MONGO__CONNECT_TIMEOUT_MS", CONNECT_MS.to_string()),
        ("PITBOSS__MONGO__OPERATION_TIMEOUT_MS", OPERATION_MS.to_string()),
    ]
}

/// Builds settings from these names. An unknown name would leave production's time-out in force, so it fails the test.
fn build<C: DeserializeOwned + Serialize>(given: &Value) -> C {
    let config: C = serde_json::from_value(given.clone()).expect("settings of these names");
    let built = serde_json::to_value(&config).expect("settings");
    for (name, value) in given.as_object().into_iter().flatten() {
        assert_eq!(built.get(name), Some(value), "{name} is not a setting of this configuration");
    }
    config
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Settings {
        address: SocketAddr,
        request_deadline_ms: u64,
        header_deadline_ms: u64,
        first_header_deadline_ms: u64,
        stall_deadline_ms: u64,
    }

    #[derive(Serialize, Deserialize)]
    struct Renamed {
        address: SocketAddr,
    }

    fn somewhere() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 1))
    }

    #[test]
    fn given_settings_are_applied() {
        let settings: Settings = http(somewhere());
        assert_eq!((settings.address, settings.request_deadline_ms), (somewhere(), OPERATION_MS));
    }

    #[test]
    #[should_panic(expected = "is not a setting of this configuration")]
    fn unknown_setting_panics() {
        let renamed: Renamed = http(somewhere());
        assert_eq!(renamed.address, somewhere());
    }
}
