//! The configured connections are compared with the limit of open files at start-up.

use std::{collections::HashMap, process::ExitCode};

use chassis::{Failure, Listeners, Service, Shutdown, config::load};
use nix::sys::resource::{Resource, getrlimit};

use crate::lifecycle::Config;

/// Exit code of a process whose own interface and further listeners may hold this many connections.
fn exit_code(http: usize, more: usize) -> ExitCode {
    let defaults = format!(
        "more_connections_max = {more}\n[http]\naddress = \"127.0.0.1:0\"\nconnections_max = {http}\n[ops]\naddress = \"127.0.0.1:0\"\n"
    );
    load::<Config>(&defaults, None, HashMap::new()).expect("a valid configuration");
    let service = Service::new(contracts::Part::Game, "0.0.0", defaults.leak());
    chassis::main(service, |_: Config, _: Listeners, _: Shutdown| async { Ok::<(), Failure>(()) })
}

#[test]
fn connections_above_file_limit_are_refused() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    let hard = usize::try_from(hard).expect("fits");
    for (what, http, more) in [
        ("the further listeners' alone", 1, hard),
        ("with the service's own", 1_000, hard.saturating_sub(1_000)),
        // The process itself needs 256.
        ("with the 64 of the ops listener", 1_000, hard.saturating_sub(1_300)),
    ] {
        // 64: a bad configuration.
        assert_eq!(format!("{:?}", exit_code(http, more)), format!("{:?}", ExitCode::from(64)), "{what}");
    }
}
