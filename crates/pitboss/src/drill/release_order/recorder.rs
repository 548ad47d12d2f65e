//! A recorder for a drill alone: the program of the platform, in a folder and at ports of its own, which ends with the drill.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use contracts::Part;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use runtime::error::LOG_LINES_SHOWN;
use runtime::{Layout, RuntimeError, fetch, logfile, os_process, ports};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::process::Child;
use tokio::time::Instant;
use uuid::Uuid;

/// Time for the program to be ready.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// Interval at which its readiness is asked for.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Time limit of a request.
const REQUEST_DEADLINE: Duration = Duration::from_secs(15);

/// A running recorder.
pub(super) struct OwnRecorder {
    ingest: String,
    pages: String,
    token: String,
    projects: Vec<Project>,
    http: reqwest::Client,
    child: Child,
    folder: tempfile::TempDir,
}

struct Project {
    id: usize,
    name: String,
    key: String,
}

impl OwnRecorder {
    /// Starts the platform's program with these projects, and waits until it is ready.
    pub(super) async fn start(layout: &Layout, names: &[String]) -> Result<Self> {
        let program = layout.programs().join(Part::Recorder.as_str());
        if !program.is_file() {
            let what = format!("{} has not been built", program.display());
            let advice = "run ./pitboss up".to_owned();
            return Err(RuntimeError::Missing { what, advice }.into());
        }
        let folder = tempfile::tempdir().context("cannot create a folder")?;
        let project = |(id, name): (usize, &String)| Project {
            id,
            name: name.clone(),
            key: Uuid::new_v4().simple().to_string(),
        };
        let projects: Vec<Project> = (1..).zip(names).map(project).collect();
        let listed: Vec<Value> = projects
            .iter()
            .map(|project| json!({ "id": project.id, "name": project.name, "public_key": project.key }))
            .collect();
        let projects_file = folder.path().join("projects.json");
        std::fs::write(&projects_file, serde_json::to_vec(&listed)?).context("cannot write the projects")?;
        let log = folder.path().join("log");
        let output = std::fs::File::create(&log).context("cannot create a log")?;
        let base = ports::free_row(3)?;
        let (token, address) =
            (Uuid::new_v4().to_string(), |place: u16| format!("127.0.0.1:{}", base + place));
        let mut command = fetch::bound(&program);
        command.env_clear().env("PITBOSS__SECURITY__OPERATOR_TOKEN", &token).env("RUST_LOG", "warn");
        command.env("PITBOSS__HTTP__ADDRESS", address(0)).env("PITBOSS__QUERY__ADDRESS", address(1));
        command.env("PITBOSS__OPS__ADDRESS", address(2));
        command.env("PITBOSS__RECORDER__PROJECTS_FILE", &projects_file);
        command.env("PITBOSS__RECORDER__DATA_DIR", folder.path().join("data"));
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).kill_on_drop(true);
        let child = command.spawn().context("cannot start a recorder")?;
        let http = reqwest::Client::builder().no_proxy().timeout(REQUEST_DEADLINE).build()?;
        let (ingest, pages) = (format!("http://{}", address(0)), format!("http://{}", address(1)));
        let readiness = format!("http://{}/readyz", address(2));
        let mut recorder = Self { ingest, pages, token, projects, http, child, folder };
        recorder.until_ready(&readiness, &log).await?;
        Ok(recorder)
    }

    async fn until_ready(&mut self, readiness: &str, log: &std::path::Path) -> Result<()> {
        let until = Instant::now() + READY_WITHIN;
        loop {
            if self.http.get(readiness).send().await.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            let ended = self.child.try_wait().ok().flatten();
            if ended.is_some() || Instant::now() > until {
                let cause = ended.map_or_else(|| "it is not ready".to_owned(), os_process::describe_exit);
                bail!("the drill's recorder: {cause}\n{}", logfile::tail(log, LOG_LINES_SHOWN).join("\n"));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Address of its pages, without a slash at the end.
    pub(super) fn pages(&self) -> &str {
        &self.pages
    }

    /// Sends an error event, so many minutes from now. The events of a project are one issue.
    pub(super) async fn event(&self, project: &str, release: Option<&str>, minutes: f64) -> Result<()> {
        let event_id = Uuid::new_v4().simple().to_string();
        let exception =
            json!({ "values": [{ "type": "ReleaseDrill", "value": "the same error each time" }] });
        let payload = json!({
            "event_id": event_id, "timestamp": now_s() + minutes * 60.0, "release": release,
            "exception": exception,
        });
        self.store(project, "event", &event_id, &payload).await
    }

    /// Sends an envelope that does nothing but name a release.
    pub(super) async fn name_release(&self, project: &str, release: &str) -> Result<()> {
        let event_id = Uuid::new_v4().simple().to_string();
        let (trace_id, now) = (Uuid::new_v4().simple().to_string(), now_s());
        let trace = json!({ "trace_id": trace_id, "span_id": "a".repeat(16), "op": "http.server" });
        let payload = json!({
            "type": "transaction", "event_id": event_id, "transaction": "GET /", "release": release,
            "start_timestamp": now, "timestamp": now + 0.01, "platform": "native",
            "contexts": { "trace": trace }, "spans": [],
        });
        self.store(project, "transaction", &event_id, &payload).await
    }

    async fn store(&self, project: &str, item: &str, event_id: &str, payload: &Value) -> Result<()> {
        let known = self.projects.iter().find(|known| known.name == project);
        let Project { id, key, .. } = known.context("the drill has no such project")?;
        let header = json!({ "event_id": event_id });
        let body = format!("{header}\n{{\"type\":\"{item}\"}}\n{payload}\n");
        let request = self.http.post(format!("{}/api/{id}/envelope/", self.ingest));
        let auth = format!("Sentry sentry_version=7, sentry_key={key}");
        checked(request.header("x-sentry-auth", auth).body(body)).await?;
        Ok(())
    }

    /// The issues of a project.
    pub(super) async fn issues(&self, project: &str) -> Result<Vec<Value>> {
        let url = format!("{}/api/v1/issues?project={project}", self.pages);
        let text = checked(self.http.get(url)).await?.text().await?;
        let issues: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
        issues.context("the recorder's answer is not a list of issues")
    }

    /// One issue with its activity and its outlook.
    pub(super) async fn issue(&self, id: &str) -> Result<Value> {
        let url = format!("{}/api/v1/issues/{id}", self.pages);
        checked(self.http.get(url)).await?.json().await.context("the recorder's answer is not an issue")
    }

    /// Changes the state of an issue, and returns it.
    pub(super) async fn change(&self, id: &str, body: &Value) -> Result<Value> {
        let request = self.operator(Method::PUT, &format!("/api/v1/issues/{id}")).json(body);
        checked(request).await?.json().await.context("the recorder's answer is not an issue")
    }

    /// Deletes a release.
    pub(super) async fn delete_release(&self, project: &str, release: &str) -> Result<()> {
        let path = "/api/v1/releases";
        let query = [("project", project), ("release", release), ("by", "drill")];
        let url = reqwest::Url::parse_with_params(&format!("{}{path}", self.pages), query)?;
        let request = self.http.delete(url).header("x-operator-token", &self.token);
        let answer = checked(request).await?;
        if answer.status() != StatusCode::NO_CONTENT {
            bail!("the recorder answered {} to the deletion of {release}", answer.status());
        }
        Ok(())
    }

    fn operator(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.pages));
        request.header("x-operator-token", &self.token)
    }

    /// Ends it and deletes its folder.
    pub(super) async fn end(mut self) {
        // Without a process to kill it has ended, and a folder that stays is one of temporary files.
        drop(self.child.kill().await);
        drop(self.folder.close());
    }
}

/// Sends a request. Any other answer than success is an error with its text.
async fn checked(request: RequestBuilder) -> Result<Response> {
    let answer = request.send().await?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    bail!("the drill's recorder answered {status}: {}", answer.text().await.unwrap_or_default())
}

fn now_s() -> f64 {
    OffsetDateTime::now_utc().unix_timestamp_nanos() as f64 / 1e9
}
