//! Tests in a process of their own, because telemetry exists once per process.
//!
//! The test calls [`run`] with the name of an ignored test of the same binary. That one begins with [`is_running`], so that it does
//! nothing when somebody runs all ignored tests.

use std::process::Command;

/// Variable that is set in the process of a scenario.
const IN_SCENARIO: &str = "PITBOSS_TEST_SCENARIO";

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
