//! Tests of the running platform from outside: HTTP, the stock Kafka tools, signals, and the data that the recorder received.
//!
//! All tests of this module share ONE platform, started by the real command line as a user would. Each test has its own players.
//! All kills are in one test, because the other tests must not meet a dead service.

mod audit;
mod check_ins;
mod command_line;
mod console;
mod conventions;
mod coverage;
mod crash;
mod dead_letters;
mod drill;
mod edge;
mod flag_changes;
mod kill;
mod one_bet;
mod one_request;
mod open_transaction;
mod personal_data;
mod producers;
mod queues;
mod release;
mod trace_from_envelopes;
mod verify;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use contracts::parts::{Part, Ports};
use pitboss::player::{BetResult, Gateway, Player};
use reqwest::StatusCode;
use runtime::Layout;
use runtime::secrets::Secrets;
use serde_json::Value;
use testkit::eventually;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use uuid::Uuid;

/// Deposit of each player of a test, in minor units.
pub(crate) const DEPOSIT_MINOR: i64 = 100_000;
pub(crate) const CURRENCY: &str = "EUR";
/// Time for a bet to have a result. On a busy machine the gateway answers before there is one.
const RESULT_WITHIN: Duration = Duration::from_secs(60);
/// Time for a player to be registered. Threads that hash passwords have a low priority, so a busy machine refuses registrations.
const REGISTERED_WITHIN: Duration = Duration::from_secs(180);
/// Failures of a call that a busy machine did not complete in time. Every other failure is a defect.
const BUSY: [&str; 3] = ["answered 202", "answered 503", "not completed within"];

pub(crate) struct Platform {
    pub(crate) gateway: Gateway,
    pub(crate) gateway_url: String,
    pub(crate) recorder_url: String,
    pub(crate) http: reqwest::Client,
}

/// Most tests hold it for reading. A test that kills, or that needs the platform alone, holds it for writing.
static PLATFORM_LOCK: RwLock<()> = RwLock::const_new(());

/// The platform of this run, started by the first caller. Each caller gets new clients, because a client's connections end with
/// the runtime of the test that opened them.
pub(crate) fn platform() -> &'static Platform {
    static ADDRESSES: OnceLock<(String, String)> = OnceLock::new();
    let (gateway_url, recorder_url) = ADDRESSES.get_or_init(start).clone();
    Box::leak(Box::new(Platform::at(gateway_url, recorder_url)))
}

/// The platform, which other tests use at the same time.
pub(crate) async fn shared() -> (&'static Platform, RwLockReadGuard<'static, ()>) {
    (platform(), PLATFORM_LOCK.read().await)
}

/// The platform while no other test uses it.
pub(crate) async fn exclusive() -> (&'static Platform, RwLockWriteGuard<'static, ()>) {
    (platform(), PLATFORM_LOCK.write().await)
}

fn setting(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run this test through `./pitboss test`"))
}

/// Starts the platform as a user would. Returns the addresses of the gateway and of the recorder's queries.
fn start() -> (String, String) {
    // Another test of this process may have installed it already.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let up = cli(&["up", "--yes", "--no-build", "--json"], None);
    assert!(up.status.success(), "up failed: {}", output_text(&up));
    (url_of(Part::Gateway), format!("http://127.0.0.1:{}", ports().recorder_query()))
}

pub(crate) fn ports() -> Ports {
    let base = setting("PITBOSS_TEST_PLATFORM_PORT_BASE").parse().expect("a port");
    Ports::new(base).expect("room for every port")
}

/// URL of a service.
pub(crate) fn url_of(service: Part) -> String {
    format!("http://127.0.0.1:{}", ports().http(service))
}

/// One part of a status.
pub(crate) fn part_of<'a>(status: &'a Value, name: &str) -> &'a Value {
    let parts = status["parts"].as_array().expect("parts");
    parts.iter().find(|p| p["name"] == name).unwrap_or_else(|| panic!("no {name} in {status}"))
}

impl Platform {
    fn at(gateway_url: String, recorder_url: String) -> Self {
        let gateway = Gateway::new(&gateway_url, Some(operator_token())).expect("a client");
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { gateway, gateway_url, recorder_url, http }
    }
}

/// Returns true if a call failed only because the machine is busy.
pub(crate) fn is_busy(failure: &str) -> bool {
    BUSY.iter().any(|busy| failure.contains(busy))
}

/// Value of a call, or `None` if it failed only because the machine is busy.
fn unless_busy<T>(outcome: anyhow::Result<T>) -> Option<T> {
    match outcome {
        Ok(value) => Some(value),
        Err(error) => {
            let failure = format!("{error:#}");
            assert!(is_busy(&failure), "{failure}");
            None
        }
    }
}

/// Registers a player. On a busy machine it may be the next one that is registered.
pub(crate) async fn registered(platform: &Platform, currency: &str) -> Player {
    eventually("a registered player", REGISTERED_WITHIN, || async {
        unless_busy(platform.gateway.register(currency).await)
    })
    .await
}

/// Registers a player with a deposit. On a busy machine it may be the next one whose deposit is completed.
pub(crate) async fn player_with(platform: &Platform, deposit_minor: i64, currency: &str) -> Player {
    eventually("a player with a deposit", REGISTERED_WITHIN, || async {
        let player = unless_busy(platform.gateway.register(currency).await)?;
        unless_busy(platform.gateway.deposit(&player, deposit_minor, currency).await)?;
        Some(player)
    })
    .await
}

/// Places a bet, and repeats it with its key until it has a result. Returns the trace of the first request that was not refused.
pub(crate) async fn bet_with_result(
    platform: &Platform,
    player: &Player,
    stake_minor: i64,
    currency: &str,
) -> (BetResult, String) {
    let key = Uuid::new_v4().to_string();
    // A busy platform refuses a bet for the moment. That request places no bet.
    let first = eventually("an accepted bet", RESULT_WITHIN, || async {
        let answer = platform.gateway.bet(player, stake_minor, currency, &key).await.expect("answered");
        (answer.status != StatusCode::SERVICE_UNAVAILABLE).then_some(answer)
    })
    .await;
    let trace_id = first.trace_id.clone().expect("x-trace-id");
    if let Ok(result) = first.result() {
        return (result, trace_id);
    }
    let result = eventually("the result of a bet", RESULT_WITHIN, || async {
        platform.gateway.bet(player, stake_minor, currency, &key).await.ok()?.result().ok()
    })
    .await;
    (result, trace_id)
}

pub(crate) fn operator_token() -> String {
    let file = state_folder().join("secrets/operator-token");
    std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display())).trim().to_owned()
}

/// Answer of an internal route as JSON, or `None` if the service does not answer.
pub(crate) async fn internal(platform: &Platform, url: &str) -> Option<Value> {
    let layout = Layout::new(Path::new("/"), Some(state_folder()), None);
    let token = Secrets::load(&layout).expect("secrets").internal_token;
    let response = platform.http.get(url).header("x-internal-token", token).send().await.ok()?;
    assert!(response.status().is_success(), "{url}: {}", response.status());
    response.json().await.ok()
}

pub(crate) fn state_folder() -> PathBuf {
    PathBuf::from(setting("PITBOSS_TEST_PLATFORM_STATE"))
}

/// Runs the command line against this run's platform, with `input` on its standard input.
pub(crate) fn cli(args: &[&str], input: Option<&str>) -> Output {
    let program = PathBuf::from(setting("PITBOSS_BIN")).join("pitboss");
    let mut command = Command::new(&program);
    command
        .args(args)
        .env("PITBOSS_STATE", state_folder())
        .env("PITBOSS_PORT_BASE", setting("PITBOSS_TEST_PLATFORM_PORT_BASE"))
        // Rows of debug endpoints, and crashes. Without the operator's token nobody can use them.
        .env("PITBOSS__DEBUG__ENABLED", "true")
        // A cache that is slow for 100 ms is not used for a second, and the traces of that second lack its spans.
        .env("PITBOSS__REDIS__OPERATION_TIMEOUT_MS", "60000")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{}: {e}", program.display()));
    let mut stdin = child.stdin.take().expect("a pipe");
    if let Some(input) = input {
        stdin.write_all(input.as_bytes()).expect("the input is written");
    }
    drop(stdin);
    child.wait_with_output().expect("the program exits")
}

/// Exit status and complete output of a command.
pub(crate) fn output_text(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr))
}

/// Status of every part. The exit code is ignored, because a test that kills does not need all parts to be ready.
pub(crate) fn status() -> Value {
    let output = cli(&["status", "--json"], None);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("status: {e}: {}", output_text(&output)))
}
