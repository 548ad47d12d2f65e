//! Recorders to test against, and envelopes to send to them.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::Once,
    time::{Duration, Instant},
};

use chassis::Listeners;
use chassis::config::{Http, Loaded, Sources};
use recorder::config::{Config, QUERY};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;
use testkit::service::Running;

/// The operator's token in tests.
pub(crate) const TOKEN: &str = "sesame";

/// Returns the public key of a project in tests.
pub(crate) fn key(project: u32) -> String {
    format!("{project:032x}")
}

const NAMES: [&str; 4] = ["gateway", "user", "game", "payment"];

fn write_projects(directory: &Path) -> PathBuf {
    let projects: Vec<Value> = (1..)
        .zip(NAMES)
        .map(|(id, name)| serde_json::json!({"id": id, "name": name, "public_key": key(id)}))
        .collect();
    let path = directory.join("projects.json");
    std::fs::write(&path, serde_json::to_vec(&projects).expect("JSON")).expect("a writable folder");
    path
}

/// Returns an HTTP client without proxies.
pub(crate) fn client() -> Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // Another test in this process may have installed a provider already.
        let _installed = rustls::crypto::ring::default_provider().install_default();
    });
    Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().expect("a client")
}

/// Returns the settings of a recorder in a folder.
pub(crate) fn settings(directory: &Path) -> Vec<(String, String)> {
    let projects = write_projects(directory);
    [
        ("PITBOSS__RECORDER__DATA_DIR", directory.join("data").display().to_string()),
        ("PITBOSS__RECORDER__PROJECTS_FILE", projects.display().to_string()),
        ("PITBOSS__SECURITY__OPERATOR_TOKEN", TOKEN.to_owned()),
        // A change of an alert is an envelope of the recorder's own, which most tests do not count.
        ("PITBOSS__ALERTS__ENABLED", "false".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// A recorder in this process.
pub(crate) struct Recorder {
    pub(crate) ingest: String,
    pub(crate) query: String,
    pub(crate) client: Client,
    pub(crate) directory: tempfile::TempDir,
    service: Running,
}

impl Recorder {
    pub(crate) async fn start(more: &[(&str, &str)]) -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"), more).await
    }

    pub(crate) async fn start_in(directory: tempfile::TempDir, more: &[(&str, &str)]) -> Self {
        let client = client();
        let mut environment: std::collections::HashMap<_, _> =
            settings(directory.path()).into_iter().collect();
        environment.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let sources = Sources { defaults: recorder::DEFAULTS.to_owned(), file: None, environment };
        let Loaded { common, own: config } =
            chassis::config::load_from::<Config>(&sources).expect("a configuration");
        let mut listeners = Listeners::local(&[QUERY]).await.expect("free ports");
        listeners.common.http = Http { address: listeners.common.http.address, ..common.http };
        let query = format!("http://{}", listeners.more[QUERY].local_addr().expect("an address"));
        let service = Running::spawn(recorder::run, config, listeners);
        Self { ingest: format!("http://{}", service.http), query, client, directory, service }
    }

    /// Shuts it down in order. Returns its folder for a successor.
    pub(crate) async fn stop(self) -> tempfile::TempDir {
        self.service.stop().await;
        self.directory
    }

    /// Returns a request with an envelope of a project, and with its key in the usual header.
    pub(crate) fn post(&self, project: u32, body: impl Into<reqwest::Body>) -> RequestBuilder {
        self.client
            .post(format!("{}/api/{project}/envelope/", self.ingest))
            .header("x-sentry-auth", format!("Sentry sentry_version=7, sentry_key={}", key(project)))
            .body(body)
    }

    pub(crate) async fn store(&self, project: u32, body: impl Into<reqwest::Body>) -> u64 {
        let response = fetch(self.post(project, body)).await;
        assert_eq!(response.status(), 200, "{:?}", response.text().await);
        response.headers()["x-recorder-seq"].to_str().expect("text").parse().expect("a number")
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        fetch(self.client.get(format!("{}{path}", self.query))).await
    }

    /// Returns the lines of a listing.
    pub(crate) async fn lines(&self, path: &str) -> Vec<Value> {
        let response = self.get(path).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/x-ndjson");
        lines(&response.text().await.expect("text"))
    }

    /// Returns an operator's request to the query listener.
    pub(crate) fn operator_request(&self, method: reqwest::Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.query)).header("x-operator-token", TOKEN)
    }
}

/// Sends a request and returns its response.
pub(crate) async fn fetch(request: RequestBuilder) -> Response {
    request.send().await.expect("a response")
}

/// Parses NDJSON.
pub(crate) fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("one JSON object a line")).collect()
}

/// Starts of the program before taken ports count as an error.
const STARTS_MAX: u32 = 5;
/// Exit code when a resource is missing, such as a port.
const EXIT_MISSING: i32 = 69;

/// The real program in its own process.
pub(crate) struct Program {
    child: Child,
    pub(crate) ingest: String,
    pub(crate) query: String,
}

/// Returns the program that `./pitboss test` built, which meets the memory limits. Otherwise the one without optimisation.
fn program() -> PathBuf {
    let built = std::env::var_os("PITBOSS_BIN").map(|folder| PathBuf::from(folder).join("recorder"));
    built.unwrap_or_else(|| env!("CARGO_BIN_EXE_recorder").into())
}

impl Program {
    /// Starts it on free ports and waits until it is ready. Tries other ports if another process has taken one meanwhile.
    pub(crate) async fn start(directory: &Path, more: &[(&str, &str)]) -> Self {
        for _ in 0..STARTS_MAX {
            let (mut program, readiness) = Self::spawn(directory, more);
            if program.becomes_ready(&readiness, directory).await {
                return program;
            }
        }
        panic!("{STARTS_MAX} starts failed because a resource was missing: {}", log(directory));
    }

    /// Starts it. Also returns the URL of its readiness check.
    fn spawn(directory: &Path, more: &[(&str, &str)]) -> (Self, String) {
        let free = || {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            listener.local_addr().expect("an address")
        };
        let (ingest, query, ops) = (free(), free(), free());
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(directory.join("log")).expect("a log");
        let child = Command::new(program())
            .envs(settings(directory))
            .env("PITBOSS__HTTP__ADDRESS", ingest.to_string())
            .env("PITBOSS__QUERY__ADDRESS", query.to_string())
            .env("PITBOSS__OPS__ADDRESS", ops.to_string())
            .env_remove("SENTRY_DSN")
            .envs(more.iter().copied())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("the recorder's program");
        let program = Self { child, ingest: format!("http://{ingest}"), query: format!("http://{query}") };
        (program, format!("http://{ops}/readyz"))
    }

    /// Returns false when it exited because a resource was missing.
    async fn becomes_ready(&mut self, url: &str, directory: &Path) -> bool {
        let (client, begun) = (client(), Instant::now());
        while !client.get(url).send().await.is_ok_and(|response| response.status() == 200) {
            if let Some(status) = self.child.try_wait().expect("a status") {
                assert_eq!(status.code(), Some(EXIT_MISSING), "the recorder exited: {}", log(directory));
                return false;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "not ready: {}", log(directory));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        true
    }

    /// Returns its peak of resident memory.
    pub(crate) fn peak_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a process");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak");
        let kib: u64 =
            line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number");
        kib * 1024
    }

    /// Returns the processor time it has used, in user and system mode.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("a process");
        let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
        let ticks = |field: usize| fields[field].parse::<f64>().expect("a number");
        // The kernel counts in hundredths of a second here.
        (ticks(11) + ticks(12)) / 100.0
    }

    /// Sends SIGKILL, so that it cannot finish anything.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("a process");
        self.child.wait().expect("a status");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have exited already. Then nothing is left to do.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Returns the log of the programs in a folder.
pub(crate) fn log(directory: &Path) -> String {
    std::fs::read_to_string(directory.join("log")).unwrap_or_default()
}

/// Returns one transaction of one trace, with one `db` span below its root.
pub(crate) fn transaction(
    trace: &str,
    span: &str,
    parent: Option<&str>,
    op: &str,
    name: &str,
    start: f64,
) -> String {
    let event_id = uuid::Uuid::new_v4().simple().to_string();
    let payload = serde_json::json!({
        "type": "transaction", "event_id": event_id, "transaction": name, "release": "pitboss@1.0.0", "environment": "test",
        "start_timestamp": start, "timestamp": start + 0.02, "platform": "native",
        "contexts": {"trace": {"trace_id": trace, "span_id": span, "parent_span_id": parent, "op": op, "status": "ok",
            "data": {"http.route": name}, "links": [{"trace_id": "11".repeat(16), "span_id": "22".repeat(8)}]}},
        "spans": [{"trace_id": trace, "span_id": format!("{}d", span.get(..15).expect("16 digits")), "parent_span_id": span, "op": "db",
            "description": "{\"find\":\"bets\"}", "status": "ok", "start_timestamp": start + 0.001,
            "timestamp": start + 0.004, "data": {"db.system": "mongodb"}}],
    });
    let header = serde_json::json!({"event_id": event_id, "trace": {"trace_id": trace, "public_key": "x"}});
    format!("{header}\n{{\"type\":\"transaction\"}}\n{payload}\n")
}

/// Stores the two transactions of a bet: the one of `game` (project 3) is below the one of `gateway` (project 1).
pub(crate) async fn store_bet(recorder: &Recorder, trace: &str) {
    let (root, child) = ("aaaaaaaaaaaaaaaa", "cccccccccccccccc");
    let game = transaction(
        trace,
        child,
        Some("aaaaaaaaaaaaaaad"),
        "queue.process",
        "casino.bets.commands.v1",
        100.01,
    );
    recorder.store(3, game).await;
    recorder.store(1, transaction(trace, root, None, "http.server", "POST /api/v1/bets", 100.0)).await;
}

/// Returns one error event.
pub(crate) fn error(trace: &str, span: &str, class: &str, value: &str, user: &str) -> String {
    let event_id = uuid::Uuid::new_v4().simple().to_string();
    let payload = serde_json::json!({
        "event_id": event_id, "timestamp": "2026-11-21T12:00:00.5Z", "level": "error", "release": "pitboss@1.0.0",
        "contexts": {"trace": {"trace_id": trace, "span_id": span}}, "user": {"id": user},
        "exception": {"values": [{"type": class, "value": value, "mechanism": {"type": "panic", "handled": false},
            "stacktrace": {"frames": [{"function": "main"}, {"function": "spin", "module": "game::slots", "lineno": 7, "in_app": true}]}}]},
    });
    format!("{{\"event_id\":\"{event_id}\"}}\n{{\"type\":\"event\"}}\n{payload}\n")
}
