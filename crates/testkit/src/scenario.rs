//! Tests in a process of their own, because telemetry exists once per process.
//!
//! The test calls [`run`] with the name of an ignored test of the same binary. That one begins with [`is_running`], so that it does
//! nothing when somebody runs all ignored tests. If it checks what the service sends to Sentry, it consists of [`received`] and the
//! checks.

use std::process::Command;
use std::sync::Arc;

use crate::receiver::Receiver;

/// Variable that is set in the process of a scenario.
const IN_SCENARIO: &str = "PITBOSS_TEST_SCENARIO";
/// Time for telemetry to send something, and to send the rest at the end of a scenario. It gives up earlier in a service, and what
/// the scenario is about would be lost on a busy machine, or would arrive twice.
const SEND_MS: u64 = 60_000;

/// Runs the ignored test `name` of this binary in a process of its own.
///
/// # Panics
/// When it fails or does not exist. The message has its output.
pub fn run(name: &str) {
    let output = Command::new(std::env::current_exe().expect("this test binary"))
        .args(["--exact", name, "--ignored", "--nocapture"])
        .env(IN_SCENARIO, "1")
        .output()
        .expect("a process");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    assert!(out.contains("1 passed"), "{out}\n{err}");
}

/// Returns true in the process of a scenario.
#[must_use]
pub fn is_running() -> bool {
    std::env::var(IN_SCENARIO).is_ok()
}

/// Runs `body` with the telemetry of `service`, which sends to a server of its own. Returns that server, which has all that was
/// sent, and the result of `body`.
///
/// Returns `None` in a process that is not a scenario.
///
/// # Panics
/// When telemetry was started already in this process.
pub fn received<F: Future>(
    service: &str,
    body: impl FnOnce(Arc<Receiver>) -> F,
) -> Option<(Arc<Receiver>, F::Output)> {
    if !is_running() {
        return None;
    }
    let receiver = Arc::new(Receiver::start());
    let mut config = telemetry::Config::silent(service);
    config.dsn = Some(format!("http://key@{}/7", receiver.address));
    config.transport.request_timeout_ms = SEND_MS;
    config.transport.unreachable_hold_ms = SEND_MS;
    let telemetry = telemetry::init(config).expect("telemetry starts");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let result = runtime.expect("a runtime").block_on(async {
        let result = body(Arc::clone(&receiver)).await;
        telemetry.shutdown(SEND_MS).await;
        result
    });
    Some((receiver, result))
}
