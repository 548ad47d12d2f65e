//! Players without a broker and without a cache, with cheap passwords, for this crate's tests.

use store::mongo::Mongo;
use store::redis::Cache;

use super::Players;
use crate::attempts::Attempts;
use crate::config;
use crate::passwords::Passwords;

/// A port without a listener.
const UNREACHABLE: &str = "127.0.0.1:1";

/// Limits of which a test sets only the number of accounts.
pub(crate) fn attempts(accounts_max: usize) -> Attempts {
    attempts_with_cache(UNREACHABLE, accounts_max)
}

/// The same with a cache at this address.
pub(crate) fn attempts_with_cache(address: &str, accounts_max: usize) -> Attempts {
    let config = config::Attempts {
        failures_max: 10,
        account_failures_max: 100,
        window_s: 60,
        wait_s_min: 30,
        wait_s_max: 300,
        accounts_max,
    };
    let cache = store::redis::Config::new(format!("redis://{address}"));
    Attempts::new(Cache::new(&cache).expect("a URL"), config)
}

/// The players in this store. Their events reach no broker.
pub(crate) async fn players(mongo: &Mongo) -> Players {
    let kafka = bus::Config {
        bootstrap_servers: UNREACHABLE.to_owned(),
        message_timeout_ms: 300,
        ..bus::Config::default()
    };
    let passwords = config::Passwords {
        memory_kib: 1_024,
        iterations: 1,
        concurrency: 1,
        waiting_max: 8,
        wait_ms: 600_000,
    };
    let producer = bus::Producer::new(&kafka).expect("a producer");
    let passwords = Passwords::new(passwords).expect("threads");
    Players::open(mongo, producer, passwords, attempts(1_000)).await.expect("indexes")
}
