//! Settings that no machine is too slow for, for tests whose subject is not a bound.
//!
//! Production gives up soon, so that a player is told to repeat. A test that does so too fails whenever the machine is busy: a
//! document store that needs more than two seconds for one "hello" loses every operation that is under way. What is made here
//! are settings of `store` and `chassis` in their serialised form, so that testkit needs neither crate.

use std::net::SocketAddr;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// For reaching a server, and for a cache in all.
const REACH_MS: u64 = 60_000;
/// For one operation of the document store, or one request, in all.
const OPERATION_MS: u64 = 120_000;
/// How long a connection may be idle: the most that may be set.
const IDLE_MS: u64 = 600_000;

/// A `store::mongo::Config` for this run's document store, with a database of its own.
///
/// # Panics
/// When the test was not started by `./pitboss test`, or a setting is not called so any more.
#[must_use]
pub fn mongo<C: DeserializeOwned + Serialize>(prefix: &str) -> C {
    made(&json!({
        "uri": crate::mongo(),
        "database": crate::unique(prefix),
        "server_selection_timeout_ms": REACH_MS,
        "connect_timeout_ms": REACH_MS,
        "operation_timeout_ms": OPERATION_MS,
    }))
}

/// A `store::redis::Config` for this run's cache.
///
/// # Panics
/// When the test was not started by `./pitboss test`, or a setting is not called so any more.
#[must_use]
pub fn redis<C: DeserializeOwned + Serialize>() -> C {
    made(&json!({ "url": crate::redis(), "operation_timeout_ms": REACH_MS }))
}

/// A `chassis::config::Http` at this address.
///
/// # Panics
/// When a setting is not called so any more.
#[must_use]
pub fn http<C: DeserializeOwned + Serialize>(address: SocketAddr) -> C {
    made(&json!({
        "address": address,
        "request_deadline_ms": OPERATION_MS,
        "header_deadline_ms": IDLE_MS,
        "first_header_deadline_ms": OPERATION_MS,
        "stall_deadline_ms": OPERATION_MS,
    }))
}

/// The same for a service that reads its configuration from variables (`chassis::config::load`): its document store and its
/// interface.
///
/// # Panics
/// When the test was not started by `./pitboss test`.
#[must_use]
pub fn environment(prefix: &str) -> [(&'static str, String); 6] {
    [
        ("PITBOSS__MONGO__URI", crate::mongo()),
        ("PITBOSS__MONGO__DATABASE", crate::unique(prefix)),
        ("PITBOSS__MONGO__SERVER_SELECTION_TIMEOUT_MS", REACH_MS.to_string()),
        ("PITBOSS__MONGO__CONNECT_TIMEOUT_MS", REACH_MS.to_string()),
        ("PITBOSS__MONGO__OPERATION_TIMEOUT_MS", OPERATION_MS.to_string()),
        ("PITBOSS__HTTP__REQUEST_DEADLINE_MS", OPERATION_MS.to_string()),
    ]
}

/// Settings that were given under these names; a name that is none would leave production's bound in force.
fn made<C: DeserializeOwned + Serialize>(given: &Value) -> C {
    let config: C = serde_json::from_value(given.clone()).expect("settings of these names");
    let made = serde_json::to_value(&config).expect("settings");
    for (name, value) in given.as_object().into_iter().flatten() {
        assert_eq!(made.get(name), Some(value), "{name} is not a setting any more");
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
    fn settings_are_those_that_were_given() {
        let settings: Settings = http(somewhere());
        assert_eq!((settings.address, settings.request_deadline_ms), (somewhere(), OPERATION_MS));
    }

    #[test]
    #[should_panic(expected = "is not a setting any more")]
    fn a_setting_of_another_name_is_noticed() {
        let renamed: Renamed = http(somewhere());
        assert_eq!(renamed.address, somewhere());
    }
}
