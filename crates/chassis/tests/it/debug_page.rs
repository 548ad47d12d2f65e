//! Checks that `docs/DEBUG_ENDPOINTS.md` says what the list of debug faults says: a stale page fails the test, `UPDATE_DOCS=1`
//! rewrites it.

use std::fs;
use std::path::PathBuf;

use contracts::{
    DebugFault,
    debug::{DebugEvent, SERVICES},
};

const INTRODUCTION: &str = "\
# Debug endpoints

<!-- Generated from crates/contracts/src/debug.rs: UPDATE_DOCS=1 ./pitboss test -p chassis debug_page -->

An operator causes one error at one service, to see what becomes of it in Sentry: the event, its group, its trace, its profile. The
errors are real. Code of the service fails, and each failure is bounded in time and memory.

    PITBOSS__DEBUG__ENABLED=true ./pitboss up
    ./pitboss debug payment crash
    ./pitboss verify 'debug.payment.*'
    curl -X POST -H \"x-operator-token: $(cat .pitboss/secrets/operator-token)\" http://127.0.0.1:8100/api/v1/payment/debug/crash

- **They are off by default.** Without `debug.enabled` the routes do not exist, at the gateway and at the service: 404 as for any
  unknown path.
- The request is `POST /api/v1/{service}/debug/{fault}` at the gateway, with the operator's token. The gateway forwards it to the
  internal listener of the service, where it needs the internal token. It passes on the answer.
- A service or a fault that does not exist is a 404, whose detail lists those that do.
- The gateway has a rate limit for them (`limits.debug_per_min`, `limits.debug_burst`), and a process runs one at a time: 429.
- The body is optional: `{\"player_id\": \"p-1\"}` names the user of the event, which is `operator` otherwise. A body needs the header
  `content-type: application/json`. `./pitboss debug` sends it for `--player` and `--release`.
- Every answer has `trace_id`, and `sentry_event_id` if the event is known when the answer is sent. A panic is answered by the
  layer that answers all panics. An answer with a status below 400 also has `service`, `fault` and `detail`.

Each event has the log lines and spans that led to it as breadcrumbs, the user, the armed [faults](FAULTS.md) as flags, and the
state of the process in `contexts.process`: memory, CPU time, threads, workers and tasks of the async runtime, uptime and version. An
event of kind \"error\" has the tag `kind` with the name of the fault (`runtime-block`: `worker-blocked`, because the watchdog reports it). A
\"panic\" is unhandled, and its event lists the threads. A \"crash\" ends the process. Its event is sent by another process, with a minidump
and the state of the process, and without user and breadcrumbs ([crashes](CRASHES.md)). The gateway answers for the dead service, with the
trace that the event has.

What each of them has to show is proven by `./pitboss verify` ([EVIDENCE](EVIDENCE.md#debug-endpoints)). What to do about such an
error is in the [runbooks](runbooks/debug/README.md).

";

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    let services: Vec<&str> = SERVICES.iter().map(|service| service.as_str()).collect();
    page.push_str(&format!("| fault | what happens | status | event | {} |\n", services.join(" | ")));
    page.push_str(&format!("|---|---|---|---|{}\n", "---|".repeat(services.len())));
    for fault in DebugFault::ALL {
        let definition = fault.definition();
        let offers = SERVICES.map(|service| if fault.is_offered_by(service) { "yes" } else { "" });
        let (does, status, event) = (definition.does, definition.status, definition.event.as_str());
        page.push_str(&format!("| `{fault}` | {does} | {status} | {event} | {} |\n", offers.join(" | ")));
    }
    page
}

#[test]
fn debug_page_says_what_the_list_says() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/DEBUG_ENDPOINTS.md");
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &page).expect("a writable file");
    }
    let stored = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(stored, page, "run UPDATE_DOCS=1 ./pitboss test -p chassis debug_page");
}

#[test]
fn statuses_fit_the_events() {
    for fault in DebugFault::ALL {
        let definition = fault.definition();
        let is_failure = definition.status >= 400;
        assert!(!is_failure || definition.event != DebugEvent::None, "{fault} fails without an event");
        assert!(is_failure || definition.event != DebugEvent::Panic || definition.status == 202, "{fault}");
        assert_eq!(
            fault.is_deadly(),
            definition.status == 502,
            "{fault}: only a dead service is answered for"
        );
    }
}
