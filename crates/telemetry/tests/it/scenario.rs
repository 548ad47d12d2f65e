//! Scenarios: pieces of a program that use telemetry like a service, each in a separate process.

use std::io::Read as _;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use telemetry::{Config, Telemetry, TraceLifecycle};

/// Deadline for events that happen soon on any machine. Reaching it means a fault.
pub(crate) const SOON_MS: u64 = 60_000;

/// Argument of a scenario whose spans are streamed.
pub(crate) const STREAMED: (&str, &str) = ("LIFECYCLE", "stream");

/// Runs a scenario with this DSN and waits for its exit. It reads `arguments` with [`argument`].
pub(crate) fn run(name: &str, dsn: &str, arguments: &[(&str, &str)]) -> Output {
    end(start(name, dsn, arguments))
}

/// Lets a waiting scenario continue, and waits for its exit.
pub(crate) fn end(running: Child) -> Output {
    let output = running.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "the scenario failed\n{out}\n{err}");
    output
}

pub(crate) fn start(name: &str, dsn: &str, arguments: &[(&str, &str)]) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["scenario::child", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env("SCENARIO", name)
        .env("SENTRY_DSN", dsn)
        .env("SENTRY_RELEASE", "game@1.2.3")
        .env("SENTRY_ENVIRONMENT", "test")
        .env("RUST_LOG", "info")
        // The standard library's own backtraces read all debug information, which is not measured here
        .env("RUST_BACKTRACE", "0")
        // A proxy that does not exist, because nothing may be sent through it
        .env("HTTP_PROXY", "http://127.0.0.1:9")
        .env("http_proxy", "http://127.0.0.1:9")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for (name, value) in arguments {
        command.env(format!("SCENARIO_{name}"), value);
    }
    command.spawn().unwrap()
}

/// The value that the scenario printed as `name=value`.
pub(crate) fn printed(output: &Output, name: &str) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
    line.unwrap_or_else(|| panic!("{name} was not printed in\n{text}")).to_owned()
}

/// Waits until a running scenario prints `name=value`. The lines up to it are missing in its output.
pub(crate) fn wait_for(running: &mut Child, name: &str) -> String {
    let stdout = running.stdout.as_mut().unwrap();
    loop {
        let line = read_line(stdout).unwrap_or_else(|| panic!("the scenario ended before it printed {name}"));
        if let Some(value) = line.strip_prefix(&format!("{name}=")) {
            return value.to_owned();
        }
    }
}

/// Reads byte by byte, because [`end`] needs the bytes after the line.
fn read_line(stdout: &mut impl std::io::Read) -> Option<String> {
    let (mut line, mut byte) = (Vec::new(), [0]);
    loop {
        stdout.read_exact(&mut byte).ok()?;
        if byte == *b"\n" {
            return Some(String::from_utf8_lossy(&line).into_owned());
        }
        line.extend(byte);
    }
}

/// Waits, in a scenario, until its test lets it continue.
pub(crate) fn wait_for_test() {
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// Waits for a condition that another thread or process fulfils.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_millis(SOON_MS);
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// An argument of the running scenario.
pub(crate) fn argument(name: &str) -> Option<String> {
    std::env::var(format!("SCENARIO_{name}")).ok()
}

/// Telemetry as a service starts it, except that it gives nothing up for lack of an answer. A busy machine would lose what a test
/// is about.
pub(crate) fn telemetry() -> Telemetry {
    telemetry_with(|_| {})
}

pub(crate) fn telemetry_with(change: impl FnOnce(&mut Config)) -> Telemetry {
    let mut config = Config::from_env("game");
    config.in_app.push("it");
    config.transport.request_timeout_ms = SOON_MS;
    config.transport.unreachable_hold_ms = SOON_MS;
    if let Some(rate) = argument("RATE") {
        config.traces_sample_rate = rate.parse().unwrap();
    }
    if argument(STREAMED.0).as_deref() == Some(STREAMED.1) {
        config.trace_lifecycle = TraceLifecycle::Stream;
    }
    change(&mut config);
    telemetry::init(config).unwrap()
}

/// Shuts telemetry down at the end of a scenario and checks that everything was sent.
pub(crate) fn finish(telemetry: Telemetry) {
    assert!(
        telemetry.shutdown_blocking(SOON_MS),
        "not everything was sent in time; lost: {:?}",
        telemetry::drops()
    );
}

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

#[test]
#[ignore = "not a test: the other tests start it as a process"]
fn child() {
    let Ok(name) = std::env::var("SCENARIO") else { return };
    let families = [
        super::bounds::scenario,
        super::check_ins::scenario,
        super::conventions::scenario,
        super::cost::scenario,
        super::errors::scenario,
        super::http::scenario,
        super::late::scenario,
        super::profile::scenario,
        super::unresponsive_server::scenario,
        super::propagation::scenario,
        super::scrubbing::scenario,
        super::sessions::scenario,
        super::spans::scenario,
        super::transport::scenario,
        super::watchdog::scenario,
        super::wire::scenario,
    ];
    let work =
        families.iter().find_map(|family| family(&name)).unwrap_or_else(|| panic!("no scenario {name}"));
    // The test harness has started a line on standard output
    println!();
    work();
}
