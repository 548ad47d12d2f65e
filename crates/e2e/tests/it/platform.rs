//! The running platform, from outside: HTTP, the stock Kafka tools, signals, and what the recorder received.
//!
//! All tests of this room share ONE platform, started by the real command line as a user would; each test has players of its own.
//! Those that kill parts run in one test, for the others must not meet a dead service.

mod console;
mod kill;
mod one_bet;
mod raw;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use pitboss::player::Gateway;
use serde_json::Value;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Deposited for each player of a test, in minor units.
pub(crate) const DEPOSIT_MINOR: i64 = 100_000;
pub(crate) const CURRENCY: &str = "EUR";

pub(crate) struct Platform {
    pub(crate) gateway: Gateway,
    pub(crate) gateway_url: String,
    pub(crate) recorder_url: String,
    pub(crate) http: reqwest::Client,
    /// Peaceful tests hold it for reading, the one that kills for writing.
    peace: RwLock<()>,
}

/// The platform of this run, started by whoever asks first.
pub(crate) fn platform() -> &'static Platform {
    static PLATFORM: OnceLock<Platform> = OnceLock::new();
    PLATFORM.get_or_init(Platform::start)
}

fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run this test through `./pitboss test`"))
}

impl Platform {
    fn start() -> Self {
        // Another test of this process may have installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let up = cli(&["up", "--yes", "--no-build", "--json"], None);
        let said = String::from_utf8_lossy(&up.stdout);
        assert!(up.status.success(), "up failed\n{said}\n{}", String::from_utf8_lossy(&up.stderr));
        let status = json(&["status", "--json"]);
        let address = |part: &str| {
            let parts = status["parts"].as_array().expect("parts");
            let found = parts.iter().find(|p| p["name"] == part).unwrap_or_else(|| panic!("no {part} in {status}"));
            found["address"].as_str().expect("an address").to_owned()
        };
        let gateway_url = url(&address("gateway"));
        // No token: what a test does, a stranger can do.
        let gateway = Gateway::new(&gateway_url, Some(operator_token())).expect("a client");
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let recorder_url = recorder_query_url(&url(&address("recorder")));
        Self { gateway, gateway_url, recorder_url, http, peace: RwLock::new(()) }
    }

    pub(crate) async fn peacefully(&self) -> RwLockReadGuard<'_, ()> {
        self.peace.read().await
    }

    pub(crate) async fn alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.peace.write().await
    }
}

fn url(address: &str) -> String {
    if address.starts_with("http") { address.to_owned() } else { format!("http://{address}") }
}

/// The recorder's queries stand nine ports above its ingest (`shared` contracts: +1 and +10).
fn recorder_query_url(ingest: &str) -> String {
    let (host, port) = ingest.rsplit_once(':').expect("host:port");
    let port: u16 = port.trim_end_matches('/').parse().expect("a port");
    format!("{host}:{}", port + 9)
}

pub(crate) fn operator_token() -> String {
    let file = state_folder().join("secrets/operator-token");
    std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display())).trim().to_owned()
}

pub(crate) fn state_folder() -> PathBuf {
    PathBuf::from(setting("PITBOSS_TEST_PLATFORM_STATE"))
}

/// Runs the command line against this run's platform, `input` on its standard input.
pub(crate) fn cli(args: &[&str], input: Option<&str>) -> Output {
    let program = PathBuf::from(setting("PITBOSS_BIN")).join("pitboss");
    let mut command = Command::new(&program);
    command
        .args(args)
        .env("PITBOSS_STATE", state_folder())
        .env("PITBOSS_PORT_BASE", setting("PITBOSS_TEST_PLATFORM_PORT_BASE"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{}: {e}", program.display()));
    let mut stdin = child.stdin.take().expect("a pipe");
    if let Some(input) = input {
        stdin.write_all(input.as_bytes()).expect("the program reads its input");
    }
    drop(stdin);
    child.wait_with_output().expect("the program ends")
}

/// The same, for commands that print JSON and must succeed.
pub(crate) fn json(args: &[&str]) -> Value {
    let output = cli(args, None);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{args:?}: {text}\n{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{args:?} printed no JSON: {e}\n{text}"))
}
